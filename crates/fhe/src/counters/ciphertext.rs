//! A counter ciphertext: what it is about, and two polynomials; encrypting one, and adding another.

use std::fmt;

use edge_types::Digest;

use super::public_key::{PublicKey, PublicKeyId};
use super::step::{Step, WORD_BITS};
use super::window::Window;
use crate::bytes::{Reader, pack_bits, packed_len, unpack_bits};
use crate::entropy::Entropy;
use crate::error::{FheError, Thing};
use crate::params::{GLWE_NOISE_BOUND_LOG2, POLYNOMIAL_SIZE, ParamSet};

const MAGIC: &[u8; 4] = b"VGCT";
const VERSION: u16 = 1;
/// Magic, version, set; key, schema; the window's start and length; contributions, their limit, step, bits of a word.
const HEADER_BYTES: usize = 8 + 32 + 32 + 8 + 4 + 4 + 3;
const N: usize = POLYNOMIAL_SIZE;
/// Of every counter ciphertext, of one contribution or of a million.
pub const COUNTER_BYTES: usize = HEADER_BYTES + 2 * (N * WORD_BITS as usize).div_ceil(8);
/// Bits that are rounded away.
const DROPPED: u32 = 64 - WORD_BITS;

/// What a counter ciphertext is about. Two with the same key, schema, window and step can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterHeader {
    pub key: PublicKeyId,
    pub schema: Digest,
    pub window: Window,
    pub contributions: u32,
    pub step: Step,
}

#[derive(Clone, PartialEq, Eq)]
pub struct CounterCiphertext {
    header: CounterHeader,
    /// Multiples of 2^16: sums of them are, too.
    mask: Vec<u64>,
    body: Vec<u64>,
}

impl fmt::Debug for CounterCiphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CounterCiphertext({:?})", self.header)
    }
}

impl CounterCiphertext {
    /// One contribution: (u·a + e2, u·b + e1 + slots), rounded. `slots` are the numbers of [`super::Contribution`].
    pub(super) fn encrypt(
        public: &PublicKey,
        schema: Digest,
        window: Window,
        step: Step,
        slots: &[i64],
        entropy: &mut dyn Entropy,
    ) -> Result<Self, FheError> {
        let random = Randomness::draw(entropy)?;
        let (mut mask, mut body) = (random.product(public.mask()), random.product(public.body()));
        add(&mut mask, &random.mask_noise);
        add(&mut body, &random.body_noise);
        for (word, &slot) in body.iter_mut().zip(slots) {
            // Two's complement and the torus agree: a negative number is a turn less.
            *word = word.wrapping_add((slot as u64) << step.bits());
        }
        mask.iter_mut().chain(&mut body).for_each(round);
        let header = CounterHeader {
            key: public.id(),
            schema,
            window,
            contributions: 1,
            step,
        };
        Ok(Self { header, mask, body })
    }

    pub fn header(&self) -> &CounterHeader {
        &self.header
    }

    pub(super) fn words(&self) -> (&[u64], &[u64]) {
        (&self.mask, &self.body)
    }

