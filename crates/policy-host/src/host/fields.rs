//! Header fields, for requests and responses alike. A guest never reaches the fields that frame a message, nor the receipt.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Fields of one message, a guest's additions included: what peers accept at the least.
pub(crate) const MAX_FIELDS: usize = 128;
/// One field's value.
pub(crate) const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Hop-by-hop fields and framing are the gateway's; `host` is changed by `set-authority`; a receipt is only ever the outbox's word.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
        || ["keep-alive", "proxy-connection", edge_types::RECEIPT_HEADER].contains(&name.as_str())
}

/// The field that a guest may set by this name and value, if any.
pub(crate) fn field(name: &str, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let value = Some(value).filter(|value| value.len() <= MAX_VALUE_BYTES)?;
    Some((settable(name)?, HeaderValue::from_bytes(value).ok()?))
}

/// The same; the value is taken over as it is.
pub(crate) fn owned(name: &str, value: String) -> Option<(HeaderName, HeaderValue)> {
    let value = Some(value).filter(|value| value.len() <= MAX_VALUE_BYTES)?;
    Some((settable(name)?, HeaderValue::try_from(value).ok()?))
}

fn settable(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|name| !is_reserved(name))
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

pub(super) fn first<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(text)
}

pub(super) fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(text)
        .map(str::to_owned)
        .collect()
}

pub(super) fn bytes(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    headers.get(name).map(|value| value.as_bytes().to_vec())
}

pub(super) fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), text(value)?)));
    text.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

pub(super) fn set(headers: &mut HeaderMap, name: &str, value: &str) -> bool {
    let Some((name, value)) = field(name, value.as_bytes()) else {
        return false;
    };
    if headers.len() >= MAX_FIELDS && !headers.contains_key(&name) {
        return false;
    }
    headers.try_insert(name, value).is_ok()
}

pub(super) fn append(headers: &mut HeaderMap, name: &str, value: &str) -> bool {
    let Some((name, value)) = field(name, value.as_bytes()) else {
        return false;
    };
    headers.len() < MAX_FIELDS && headers.try_append(name, value).is_ok()
}

/// True if it was there.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) -> bool {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return false;
    };
    !is_reserved(&name) && headers.remove(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_fields_and_nonsense_are_refused() {
        let mut headers = HeaderMap::new();
        for name in [
            "content-length",
            "Transfer-Encoding",
            "connection",
            "host",
            "keep-alive",
            "veilgate-record",
            "a b",
            "",
        ] {
            assert!(!set(&mut headers, name, "1"), "{name}");
            assert!(!append(&mut headers, name, "1"), "{name}");
        }
        assert!(!set(&mut headers, "x", "line\r\nbreak"));
        assert!(!set(&mut headers, "x", &"v".repeat(MAX_VALUE_BYTES + 1)));
        assert!(headers.is_empty());
        headers.insert("content-length", HeaderValue::from_static("3"));
        assert!(!remove(&mut headers, "content-length"));
    }

    #[test]
    fn the_number_of_fields_is_bounded_but_a_known_one_can_change() {
        let mut headers = HeaderMap::new();
        for n in 0..MAX_FIELDS {
            assert!(append(&mut headers, &format!("x-{n}"), "v"));
        }
        assert!(!append(&mut headers, "x-0", "v"));
        assert!(!set(&mut headers, "one-more", "v"));
        assert!(set(&mut headers, "X-0", "w"));
        assert_eq!(first(&headers, "x-0"), Some("w"));
        assert!(remove(&mut headers, "X-0"));
        assert!(!remove(&mut headers, "x-0"));
    }

    #[test]
    fn values_that_are_not_text_are_only_there_as_bytes() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_bytes(&[0xff]).unwrap());
        headers.append("x", HeaderValue::from_static("t"));
        assert_eq!(first(&headers, "x"), None);
        assert_eq!(all(&headers, "x"), ["t"]);
        assert_eq!(bytes(&headers, "X"), Some(vec![0xff]));
        assert_eq!(list(&headers), [("x".to_owned(), "t".to_owned())]);
    }
}
