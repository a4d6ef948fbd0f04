//! The receipt of a durable record, and its form as the response header `veilgate-record`.
//!
//! The header is an RFC 9651 dictionary: `lane=events, seq=123, outbox="0123456789abcdef"`.

use serde::{Deserialize, Serialize};

use crate::{IncarnationTag, Lane, Seq};

pub const RECEIPT_HEADER: &str = "veilgate-record";

/// Longest header that is looked at; one that we write has at most 70 bytes.
pub const MAX_RECEIPT_HEADER_LEN: usize = 256;

/// RFC 9651 section 3.3.1: an Integer has at most 15 digits.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// Says that a record is on disk, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Receipt {
    pub lane: Lane,
    pub seq: Seq,
    /// Which outbox: sequence numbers are unique within one incarnation only.
    pub incarnation: IncarnationTag,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("record header longer than {MAX_RECEIPT_HEADER_LEN} bytes")]
    TooLong,
    #[error("record header is not a dictionary of lane, seq and outbox")]
    Syntax,
    #[error("record header lacks `{0}`")]
    Missing(&'static str),
    #[error("record header has a wrong value for `{0}`")]
    Value(&'static str),
}

impl Receipt {
    pub fn to_header(&self) -> String {
        format!(
            "lane={}, seq={}, outbox=\"{}\"",
            self.lane, self.seq, self.incarnation
        )
    }

    /// Reads the subset of RFC 9651 that `to_header` can write, in any order; unknown keys and parameters are ignored.
    pub fn parse_header(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > MAX_RECEIPT_HEADER_LEN {
            return Err(ReceiptError::TooLong);
        }
        let (mut lane, mut seq, mut outbox) = (None, None, None);
        for member in text.split(',') {
            let (key, value) = member
                .trim_matches([' ', '\t'])
                .split_once('=')
                .ok_or(ReceiptError::Syntax)?;
            let value = value.split(';').next().unwrap_or(value);
            // A repeated key: the last one counts (RFC 9651 section 4.2.2).
            match key {
                "lane" => lane = Some(value),
                "seq" => seq = Some(value),
                "outbox" => outbox = Some(value),
                _ => {}
            }
        }
        let lane = lane.ok_or(ReceiptError::Missing("lane"))?;
        let seq = seq.ok_or(ReceiptError::Missing("seq"))?;
        let outbox = outbox.ok_or(ReceiptError::Missing("outbox"))?;
        Ok(Self {
            lane: lane.parse().map_err(|_| ReceiptError::Value("lane"))?,
            seq: parse_seq(seq).ok_or(ReceiptError::Value("seq"))?,
            incarnation: outbox
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .and_then(|hex| hex.parse().ok())
                .ok_or(ReceiptError::Value("outbox"))?,
        })
    }
}

fn parse_seq(text: &str) -> Option<Seq> {
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    let seq = text.parse().ok().filter(|_| digits_only)?;
    (1..=MAX_INTEGER).contains(&seq).then_some(Seq(seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            lane: Lane::Events,
            seq: Seq(123),
            incarnation: IncarnationTag([0x0a; 8]),
        }
    }

    #[test]
    fn a_receipt_reads_back_what_it_wrote() {
        let header = receipt().to_header();
        assert_eq!(header, "lane=events, seq=123, outbox=\"0a0a0a0a0a0a0a0a\"");
        assert_eq!(Receipt::parse_header(&header), Ok(receipt()));
    }

    #[test]
    fn order_parameters_and_unknown_keys_do_not_matter() {
        let header = "outbox=\"0a0a0a0a0a0a0a0a\";p=1,seq=123 , x=?1, lane=events";
        assert_eq!(
            Receipt::parse_header(header),
            Ok(receipt()),
            "optional white space around a comma is allowed"
        );
    }

    #[test]
    fn wrong_headers_are_refused() {
        let good_outbox = "outbox=\"0a0a0a0a0a0a0a0a\"";
        for bad in [
            String::new(),
            "lane=events".into(),
            format!("lane=bulk, seq=1, {good_outbox}"),
            format!("lane=events, seq=0, {good_outbox}"),
            format!("lane=events, seq=+1, {good_outbox}"),
            format!("lane=events, seq=1000000000000000, {good_outbox}"),
            "lane=events, seq=1, outbox=0a0a0a0a0a0a0a0a".into(),
            "lane=events, seq=1, outbox=\"\"".into(),
            "x".repeat(257),
        ] {
            assert!(Receipt::parse_header(&bad).is_err(), "{bad}");
        }
    }
}
