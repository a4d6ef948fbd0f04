//! What a backend computes. All words are residues modulo 2^64 (modulo 2^32 between keyswitch and bootstrap).

use std::sync::Arc;
use std::time::{Duration, Instant};

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE, SMALL_WORDS};
use fhe::{EvaluationKey, FheError, ParamSet};

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("the key cannot be expanded: {0}")]
    Key(#[from] FheError),
    #[error(transparent)]
    Wire(FheError),
    #[error("a bootstrap was asked for with a key of a set that has none")]
    NoBootstrapKey,
    #[error("the batch does not fit together: {0}")]
    Shape(&'static str),
    #[error("{got} ciphertexts at once; at most {limit} are allowed: send fewer rows")]
    TooLarge { got: usize, limit: usize },
    #[error("the worker threads could not be started: {0}")]
    Threads(String),
}

/// Large ciphertexts (mask of 2048 words, then the body), each with the index of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LweBatch {
    pub words: Vec<u64>,
    pub keys: Vec<u32>,
}

impl LweBatch {
    pub fn zeros(keys: Vec<u32>) -> Self {
        Self {
            words: vec![0; keys.len() * LWE_WORDS],
            keys,
        }
    }
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
    pub fn ciphertext(&self, index: usize) -> &[u64] {
        &self.words[index * LWE_WORDS..][..LWE_WORDS]
    }
}

/// Small ciphertexts (918 words, then the body), modulo 2^32: what a keyswitch gives and a bootstrap takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallBatch {
    pub words: Vec<u32>,
    pub keys: Vec<u32>,
}

impl SmallBatch {
    pub fn zeros(keys: Vec<u32>) -> Self {
        Self {
            words: vec![0; keys.len() * SMALL_WORDS],
            keys,
        }
    }
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
    pub fn ciphertext(&self, index: usize) -> &[u32] {
        &self.words[index * SMALL_WORDS..][..SMALL_WORDS]
    }
}

/// A ring ciphertext of which only the first coefficients of the body are there.
#[derive(Clone, Copy, Debug)]
pub struct RingInput<'a> {
    /// 2048 words.
    pub mask: &'a [u64],
    /// At most 2048 words.
    pub body: &'a [u64],
    pub key: u32,
}

/// Σ weight · coefficient of one input + constant, extracted as a large ciphertext.
#[derive(Clone, Copy, Debug)]
pub struct RingSum<'a> {
    pub input: usize,
    pub terms: &'a [(u32, i64)],
    pub constant: u64,
}

/// Σ weight · ciphertext + constant, over ciphertexts of one key.
#[derive(Clone, Copy, Debug)]
pub struct LweSum<'a> {
    /// Added to every index of `terms`.
    pub base: usize,
    pub terms: &'a [(u32, i64)],
    pub constant: u64,
    pub key: u32,
}

/// The table of a lookup: 2^bits entries, which a blind rotation turns as a polynomial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// As words of the torus.
    entries: Vec<u64>,
}

impl Table {
    /// A table with 2^bits entries (bits ≤ 11), each in units of 2^-step_bits of the torus.
    pub fn new(entries: &[i64], step_bits: u32) -> Result<Self, KernelError> {
        let fits = entries.len().is_power_of_two() && entries.len() <= POLYNOMIAL_SIZE;
        if !fits || !(1..=63).contains(&step_bits) {
            return Err(KernelError::Shape(
                "a table has a power of two of entries, and a unit of the torus",
            ));
        }
        let word = |&value: &i64| (value as u64) << (64 - step_bits);
        Ok(Self {
            entries: entries.iter().map(word).collect(),
        })
    }

    /// Coefficients of the polynomial that one entry takes.
    pub fn box_len(&self) -> usize {
        POLYNOMIAL_SIZE / self.entries.len()
    }

    /// Writes the test polynomial.
    pub fn fill(&self, polynomial: &mut [u64]) {
        let each = self.box_len();
        for (target, &word) in polynomial.chunks_exact_mut(each).zip(&self.entries) {
            target.fill(word);
        }
        // Noise around 0 goes below it too: the first half of the first box is reached, negated, from the far end.
        polynomial[..each / 2]
            .iter_mut()
            .for_each(|word| *word = word.wrapping_neg());
        polynomial.rotate_left(each / 2);
    }