    /// Refuses what does not belong to this one, and what would be too much; then nothing is changed.
    pub fn merge(&mut self, other: &Self) -> Result<(), FheError> {
        let (mine, theirs) = (&self.header, &other.header);
        let belongs = [
            (
                mine.key == theirs.key,
                "it is encrypted under another public key",
            ),
            (
                mine.schema == theirs.schema,
                "it is of another schema, or another version of it",
            ),
            (mine.window == theirs.window, "it is of another window"),
            (
                mine.step == theirs.step,
                "it allows another number of contributions",
            ),
        ];
        if let Some((_, reason)) = belongs.iter().find(|(holds, _)| !holds) {
            return Err(FheError::mismatch(Thing::CounterCiphertext, *reason));
        }
        let got = u64::from(mine.contributions) + u64::from(theirs.contributions);
        self.header.contributions = checked_contributions(got, mine.step)?;
        add(&mut self.mask, &other.mask);
        add(&mut self.body, &other.body);
        Ok(())
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let header = &self.header;
        let mut out = Vec::with_capacity(COUNTER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&ParamSet::Linear.id().to_le_bytes());
        out.extend_from_slice(&header.key.0.0);
        out.extend_from_slice(&header.schema.0);
        out.extend_from_slice(&header.window.start().to_le_bytes());
        out.extend_from_slice(&header.window.seconds().to_le_bytes());
        out.extend_from_slice(&header.contributions.to_le_bytes());
        let step = header.step;
        out.extend([step.merges_log2(), step.bits(), WORD_BITS].map(|bits| bits as u8));
        for polynomial in [&self.mask, &self.body] {
            let short: Vec<u64> = polynomial.iter().map(|word| word >> DROPPED).collect();
            pack_bits(&mut out, &short, WORD_BITS);
        }
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FheError> {
        let thing = Thing::CounterCiphertext;
        let mut reader = Reader::new(thing, bytes);
        reader.header(MAGIC, VERSION)?;
        require_linear(thing, reader.u16()?)?;
        reader.expect_total(COUNTER_BYTES)?;
        let header = read_header(&mut reader)?;
        let mut polynomial = || -> Result<Vec<u64>, FheError> {
            let packed = reader.take(packed_len(N, WORD_BITS))?;
            let mut words = unpack_bits(packed, N, WORD_BITS);
            words.iter_mut().for_each(|word| *word <<= DROPPED);
            Ok(words)
        };
        let (mask, body) = (polynomial()?, polynomial()?);
        Ok(Self { header, mask, body })
    }
}

fn read_header(reader: &mut Reader<'_>) -> Result<CounterHeader, FheError> {
    let malformed = |reason: String| FheError::malformed(Thing::CounterCiphertext, reason);
    let key = PublicKeyId(Digest(reader.array()?));
    let schema = Digest(reader.array()?);
    let start = u64::from_le_bytes(reader.array()?);
    let window = Window::new(start, reader.u32()?)?;
    let contributions = reader.u32()?;
    let (merges_log2, step_bits) = (u32::from(reader.u8()?), u32::from(reader.u8()?));
    let word_bits = u32::from(reader.u8()?);
    let step = Step::of(merges_log2)
        .filter(|step| step.bits() == step_bits && word_bits == WORD_BITS)
        .ok_or_else(|| {
            malformed(format!(
                "2^{merges_log2} contributions with a step of {step_bits} bits in words of {word_bits} are not what this format has"
            ))
        })?;
    if contributions == 0 {
        return Err(malformed("it holds no contribution".into()));
    }
    let contributions = checked_contributions(contributions.into(), step)?;
    Ok(CounterHeader {
        key,
        schema,
        window,
        contributions,
        step,
    })
}

/// Counters are of one set only.
pub(super) fn require_linear(thing: Thing, id: u16) -> Result<(), FheError> {
    match ParamSet::from_id(id) {
        Some(ParamSet::Linear) => Ok(()),
        Some(got) => Err(FheError::WrongParams {
            thing,
            expected: ParamSet::Linear,
            got,
        }),
        None => Err(FheError::UnknownParams { thing, id }),
    }
}

fn checked_contributions(got: u64, step: Step) -> Result<u32, FheError> {
    let limit = step.merges();
    match u32::try_from(got) {
        Ok(count) if count <= limit => Ok(count),
        _ => Err(FheError::TooManyContributions { limit, got }),
    }
}

/// To the nearest word that is sent.
fn round(word: &mut u64) {
    *word = word.wrapping_add(1 << (DROPPED - 1)) >> DROPPED << DROPPED;
}

fn add(sum: &mut [u64], terms: &[u64]) {
    sum.iter_mut()
        .zip(terms)
        .for_each(|(sum, term)| *sum = sum.wrapping_add(*term));
}

/// Of one encryption: used once.
struct Randomness {
    /// u is the difference of two binary polynomials: where it is one, and where it is minus one.
    ///
    /// A binary u alone has mean 1/2, so that u·e, with the key's own e, would shift every contribution's slot the same
    /// way, and a sum of many by as much as their number. The difference is as safe: whoever could tell it from random
    /// could tell one binary u, by subtracting a second that he chose himself.
    plus: Vec<usize>,
    minus: Vec<usize>,
    mask_noise: Vec<u64>,
    body_noise: Vec<u64>,
}

impl Randomness {
    fn draw(entropy: &mut dyn Entropy) -> Result<Self, FheError> {
        const SECRET_BYTES: usize = N / 8;
        const NOISE_BYTES: usize = N * 4;
        let mut seed = [0; 32];
        for half in seed.chunks_exact_mut(16) {
            half.copy_from_slice(&entropy.seed()?.to_le_bytes());
        }
        // BLAKE3 keyed with a fresh secret is the generator.
        let mut random = vec![0u8; 2 * SECRET_BYTES + 2 * NOISE_BYTES];
        blake3::Hasher::new_keyed(&seed)
            .finalize_xof()
            .fill(&mut random);
        let (secrets, noise) = random.split_at(2 * SECRET_BYTES);
        let (first, second) = secrets.split_at(SECRET_BYTES);
        let (mask_noise, body_noise) = noise.split_at(NOISE_BYTES);
        let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (i % 8) & 1 == 1;
        let only = |yes: &[u8], no: &[u8]| -> Vec<usize> {
            (0..N).filter(|&i| bit(yes, i) && !bit(no, i)).collect()
        };
        Ok(Self {
            plus: only(first, second),
            minus: only(second, first),
            mask_noise: tuniforms(mask_noise),
            body_noise: tuniforms(body_noise),
        })
    }

