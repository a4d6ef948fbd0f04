//! Building and verifying sealed batches, and walking through their records.

use edge_types::{Digest, Seq};

use crate::{
    header::{BatchError, BatchHeader, BatchMeta, Codec, SeqRange},
    limits,
};

/// zstd level: on JSON events level 3 gives five to one; higher ones cost far more than they save.
const ZSTD_LEVEL: i32 = 3;
/// u32 length and u32 checksum before each record.
const RECORD_HEADER_LEN: usize = 8;

/// A batch as it is stored and sent, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    pub header: BatchHeader,
    pub bytes: Vec<u8>,
    /// BLAKE3 of `bytes`: the batch's name, and the next one's `prev_hash`.
    pub hash: Digest,
}

/// Gathers records in order of their numbers; a number left out becomes part of a gap.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    first_seq: Seq,
    next_seq: Seq,
    gaps: Vec<SeqRange>,
    count: u32,
    raw: Vec<u8>,
}

impl BatchBuilder {
    /// `first_seq` is the number after the last one of the batch before.
    pub fn new(first_seq: Seq) -> Self {
        Self {
            first_seq,
            next_seq: first_seq,
            gaps: Vec::new(),
            count: 0,
            raw: Vec::new(),
        }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the body before compression.
    pub fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// The number that would follow without a gap.
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Nothing in it, not even a gap: there is nothing to seal.
    pub fn is_empty(&self) -> bool {
        self.next_seq == self.first_seq
    }

    /// Whether `push` of such a record would stay within every limit of the format.
    pub fn has_room_for(&self, seq: Seq, len: usize) -> bool {
        let new_gap = usize::from(seq > self.next_seq && !self.ends_in_gap());
        self.gaps.len() + new_gap <= limits::MAX_GAPS
            && self.raw.len() + RECORD_HEADER_LEN + len <= limits::MAX_RAW_BYTES
    }

    /// Adds a record; numbers between the last one and `seq` become a gap.
    pub fn push(&mut self, seq: Seq, record: &[u8]) -> Result<(), BatchError> {
        if seq < self.next_seq {
            return Err(BatchError::Body("records out of order"));
        }
        if record.len() > limits::MAX_RECORD_BYTES {
            return Err(BatchError::TooLarge {
                what: "record",
                len: record.len(),
                limit: limits::MAX_RECORD_BYTES,
            });
        }
        if !self.has_room_for(seq, record.len()) {
            return Err(BatchError::TooLarge {
                what: "raw body",
                len: self.raw.len() + record.len(),
                limit: limits::MAX_RAW_BYTES,
            });
        }
        if seq > self.next_seq {
            self.gap_through(Seq(seq.0 - 1))?;
        }
        self.raw
            .extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.raw
            .extend_from_slice(&crc32c::crc32c(record).to_le_bytes());
        self.raw.extend_from_slice(record);
        self.count += 1;
        self.next_seq = seq.next();
        Ok(())
    }

    /// Declares every number from the next one to `last` missing for good.
    pub fn gap_through(&mut self, last: Seq) -> Result<(), BatchError> {
        if last < self.next_seq {
            return Ok(());
        }
        if let Some(gap) = self.gaps.last_mut()
            && gap.last.next() == self.next_seq
        {
            gap.last = last;
        } else if self.gaps.len() < limits::MAX_GAPS {
            self.gaps.push(SeqRange {
                first: self.next_seq,
                last,
            });
        } else {
            return Err(BatchError::TooLarge {
                what: "list of gaps",
                len: self.gaps.len() + 1,
                limit: limits::MAX_GAPS,
            });
        }
        self.next_seq = last.next();
        Ok(())
    }

    fn ends_in_gap(&self) -> bool {
        self.gaps
            .last()
            .is_some_and(|gap| gap.last.next() == self.next_seq)
    }

    /// Compresses (when that helps), hashes and writes the batch.
    pub fn seal(self, meta: BatchMeta) -> Result<SealedBatch, BatchError> {
        if self.is_empty() {
            return Err(BatchError::Body("no records and no gap"));
        }
        let compressed = zstd::bulk::compress(&self.raw, ZSTD_LEVEL)
            .ok()
            .filter(|packed| packed.len() < self.raw.len());
        let (codec, body) = match &compressed {
            Some(packed) => (Codec::Zstd, packed),
            None => (Codec::Plain, &self.raw),
        };
        let header = BatchHeader {
            meta,
            first_seq: self.first_seq,
            last_seq: Seq(self.next_seq.0 - 1),
            count: self.count,
            gaps: self.gaps,
            codec,
            raw_len: self.raw.len() as u32,
            encoded_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            body_hash: Digest::of(body),
        };
        header.check()?;
        let mut bytes = Vec::with_capacity(header.batch_len());
        header.write(&mut bytes);
        bytes.extend_from_slice(body);
        let hash = Digest::of(&bytes);
        Ok(SealedBatch {
            header,
            bytes,
            hash,
        })
    }
}

/// A batch whose every byte was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub header: BatchHeader,
    pub hash: Digest,
    raw: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub seq: Seq,
    pub body: &'a [u8],
}

/// Checks a whole batch: header, length, hash of the body, decompressed length, each record.
pub fn verify(bytes: &[u8]) -> Result<Decoded, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let (have, need) = (bytes.len(), header.batch_len());
    if have < need {
        return Err(BatchError::Truncated { have, need });
    }
    if have > need {
        return Err(BatchError::Trailing(have - need));
    }
    let body = &bytes[header.encoded_header_len()..];
    if Digest::of(body) != header.body_hash {
        return Err(BatchError::BodyHash);
    }
    let raw = match header.codec {
        Codec::Plain => body.to_vec(),
        // `check` bounded raw_len, and the decoder writes no more than that.
        Codec::Zstd => zstd::bulk::decompress(body, header.raw_len as usize)
            .map_err(|_| BatchError::Body("zstd cannot decode it to the stated length"))?,
    };
    if raw.len() != header.raw_len as usize {
        return Err(BatchError::Body("decoded length differs from the header's"));
    }
    check_records(&raw, header.count)?;
    Ok(Decoded {
        header,
        hash: Digest::of(bytes),
        raw,
    })
}

fn check_records(mut raw: &[u8], count: u32) -> Result<(), BatchError> {
    for _ in 0..count {
        let (body, crc, rest) = split_record(raw).ok_or(BatchError::Body("record cut off"))?;
        if body.len() > limits::MAX_RECORD_BYTES {
            return Err(BatchError::TooLarge {
                what: "record",
                len: body.len(),
                limit: limits::MAX_RECORD_BYTES,
            });
        }
        if crc32c::crc32c(body) != crc {
            return Err(BatchError::Body("record checksum"));
        }
        raw = rest;
    }
    if raw.is_empty() {
        Ok(())
    } else {
        Err(BatchError::Body("bytes after the last record"))
    }
}

fn split_record(raw: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let (len, rest) = raw.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((body, u32::from_le_bytes(*crc), rest))
}

impl Decoded {
    /// The records with their numbers, in order; gaps are skipped.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut raw = self.raw.as_slice();
        let mut seq = self.header.first_seq;
        let mut gaps = self.header.gaps.iter();
        let mut gap = gaps.next();
        std::iter::from_fn(move || {
            let (body, _, rest) = split_record(raw)?;
            raw = rest;
            // Gaps never touch each other, so one step is enough.
            if let Some(range) = gap
                && range.first == seq
            {
                seq = range.last.next();
                gap = gaps.next();
            }
            let record = Record { seq, body };
            seq = seq.next();
            Some(record)
        })
    }
}

#[cfg(test)]
mod tests;
