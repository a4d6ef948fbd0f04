//! The header of a sealed batch: everything there is to know about it without its body.
//!
//! Invariant: a `BatchHeader` obeys every rule of docs/specs/batch.md, "Header".

use edge_types::{BatchNo, Digest, Epoch, Incarnation, Lane, Seq, SiteId};

use crate::{codec::Fields, limits};

pub(crate) const MAGIC: [u8; 4] = *b"VGB1";
pub(crate) const VERSION: u16 = 1;
/// Bytes before the site name.
pub(crate) const FIXED_LEN: usize = 152;

/// What a batch belongs to; the part of the header that its maker chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchMeta {
    pub site: SiteId,
    pub incarnation: Incarnation,
    pub epoch: Epoch,
    pub lane: Lane,
    pub batch_no: BatchNo,
    /// Hash of the whole batch before this one; zeros for the first.
    pub prev_hash: Digest,
    /// When the oldest record was accepted, Unix milliseconds by the site's clock: data, never an order.
    pub oldest_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Plain,
    Zstd,
}

impl Codec {
    const fn wire(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
        }
    }

    const fn of_wire(wire: u8) -> Option<Self> {
        match wire {
            0 => Some(Self::Plain),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Sequence numbers `first..=last`; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SeqRange {
    pub first: Seq,
    pub last: Seq,
}

impl SeqRange {
    pub const fn len(&self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Never: a range holds at least one number.
    pub const fn is_empty(&self) -> bool {
        false
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub meta: BatchMeta,
    pub first_seq: Seq,
    pub last_seq: Seq,
    /// Records in the body: all numbers of `first_seq..=last_seq` but those in `gaps`.
    pub count: u32,
    /// Numbers that are missing for good, in order, neither touching nor overlapping.
    pub gaps: Vec<SeqRange>,
    pub codec: Codec,
    pub raw_len: u32,
    pub encoded_len: u32,
    /// BLAKE3 of the encoded body.
    pub body_hash: Digest,
}

/// Why bytes are not a batch. Always the sender's fault (or the disk's), and never better on a second look: do not retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("not a sealed batch: the first four bytes are not VGB1")]
    Magic,
    #[error("sealed batch of format version {0}; this program knows version 1: update it")]
    Version(u16),
    #[error("sealed batch cut off: it has {have} bytes where {need} are needed")]
    Truncated { have: usize, need: usize },
    #[error("sealed batch with {0} bytes after its end")]
    Trailing(usize),
    #[error("sealed batch with a damaged header (checksum)")]
    HeaderChecksum,
    #[error("sealed batch with a damaged body (hash)")]
    BodyHash,
    #[error("sealed batch whose header breaks the format: {0}")]
    Header(&'static str),
    #[error("sealed batch whose body breaks the format: {0}")]
    Body(&'static str),
    #[error("{what} of {len} is over the limit of {limit}")]
    TooLarge {
        what: &'static str,
        len: usize,
        limit: usize,
    },
}

fn check(rule: bool, broken: &'static str) -> Result<(), BatchError> {
    if rule {
        Ok(())
    } else {
        Err(BatchError::Header(broken))
    }
}

fn within(what: &'static str, len: usize, limit: usize) -> Result<(), BatchError> {
    if len <= limit {
        Ok(())
    } else {
        Err(BatchError::TooLarge { what, len, limit })
    }
}

impl BatchHeader {
    /// Length of this header as bytes.
    pub fn encoded_header_len(&self) -> usize {
        FIXED_LEN + self.meta.site.as_str().len() + 16 * self.gaps.len() + 4
    }

    /// Length of the whole batch.
    pub fn batch_len(&self) -> usize {
        self.encoded_header_len() + self.encoded_len as usize
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let site = self.meta.site.as_str().as_bytes();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.encoded_header_len() as u16).to_le_bytes());
        out.extend_from_slice(&[
            self.meta.lane.wire(),
            self.codec.wire(),
            site.len() as u8,
            0,
        ]);
        out.extend_from_slice(&(self.gaps.len() as u32).to_le_bytes());
        for number in [
            self.meta.epoch.0,
            self.meta.batch_no.0,
            self.first_seq.0,
            self.last_seq.0,
            self.meta.oldest_ms,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.count, self.raw_len, self.encoded_len, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.meta.incarnation.0);
        out.extend_from_slice(&self.body_hash.0);
        out.extend_from_slice(&self.meta.prev_hash.0);
        debug_assert_eq!(out.len() - start, FIXED_LEN);
        out.extend_from_slice(site);
        for gap in &self.gaps {
            out.extend_from_slice(&gap.first.0.to_le_bytes());
            out.extend_from_slice(&gap.last.0.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads and checks the header at the front of `bytes`; the body may follow or not.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header_len = parse_header_len(bytes)?;
        let Some(header) = bytes.get(..header_len) else {
            return Err(BatchError::Truncated {
                have: bytes.len(),
                need: header_len,
            });
        };
        let (covered, crc) = header.split_at(header_len - 4);
        if crc != crc32c::crc32c(covered).to_le_bytes() {
            return Err(BatchError::HeaderChecksum);
        }
        // From here on the bytes are what a writer wrote; it may still have been a wrong or hostile one.
        let header = read_fields(covered)
            .ok_or(BatchError::Header("header length and contents differ"))??;
        check(
            header.encoded_header_len() == header_len,
            "header length and contents differ",
        )?;
        header.check()?;
        Ok(header)
    }

    /// The rules that tie the fields together.
    pub(crate) fn check(&self) -> Result<(), BatchError> {
        check(self.meta.epoch.0 >= 1, "epoch 0")?;
        check(self.meta.batch_no.0 >= 1, "batch number 0")?;
        check(self.first_seq.0 >= 1, "sequence number 0")?;
        check(
            self.first_seq <= self.last_seq,
            "last sequence number before the first",
        )?;
        within(
            "encoded body",
            self.encoded_len as usize,
            limits::MAX_ENCODED_BYTES,
        )?;
        within("raw body", self.raw_len as usize, limits::MAX_RAW_BYTES)?;
        if self.codec == Codec::Plain {
            check(
                self.raw_len == self.encoded_len,
                "plain body with two lengths",
            )?;
        }
        check(
            u64::from(self.count) * 8 <= u64::from(self.raw_len),
            "more records than the body can hold",
        )?;
        self.check_gaps()
    }

    fn check_gaps(&self) -> Result<(), BatchError> {
        within("list of gaps", self.gaps.len(), limits::MAX_GAPS)?;
        let mut missing = 0u64;
        let mut free_from = self.first_seq.0;
        for gap in &self.gaps {
            check(gap.first <= gap.last, "gap that ends before it starts")?;
            check(
                gap.first.0 >= free_from && gap.last <= self.last_seq,
                "gaps out of order or out of range",
            )?;
            missing = missing.saturating_add(gap.len());
            // A gap that touches the one before would be one gap.
            free_from = gap.last.0.saturating_add(2);
        }
        let range = SeqRange {
            first: self.first_seq,
            last: self.last_seq,
        };
        check(
            u64::from(self.count).checked_add(missing) == Some(range.len()),
            "records and gaps do not add up to the range",
        )
    }
}

fn parse_header_len(bytes: &[u8]) -> Result<usize, BatchError> {
    let short = BatchError::Truncated {
        have: bytes.len(),
        need: FIXED_LEN,
    };
    let mut fields = Fields(bytes);
    if fields.array().ok_or(short.clone())? != MAGIC {
        return Err(BatchError::Magic);
    }
    let version = fields.u16().ok_or(short.clone())?;
    if version != VERSION {
        return Err(BatchError::Version(version));
    }
    let header_len = usize::from(fields.u16().ok_or(short)?);
    check(header_len > FIXED_LEN + 4, "header too short")?;
    within("header", header_len, limits::MAX_HEADER_BYTES)?;
    Ok(header_len)
}

/// `None` when the bytes end too early.
fn read_fields(covered: &[u8]) -> Option<Result<BatchHeader, BatchError>> {
    let mut f = Fields(covered);
    f.bytes(8)?;
    let (lane, codec, site_len, reserved) = (f.u8()?, f.u8()?, f.u8()?, f.u8()?);
    let gap_count = f.u32()?;
    let (epoch, batch_no, first_seq, last_seq, oldest_ms) =
        (f.u64()?, f.u64()?, f.u64()?, f.u64()?, f.u64()?);
    let (count, raw_len, encoded_len, reserved_2) = (f.u32()?, f.u32()?, f.u32()?, f.u32()?);
    let (incarnation, body_hash, prev_hash) = (f.array()?, f.array()?, f.array()?);
    let site = f.bytes(usize::from(site_len))?;
    // Bounded by the header's length, which `parse_header_len` bounded.
    let mut gaps = Vec::new();
    for _ in 0..gap_count {
        gaps.push(SeqRange {
            first: Seq(f.u64()?),
            last: Seq(f.u64()?),
        });
    }
    let refuse = |rule| Some(Err(BatchError::Header(rule)));
    if reserved != 0 || reserved_2 != 0 {
        return refuse("a reserved byte is not 0");
    }
    let Ok(lane) = Lane::try_from(lane) else {
        return refuse("unknown lane");
    };
    let Some(codec) = Codec::of_wire(codec) else {
        return refuse("unknown codec");
    };
    let Some(site) = std::str::from_utf8(site)
        .ok()
        .and_then(|s| SiteId::new(s).ok())
    else {
        return refuse("not a site name");
    };
    Some(Ok(BatchHeader {
        meta: BatchMeta {
            site,
            incarnation: Incarnation(incarnation),
            epoch: Epoch(epoch),
            lane,
            batch_no: BatchNo(batch_no),
            prev_hash: Digest(prev_hash),
            oldest_ms,
        },
        first_seq: Seq(first_seq),
        last_seq: Seq(last_seq),
        count,
        gaps,
        codec,
        raw_len,
        encoded_len,
        body_hash: Digest(body_hash),
    }))
}
