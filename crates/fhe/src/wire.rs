//! The bodies of an evaluation: encrypted rows one way, encrypted results the other. Layout: docs/specs/fhe-formats.md.
//!
//! Invariant: a parsed request has exactly the size that its header announces, within the limits below, and every
//! word of it is a valid residue modulo 2^64, so it can be computed with as it is.

use edge_types::Digest;

use crate::bytes::{Reader, pack_bits, packed_len, unpack_bits};
use crate::error::{FheError, Thing};
use crate::keys::KeyId;
use crate::params::{LWE_WORDS, POLYNOMIAL_SIZE, ParamSet};
use crate::program::{INPUT_BITS, MAX_INPUTS, MAX_RESULTS, Program, RESULT_BITS};

const REQUEST_MAGIC: &[u8; 4] = b"VGFQ";
const REPLY_MAGIC: &[u8; 4] = b"VGFR";
const VERSION: u16 = 2;

/// Rows of one request: a batch worth its overhead, and at most 4 MB of expanded ciphertexts.
pub const MAX_ROWS: usize = 256;
pub const MAX_REQUEST_BYTES: usize = REQUEST_HEADER_BYTES + MAX_ROWS * MAX_INPUTS * 8;
const REQUEST_HEADER_BYTES: usize = 4 + 2 + 2 + 32 + 32 + 16 + 2 + 2 + 1;
const REPLY_HEADER_BYTES: usize = 4 + 2 + 2 + 32 + 4 + 32 + 32 + 2 + 2 + 1;

/// Encrypted rows: one ring ciphertext each, whose mask is expanded from the seed (row after row), and of whose body
/// only the coefficients that carry an input are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub params: ParamSet,
    pub program: Digest,
    pub key: KeyId,
    pub seed: u128,
    values_per_row: usize,
    /// Bits of each body that are sent.
    bits: u32,
    /// Row after row, words modulo 2^64 whose lower bits are zero.
    bodies: Vec<u64>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Request({} rows of {}, key {})",
            self.rows(),
            self.values_per_row,
            self.key
        )
    }
}

impl Request {
    pub fn new(
        params: ParamSet,
        program: Digest,
        key: KeyId,
        seed: u128,
        values_per_row: usize,
        bits: u32,
        mut bodies: Vec<u64>,
    ) -> Result<Self, FheError> {
        let rows = bodies.len().checked_div(values_per_row).unwrap_or(0);
        check_counts(rows, values_per_row, bits)?;
        if rows * values_per_row != bodies.len() {
            return Err(FheError::malformed(
                Thing::Request,
                "its rows are not of one length",
            ));
        }
        for word in &mut bodies {
            *word = up_again(round_to(*word, bits), bits);
        }
        Ok(Self {
            params,
            program,
            key,
            seed,
            values_per_row,
            bits,
            bodies,
        })
    }

    pub fn rows(&self) -> usize {
        self.bodies.len() / self.values_per_row
    }
    pub fn values_per_row(&self) -> usize {
        self.values_per_row
    }
    /// Bits of each body that were sent.
    pub fn bits(&self) -> u32 {
        self.bits
    }
    pub fn row_bodies(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.bodies.chunks_exact(self.values_per_row)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REQUEST_HEADER_BYTES + self.bodies.len() * 8);
        out.extend_from_slice(REQUEST_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.params.id().to_le_bytes());
        out.extend_from_slice(&self.program.0);
        out.extend_from_slice(&self.key.0.0);
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&(self.rows() as u16).to_le_bytes());
        out.extend_from_slice(&(self.values_per_row as u16).to_le_bytes());
        out.push(self.bits as u8);
        let words: Vec<u64> = self.bodies.iter().map(|w| w >> (64 - self.bits)).collect();
        pack_bits(&mut out, &words, self.bits);
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FheError> {
        let thing = Thing::Request;
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(FheError::Oversize {
                thing,
                limit: MAX_REQUEST_BYTES,
                got: bytes.len(),
            });
        }
        let mut reader = Reader::new(thing, bytes);
        reader.header(REQUEST_MAGIC, VERSION)?;
        let id = reader.u16()?;
        let params = ParamSet::from_id(id).ok_or(FheError::UnknownParams { thing, id })?;
        let program = Digest(reader.array()?);
        let key = KeyId(Digest(reader.array()?));
        let seed = reader.u128()?;
        let (rows, values_per_row) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let bits = u32::from(reader.u8()?);
        check_counts(rows, values_per_row, bits)?;
        let count = rows * values_per_row;
        let len = packed_len(count, bits);
        reader.expect_total(REQUEST_HEADER_BYTES + len)?;
        let packed = reader.take(len)?;
        refuse_padding(packed, count, bits)?;
        let bodies = unpack_bits(packed, count, bits);
        let bodies = bodies.iter().map(|&word| up_again(word, bits)).collect();
        Ok(Self {
            params,
            program,
            key,
            seed,
            values_per_row,
            bits,
            bodies,
        })
    }
}

