//! The target of a request, taken apart: path, and parameters of the query as HTML forms write them. No I/O.

pub(crate) fn path(path_and_query: &str) -> &str {
    path_and_query
        .split_once('?')
        .map_or(path_and_query, |(path, _)| path)
}

/// The first parameter of this name, decoded. None as well if it is not UTF-8 once decoded.
pub(crate) fn parameter(path_and_query: &str, name: &str) -> Option<String> {
    let (_, query) = path_and_query.split_once('?')?;
    let (_, value) = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name || decoded(key).as_deref() == Some(name))?;
    decoded(value)
}

/// `+` is a space, `%xx` a byte; a broken `%` stands for itself.
fn decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = match byte {
            b'%' => bytes.get(at + 1..at + 3).and_then(hex_byte),
            _ => None,
        };
        match (escaped, byte) {
            (Some(escaped), _) => out.push(escaped),
            (None, b'+') => out.push(b' '),
            (None, plain) => out.push(plain),
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).ok()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| digits.get(at).and_then(|d| char::from(*d).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let target = "/p/a?x=1&na%6De=a+b%2Fc%zz&empty&bad=%ff&x=2";
        let check = |name, want: Option<&str>| {
            assert_eq!(parameter(target, name).as_deref(), want, "{name}")
        };
        check("x", Some("1"));
        check("name", Some("a b/c%zz"));
        check("empty", Some(""));
        check("bad", None);
        check("absent", None);
        assert_eq!(path(target), "/p/a");
        assert_eq!((path("/p"), parameter("/p", "x")), ("/p", None));
        assert_eq!(parameter("/?a=%", "a").as_deref(), Some("%"));
    }
}
