//! Records as they lie in a segment file. Pure.
//!
//! A frame is `u32 length, u32 checksum, u64 sequence number, u64 Unix milliseconds, body`. The checksum (CRC-32C of everything
//! else) starts from the segment's salt, which no client ever sees: bytes inside a record's body cannot pose as a frame when a
//! damaged segment is searched for the next good one.

use sync_wire::limits::MAX_RECORD_BYTES;

pub(crate) const FRAME_HEADER_LEN: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub seq: u64,
    pub t_ms: u64,
    pub body: &'a [u8],
    /// Where it ends in the buffer that was scanned.
    pub end: usize,
}

fn checksum(salt: u32, len: [u8; 4], seq_and_time: &[u8], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(salt, &len);
    let crc = crc32c::crc32c_append(crc, seq_and_time);
    crc32c::crc32c_append(crc, body)
}

pub(crate) fn write_frame(out: &mut Vec<u8>, salt: u32, seq: u64, t_ms: u64, body: &[u8]) {
    let len = (body.len() as u32).to_le_bytes();
    let mut seq_and_time = [0; 16];
    seq_and_time[..8].copy_from_slice(&seq.to_le_bytes());
    seq_and_time[8..].copy_from_slice(&t_ms.to_le_bytes());
    out.extend_from_slice(&len);
    out.extend_from_slice(&checksum(salt, len, &seq_and_time, body).to_le_bytes());
    out.extend_from_slice(&seq_and_time);
    out.extend_from_slice(body);
}

/// The frame that starts at `at`, if its number is in `seqs` and every byte is right.
fn frame_at(buf: &[u8], at: usize, salt: u32, seqs: std::ops::Range<u64>) -> Option<Frame<'_>> {
    let (len, rest) = buf.get(at..)?.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (seq_and_time, rest) = rest.split_first_chunk::<16>()?;
    let (seq, t_ms) = seq_and_time.split_first_chunk::<8>()?;
    let seq = u64::from_le_bytes(*seq);
    let body_len = u32::from_le_bytes(*len) as usize;
    if !seqs.contains(&seq) || body_len > MAX_RECORD_BYTES {
        return None;
    }
    let body = rest.get(..body_len)?;
    let right = checksum(salt, *len, seq_and_time, body) == u32::from_le_bytes(*crc);
    right.then(|| Frame {
        seq,
        t_ms: u64::from_le_bytes(t_ms.try_into().unwrap_or_default()),
        body,
        end: at + FRAME_HEADER_LEN + body_len,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Frame(Frame<'a>),
    /// Bytes that are no frame, with a good frame after them.
    Damage {
        start: usize,
        end: usize,
    },
    /// Bytes that are no frame, and no good one after them: a torn or damaged tail, or a frame that the buffer cuts off.
    Tail {
        start: usize,
    },
}

/// Walks through frames; numbers must rise.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    buf: &'a [u8],
    salt: u32,
    at: usize,
    min_seq: u64,
    end_seq: u64,
}

impl<'a> Scan<'a> {
    /// `buf` starts at a frame; frames outside `seqs` are not this segment's.
    pub(crate) fn new(buf: &'a [u8], salt: u32, seqs: std::ops::Range<u64>) -> Self {
        Self {
            buf,
            salt,
            at: 0,
            min_seq: seqs.start,
            end_seq: seqs.end,
        }
    }

    fn frame(&self, at: usize) -> Option<Frame<'a>> {
        frame_at(self.buf, at, self.salt, self.min_seq..self.end_seq)
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let start = self.at;
        if start >= self.buf.len() {
            return None;
        }
        if let Some(frame) = self.frame(start) {
            self.at = frame.end;
            self.min_seq = frame.seq + 1;
            return Some(Item::Frame(frame));
        }
        // The range of numbers rules nearly every offset out before a checksum is computed.
        let next_good = (start + 1..self.buf.len()).find(|at| self.frame(*at).is_some());
        self.at = next_good.unwrap_or(self.buf.len());
        Some(match next_good {
            Some(end) => Item::Damage { start, end },
            None => Item::Tail { start },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 0x1234_5678;

    fn three() -> (Vec<u8>, [usize; 3]) {
        let mut buf = Vec::new();
        let ends = [5u64, 6, 9].map(|seq| {
            write_frame(
                &mut buf,
                SALT,
                seq,
                1000 + seq,
                format!("record {seq}").as_bytes(),
            );
            buf.len()
        });
        (buf, ends)
    }

    fn seqs_of(buf: &[u8], salt: u32) -> Vec<u64> {
        Scan::new(buf, salt, 5..100)
            .filter_map(|item| match item {
                Item::Frame(frame) => Some(frame.seq),
                Item::Damage { .. } | Item::Tail { .. } => None,
            })
            .collect()
    }

    #[test]
    fn frames_read_back() {
        let (buf, ends) = three();
        let items: Vec<_> = Scan::new(&buf, SALT, 5..100).collect();
        assert_eq!(items.len(), 3);
        assert_eq!(
            items[2],
            Item::Frame(Frame {
                seq: 9,
                t_ms: 1009,
                body: b"record 9",
                end: ends[2]
            })
        );
        assert_eq!(seqs_of(&buf, SALT + 1), [0u64; 0], "another segment's salt");
    }

    #[test]
    fn a_flipped_bit_costs_one_record() {
        let (good, ends) = three();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|end| bit / 8 < *end).expect("inside");
            let expected: Vec<u64> = [5, 6, 9]
                .into_iter()
                .enumerate()
                .filter(|(i, _)| *i != hit)
                .map(|(_, seq)| seq)
                .collect();
            assert_eq!(seqs_of(&bad, SALT), expected, "bit {bit}");
        }
    }

    #[test]
    fn a_torn_tail_is_told_from_damage() {
        let (buf, ends) = three();
        for cut in ends[1] + 1..ends[2] {
            let last = Scan::new(&buf[..cut], SALT, 5..100).last();
            assert_eq!(last, Some(Item::Tail { start: ends[1] }), "cut at {cut}");
        }
        let mut bad = buf.clone();
        bad[ends[0]] ^= 1;
        let second = Scan::new(&bad, SALT, 5..100).nth(1);
        assert_eq!(
            second,
            Some(Item::Damage {
                start: ends[0],
                end: ends[1]
            })
        );
    }

    #[test]
    fn a_frame_inside_a_body_is_not_found() {
        let mut inner = Vec::new();
        write_frame(&mut inner, 0, 6, 0, b"forged");
        let mut buf = Vec::new();
        write_frame(&mut buf, SALT, 5, 0, &inner);
        buf[0] ^= 1;
        assert_eq!(seqs_of(&buf, SALT), [0u64; 0]);
    }
}
