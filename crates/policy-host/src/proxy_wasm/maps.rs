//! Header maps as the ABI writes them: a count, then the lengths of all keys and values, then all of them with a NUL after each. All
//! numbers are u32, little endian. Bytes from a guest are held against every bound before anything is copied.

/// Pairs of one map: what a message may have, and its pseudo headers.
pub(super) const MAX_PAIRS: usize = 160;
/// The whole of one map: more than peers accept as a head.
pub(super) const MAX_MAP_BYTES: usize = 256 * 1024;

const WORD: usize = 4;

/// `pairs` is gone through twice.
pub(super) fn serialized<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let (count, bytes) = pairs.clone().fold((0, 0), |(count, bytes), (key, value)| {
        (count + 1, bytes + key.len() + value.len() + 2)
    });
    let mut out = Vec::with_capacity(WORD + count * 2 * WORD + bytes);
    let word = |out: &mut Vec<u8>, number: usize| {
        out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    };
    word(&mut out, count);
    for (key, value) in pairs.clone() {
        word(&mut out, key.len());
        word(&mut out, value.len());
    }
    for part in pairs.flat_map(|(key, value)| [key, value]) {
        out.extend_from_slice(part);
        out.push(0);
    }
    out
}

/// The length of what `serialized` would make.
pub(super) fn serialized_len<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    pairs.fold(WORD, |sum, (key, value)| {
        sum + 2 * WORD + key.len() + value.len() + 2
    })
}

/// None: not a map, or over a limit. No bytes at all, or one zero byte, are an empty map.
pub(super) fn parsed(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() || bytes == [0] {
        return Some(Vec::new());
    }
    if bytes.len() > MAX_MAP_BYTES {
        return None;
    }
    let count = word(bytes, 0)?;
    if count > MAX_PAIRS {
        return None;
    }
    let mut pairs = Vec::with_capacity(count);
    let mut at = WORD + count * 2 * WORD;
    for pair in 0..count {
        let lengths = WORD + pair * 2 * WORD;
        let key = part(bytes, &mut at, word(bytes, lengths)?)?;
        let value = part(bytes, &mut at, word(bytes, lengths + WORD)?)?;
        pairs.push((key, value));
    }
    Some(pairs)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + WORD)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(word)).ok()
}

/// A key or a value, and the NUL behind it.
fn part<'b>(bytes: &'b [u8], at: &mut usize, len: usize) -> Option<&'b [u8]> {
    let end = at.checked_add(len)?;
    let found = bytes.get(*at..end)?;
    if *bytes.get(end)? != 0 {
        return None;
    }
    *at = end + 1;
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pairs<'a> = &'a [(&'a [u8], &'a [u8])];

    fn check(pairs: Pairs<'_>) {
        let bytes = serialized(pairs.iter().copied());
        assert_eq!(bytes.len(), serialized_len(pairs.iter().copied()));
        assert_eq!(parsed(&bytes).as_deref(), Some(pairs));
    }

    #[test]
    fn a_map_comes_back_as_it_went_in() {
        check(&[]);
        check(&[(b":path", b"/a"), (b"x", b""), (b"", b"\0y")]);
        assert_eq!(parsed(&[]), Some(Vec::new()));
        assert_eq!(parsed(&[0]), Some(Vec::new()));
        assert_eq!(parsed(&[0, 0, 0, 0]), Some(Vec::new()));
    }

    #[test]
    fn what_the_specification_shows_is_what_is_written() {
        let bytes = serialized([(&b"a"[..], &b"bc"[..])].into_iter());
        assert_eq!(bytes, b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0");
    }

    #[test]
    fn malformed_maps_are_none() {
        let good = serialized([(&b"key"[..], &b"value"[..])].into_iter());
        for end in 2..good.len() {
            assert_eq!(parsed(&good[..end]), None, "cut at {end}");
        }
        for (at, byte) in [(0, 2), (3, 0xff), (4, 4), (7, 0xff), (15, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(parsed(&bad), None, "byte {at} is {byte}");
        }
        assert_eq!(parsed(&[0xff; 64]), None);
        assert_eq!(parsed(&vec![0; MAX_MAP_BYTES + 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_map_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(pairs) = parsed(&bytes) && bytes.len() >= WORD {
                let again = serialized(pairs.iter().copied());
                prop_assert!(bytes.starts_with(&again));
            }
        }
    }
}