/// One encoding only: what is left of the last byte is zero.
fn refuse_padding(packed: &[u8], count: usize, bits: u32) -> Result<(), FheError> {
    let used = (count * bits as usize) % 8;
    let clean = used == 0 || packed.last().is_none_or(|last| last >> used == 0);
    if clean {
        return Ok(());
    }
    Err(FheError::malformed(
        Thing::Request,
        "the bits after its last value are not zero",
    ))
}

fn check_counts(rows: usize, values_per_row: usize, bits: u32) -> Result<(), FheError> {
    if !INPUT_BITS.contains(&bits) {
        let reason = format!(
            "{bits} bits a value; {} to {} are allowed",
            INPUT_BITS.start(),
            INPUT_BITS.end()
        );
        return Err(FheError::malformed(Thing::Request, reason));
    }
    if !(1..=MAX_ROWS).contains(&rows) {
        let reason = format!("{rows} rows; 1 to {MAX_ROWS} are allowed in one request");
        return Err(FheError::malformed(Thing::Request, reason));
    }
    if !(1..=MAX_INPUTS).contains(&values_per_row) {
        let reason = format!("{values_per_row} values a row; 1 to {MAX_INPUTS} are allowed");
        return Err(FheError::malformed(Thing::Request, reason));
    }
    Ok(())
}

/// What a reply is about. A client checks all of it against what it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    pub params: ParamSet,
    pub program: Digest,
    pub version: u32,
    pub key: KeyId,
    /// BLAKE3 of the request's bytes.
    pub request: Digest,
    pub rows: usize,
    pub results_per_row: usize,
    /// Bits that each word was rounded to.
    pub bits: u32,
}

/// Encrypted results: LWE ciphertexts of dimension 2048, mask then body, row after row, rounded to a few bits a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub header: ReplyHeader,
    packed: Vec<u8>,
}

impl Reply {
    /// What a program made of a request (`digest` is that of the request's bytes): rows · results · [`LWE_WORDS`] words.
    pub fn to(
        request: &Request,
        digest: Digest,
        program: &Program,
        ciphertexts: &[u64],
    ) -> Result<Self, FheError> {
        let header = ReplyHeader {
            params: request.params,
            program: program.digest(),
            version: program.version(),
            key: request.key,
            request: digest,
            rows: request.rows(),
            results_per_row: program.result_count(),
            bits: program.file().result.bits,
        };
        Self::round(header, ciphertexts)
    }