    /// u times a polynomial, modulo X^N + 1.
    fn product(&self, polynomial: &[u64]) -> Vec<u64> {
        // X^shift times it is a window into (−polynomial, polynomial).
        let mut twice: Vec<u64> = polynomial.iter().map(|word| word.wrapping_neg()).collect();
        twice.extend_from_slice(polynomial);
        let sum = |shifts: &[usize]| {
            let mut sum = vec![0u64; N];
            let windows: Vec<&[u64]> = shifts.iter().map(|&s| &twice[N - s..][..N]).collect();
            // Four at a time: a quarter of the loads and stores of the sum.
            let (fours, rest) = windows.as_chunks::<4>();
            for [a, b, c, d] in fours {
                let pairs = a.iter().zip(*b).zip(c.iter().zip(*d));
                for (word, ((a, b), (c, d))) in sum.iter_mut().zip(pairs) {
                    *word = word
                        .wrapping_add(a.wrapping_add(*b))
                        .wrapping_add(c.wrapping_add(*d));
                }
            }
            rest.iter().for_each(|window| add(&mut sum, window));
            sum
        };
        let mut product = sum(&self.plus);
        let minus = sum(&self.minus);
        product
            .iter_mut()
            .zip(&minus)
            .for_each(|(word, minus)| *word = word.wrapping_sub(*minus));
        product
    }
}

/// TUniform with the set's bound, as tfhe-rs draws it: the lowest bit halves the weight of the two ends.
fn tuniforms(random: &[u8]) -> Vec<u64> {
    let one = |bytes: &[u8; 4]| {
        let random = u32::from_le_bytes(*bytes) & ((1 << (GLWE_NOISE_BOUND_LOG2 + 2)) - 1);
        let value = i64::from((random >> 1) + (random & 1)) - (1 << GLWE_NOISE_BOUND_LOG2);
        value as u64
    };
    random.as_chunks::<4>().0.iter().map(one).collect()
}
