//! What the database holds: small rows, each with its own checksum. Pure.

use edge_types::{Digest, Incarnation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::layout::SegmentId;

pub(crate) type Key = Vec<u8>;
/// `None` deletes.
pub(crate) type Change = (Key, Option<Vec<u8>>);

/// Watermarks: the witness's, and the quota that was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetaRow {
    pub incarnation: Incarnation,
    pub epoch: u64,
    pub next_seq: u64,
    pub sealed_through: u64,
    pub last_batch: u64,
    pub last_hash: Digest,
    pub deleted_through: u64,
    pub deleted_seq: u64,
    pub quota_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    /// The number after the last one in it.
    pub end_seq: u64,
    pub len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BatchState {
    Pending,
    /// Acknowledged at this time (Unix ms), kept for the hold time.
    Acked {
        at_ms: u64,
    },
    /// Refused for good and set aside.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchRow {
    pub hash: Digest,
    pub len: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    pub count: u32,
    pub oldest_ms: u64,
    pub state: BatchState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Meta(MetaRow),
    /// Only closed segments have a row.
    Segment(SegmentId, SegmentRow),
    Batch(u64, BatchRow),
    /// A small value that the outbox keeps for its user.
    Note(String, String),
}

pub(crate) fn meta_key() -> Key {
    b"m".to_vec()
}

pub(crate) fn segment_key(id: SegmentId) -> Key {
    let mut key = b"s".to_vec();
    key.extend_from_slice(&id.ordinal.to_be_bytes());
    key.extend_from_slice(&id.first_seq.to_be_bytes());
    key
}

pub(crate) fn batch_key(no: u64) -> Key {
    let mut key = b"b".to_vec();
    key.extend_from_slice(&no.to_be_bytes());
    key
}

pub(crate) fn note_key(name: &str) -> Key {
    let mut key = b"n".to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

pub(crate) fn value<T: Serialize>(row: &T) -> Vec<u8> {
    // Plain structs of numbers and strings: they always have a JSON form.
    let json = serde_json::to_vec(row).unwrap_or_default();
    let mut out = crc32c::crc32c(&json).to_le_bytes().to_vec();
    out.extend_from_slice(&json);
    out
}

fn parse_value<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (crc, json) = bytes.split_first_chunk()?;
    if crc32c::crc32c(json) != u32::from_le_bytes(*crc) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// `None` when the row is damaged or not one of ours.
pub(crate) fn parse(key: &[u8], bytes: &[u8]) -> Option<Row> {
    let (kind, rest) = key.split_first()?;
    match kind {
        b'm' if rest.is_empty() => parse_value(bytes).map(Row::Meta),
        b's' => {
            let (ordinal, first_seq) = rest.split_first_chunk::<4>()?;
            let id = SegmentId {
                ordinal: u32::from_be_bytes(*ordinal),
                first_seq: u64::from_be_bytes(first_seq.try_into().ok()?),
            };
            parse_value(bytes).map(|row| Row::Segment(id, row))
        }
        b'b' => {
            let no = u64::from_be_bytes(rest.try_into().ok()?);
            parse_value(bytes).map(|row| Row::Batch(no, row))
        }
        b'n' => {
            let name = std::str::from_utf8(rest).ok()?.to_string();
            parse_value(bytes).map(|text| Row::Note(name, text))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_damage_is_seen() {
        let row = BatchRow {
            hash: Digest::of(b"x"),
            len: 10,
            first_seq: 1,
            last_seq: 2,
            count: 2,
            oldest_ms: 5,
            state: BatchState::Acked { at_ms: 9 },
        };
        let bytes = value(&row);
        assert_eq!(parse(&batch_key(4), &bytes), Some(Row::Batch(4, row)));
        let note = value(&"v".to_string());
        assert_eq!(
            parse(&note_key("k"), &note),
            Some(Row::Note("k".into(), "v".into()))
        );
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&batch_key(4), &bad), None, "bit {bit}");
        }
        for key in [&b""[..], b"b", b"b123", b"s", b"x"] {
            assert_eq!(parse(key, &bytes), None);
        }
    }
}