    /// `ciphertexts`: rows · results · [`LWE_WORDS`] words modulo 2^64.
    pub fn round(header: ReplyHeader, ciphertexts: &[u64]) -> Result<Self, FheError> {
        check_reply(&header)?;
        if ciphertexts.len() != header.rows * header.results_per_row * LWE_WORDS {
            return Err(FheError::malformed(
                Thing::Reply,
                "it has another number of results than it says",
            ));
        }
        let mut packed = Vec::new();
        for ciphertext in ciphertexts.chunks_exact(LWE_WORDS) {
            let words: Vec<u64> = ciphertext
                .iter()
                .map(|&word| round_to(word, header.bits))
                .collect();
            pack_bits(&mut packed, &words, header.bits);
        }
        Ok(Self { header, packed })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let header = &self.header;
        let mut out = Vec::with_capacity(REPLY_HEADER_BYTES + self.packed.len());
        out.extend_from_slice(REPLY_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&header.params.id().to_le_bytes());
        out.extend_from_slice(&header.program.0);
        out.extend_from_slice(&header.version.to_le_bytes());
        out.extend_from_slice(&header.key.0.0);
        out.extend_from_slice(&header.request.0);
        out.extend_from_slice(&(header.rows as u16).to_le_bytes());
        out.extend_from_slice(&(header.results_per_row as u16).to_le_bytes());
        out.push(header.bits as u8);
        out.extend_from_slice(&self.packed);
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FheError> {
        let thing = Thing::Reply;
        let mut reader = Reader::new(thing, bytes);
        reader.header(REPLY_MAGIC, VERSION)?;
        let id = reader.u16()?;
        let header = ReplyHeader {
            params: ParamSet::from_id(id).ok_or(FheError::UnknownParams { thing, id })?,
            program: Digest(reader.array()?),
            version: reader.u32()?,
            key: KeyId(Digest(reader.array()?)),
            request: Digest(reader.array()?),
            rows: usize::from(reader.u16()?),
            results_per_row: usize::from(reader.u16()?),
            bits: u32::from(reader.u8()?),
        };
        check_reply(&header)?;
        let len = header.rows * header.results_per_row * packed_len(LWE_WORDS, header.bits);
        reader.expect_total(REPLY_HEADER_BYTES + len)?;
        Ok(Self {
            header,
            packed: reader.take(len)?.to_vec(),
        })
    }

    /// The results, one after another, as words modulo 2^64 again.
    pub fn ciphertexts(&self) -> impl Iterator<Item = Vec<u64>> {
        let bits = self.header.bits;
        let chunks = self.packed.chunks_exact(packed_len(LWE_WORDS, bits));
        chunks.map(move |chunk| {
            unpack_bits(chunk, LWE_WORDS, bits)
                .iter()
                .map(|&word| up_again(word, bits))
                .collect()
        })
    }

    /// The most that a client needs to read of a reply to `rows` rows of this many results.
    pub fn max_bytes(rows: usize, results_per_row: usize, bits: u32) -> usize {
        REPLY_HEADER_BYTES + rows * results_per_row * packed_len(LWE_WORDS, bits)
    }
}

fn check_reply(header: &ReplyHeader) -> Result<(), FheError> {
    let sound = (1..=MAX_ROWS).contains(&header.rows)
        && (1..=MAX_RESULTS).contains(&header.results_per_row)
        && RESULT_BITS.contains(&header.bits);
    if sound {
        Ok(())
    } else {
        Err(FheError::malformed(
            Thing::Reply,
            "its counts are out of range",
        ))
    }
}

/// The inverse of [`round_to`], but for what was rounded away.
fn up_again(word: u64, bits: u32) -> u64 {
    word << (64 - bits)
}

/// The top `bits` of a word, rounded to nearest.
fn round_to(word: u64, bits: u32) -> u64 {
    match bits {
        64.. => word,
        bits => word.wrapping_add(1 << (63 - bits)) >> (64 - bits),
    }
}

const _: () = assert!(MAX_ROWS <= u16::MAX as usize);
const _: () = assert!(POLYNOMIAL_SIZE <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(rows: usize, values: usize) -> Request {
        let bodies = (0..rows * values)
            .map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        Request::new(
            ParamSet::Linear,
            Digest([1; 32]),
            KeyId(Digest([2; 32])),
            3,
            values,
            23,
            bodies,
        )
        .unwrap()
    }

    fn header() -> ReplyHeader {
        ReplyHeader {
            params: ParamSet::Bootstrap,
            program: Digest([1; 32]),
            version: 4,
            key: KeyId(Digest([2; 32])),
            request: Digest([3; 32]),
            rows: 2,
            results_per_row: 1,
            bits: 20,
        }
    }

    #[test]
    fn requests_round_trip_and_every_other_length_is_refused() {
        let request = request(3, 5);
        let bytes = request.to_bytes();
        assert_eq!(Request::from_bytes(&bytes).unwrap(), request);
        for len in 0..bytes.len() {
            assert!(
                matches!(
                    Request::from_bytes(&bytes[..len]),
                    Err(FheError::Truncated { .. })
                ),
                "{len}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(
            Request::from_bytes(&longer),
            Err(FheError::Oversize { .. })
        ));
        let foreign = [&bytes[..6], &[9, 9], &bytes[8..]].concat();
        assert!(matches!(
            Request::from_bytes(&foreign),
            Err(FheError::UnknownParams { id: 0x0909, .. })
        ));
        let huge = vec![0; MAX_REQUEST_BYTES + 1];
        assert!(matches!(
            Request::from_bytes(&huge),
            Err(FheError::Oversize { .. })
        ));
    }

    #[test]
    fn too_many_rows_are_refused() {
        let bodies = vec![0; MAX_ROWS + 1];
        let key = KeyId(Digest([0; 32]));
        assert!(Request::new(ParamSet::Linear, Digest([0; 32]), key, 0, 1, 64, bodies).is_err());
        assert!(Request::new(ParamSet::Linear, Digest([0; 32]), key, 0, 0, 64, vec![1]).is_err());
        assert!(
            Request::new(ParamSet::Linear, Digest([0; 32]), key, 0, 2, 64, vec![1; 3]).is_err()
        );
    }

    #[test]
    fn replies_keep_the_top_bits() {
        let words: Vec<u64> = (0..2 * LWE_WORDS as u64)
            .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        let reply = Reply::round(header(), &words).unwrap();
        let bytes = reply.to_bytes();
        assert_eq!(bytes.len(), Reply::max_bytes(2, 1, 20));
        let back = Reply::from_bytes(&bytes).unwrap();
        assert_eq!(back, reply);
        let received: Vec<u64> = back.ciphertexts().flatten().collect();
        for (sent, got) in words.iter().zip(&received) {
            let off = got.wrapping_sub(*sent) as i64;
            assert!(off.unsigned_abs() <= 1 << 43, "{off}");
        }
        for len in 0..bytes.len() {
            assert!(Reply::from_bytes(&bytes[..len]).is_err());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), which in 0usize..3, set in 0u8..4) {
            let magic: &[u8; 4] = [b"\0\0\0\0", REQUEST_MAGIC, REPLY_MAGIC][which];
            if which > 0 && bytes.len() > 8 {
                bytes[..4].copy_from_slice(magic);
                bytes[4..8].copy_from_slice(&[2, 0, set, 0]);
            }
            if let Ok(request) = Request::from_bytes(&bytes) {
                prop_assert_eq!(request.to_bytes(), bytes.clone());
            }
            if let Ok(reply) = Reply::from_bytes(&bytes) {
                prop_assert_eq!(reply.to_bytes(), bytes);
            }
        }
    }
}