    pub fn polynomial(&self) -> Vec<u64> {
        let mut polynomial = vec![0; POLYNOMIAL_SIZE];
        self.fill(&mut polynomial);
        polynomial
    }
}

/// One value that a bootstrap gives: of this input, the coefficient at this place of the turned polynomial. Entry `i`
/// above the one that the input points at is at `i` times the table's [`Table::box_len`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub input: u32,
    pub coefficient: u32,
    /// Every word is rounded to so many of its upper bits, which is all that is sent of a result; 1 to [`Read::WHOLE`].
    pub keep: u32,
}

impl Read {
    pub const WHOLE: u32 = u64::BITS;

    /// A word as it is kept (halves are rounded up).
    pub fn kept(self, word: u64) -> u64 {
        match self.keep {
            Self::WHOLE.. => word,
            keep => word.wrapping_add(1 << (63 - keep)) & (u64::MAX << (64 - keep)),
        }
    }

    /// For a kernel, in one word: the coefficient in the lower half, and the upper bits to keep.
    #[cfg(any(test, feature = "cuda", feature = "wgpu"))]
    pub(crate) fn packed(self) -> u32 {
        self.coefficient | self.keep << 16
    }

    /// Of each of `inputs` inputs, the entry that it points at.
    pub fn plain(inputs: usize) -> Vec<Self> {
        let read = |input| Self {
            input,
            coefficient: 0,
            keep: Self::WHOLE,
        };
        (0..inputs as u32).map(read).collect()
    }
}

/// Where a batch's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    pub linear: Duration,
    pub keyswitch: Duration,
    /// And the keyswitch, of a device that does not stop between them.
    pub bootstrap: Duration,
    pub bootstraps: usize,
}

/// A device that computes. Indexes into `keys` come with each ciphertext; a wrong one is an error, never a panic.
pub trait Backend: Send + Sync + 'static {
    /// An evaluation key in the form this device computes with.
    type Key: Send + Sync + 'static;

    /// What an operator reads: the device and what it uses.
    fn name(&self) -> String;

    /// What programs of the set `needed` use of a key; of a key with bootstraps, sums alone use next to nothing. With
    /// bootstraps it takes a while (a tenth of a second): done once for each key, then kept.
    fn expand_for(&self, key: &EvaluationKey, needed: ParamSet) -> Result<Self::Key, KernelError>;

    /// All of a key.
    fn expand(&self, key: &EvaluationKey) -> Result<Self::Key, KernelError> {
        self.expand_for(key, key.set())
    }

    /// Memory that a key takes once it is expanded for programs of this set.
    fn expanded_bytes(&self, needed: ParamSet) -> usize;

    /// The product with a plaintext polynomial, and the extraction of one coefficient.
    fn ring_linear(
        &self,
        inputs: &[RingInput<'_>],
        sums: &[RingSum<'_>],
    ) -> Result<LweBatch, KernelError>;

    /// An integer matrix product, modulo 2^64.
    fn linear(&self, inputs: &LweBatch, sums: &[LweSum<'_>]) -> Result<LweBatch, KernelError>;

    /// Adds to each ciphertext a fresh encryption of zero under its own public key, and noise that is uniform in
    /// ±2^flooding, so that neither its mask nor its noise tells of the weights. `seed` must be new and secret.
    fn hide(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &mut LweBatch,
        flooding: &[u32],
        seed: [u8; 32],
    ) -> Result<(), KernelError>;

    /// From the large key to the small one.
    fn keyswitch(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &LweBatch,
    ) -> Result<SmallBatch, KernelError>;

    /// Modulus switch, blind rotation of the ciphertext's table (`tables[uses[i]]`), extraction: one output for each of
    /// `reads`, which are in the order of their inputs.
    fn bootstrap(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &SmallBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
    ) -> Result<LweBatch, KernelError>;

    /// A keyswitch, then a bootstrap: what every lookup of a program is.
    fn look_up(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &LweBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
        timings: &mut Timings,
    ) -> Result<LweBatch, KernelError> {
        let started = Instant::now();
        let small = self.keyswitch(keys, batch)?;
        timings.keyswitch += started.elapsed();
        let started = Instant::now();
        let out = self.bootstrap(keys, &small, tables, uses, reads)?;
        timings.bootstrap += started.elapsed();
        timings.bootstraps += uses.len();
        Ok(out)
    }
}
