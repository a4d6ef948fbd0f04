//! What is computed: rounds of an integer linear map followed, if any, by a table lookup.
//!
//! Invariant: a [`Program`] has passed every check of `check` (limits, indexes, intervals) and its noise has been
//! computed: it cannot index out of bounds, reach a padding bit, or fail more often than 2^-128 per bootstrap.
//! The file format is described in docs/specs/fhe-program.md.

use std::collections::BTreeMap;

use edge_types::Digest;
use serde::{Deserialize, Serialize};

use crate::params::ParamSet;
use crate::text::TextEncoder;

mod check;
mod clear;
mod columns;
mod noise;

pub use noise::{NoiseReport, RoundNoise};

pub const FORMAT: &str = "veilgate-program/2";

/// A file is read whole before it is parsed.
pub const MAX_PROGRAM_BYTES: usize = 4 << 20;
/// All inputs of a row are packed into one ring element.
pub const MAX_INPUTS: usize = crate::params::POLYNOMIAL_SIZE;
pub const MAX_ROUNDS: usize = 16;
/// Sums, and lookups, of one round: what one row may cost at most.
pub const MAX_SUMS: usize = 4096;
/// Terms of all sums together: bounds the time of the linear maps.
pub const MAX_TERMS: usize = 1 << 20;
pub const MAX_TABLES: usize = 4096;
/// Values that leave one round's lookups.
pub const MAX_READS: usize = 4 * MAX_SUMS;
/// Results sent back per row: each costs kilobytes.
pub const MAX_RESULTS: usize = 64;
pub const MAX_TEXT_BYTES: usize = 4096;
pub const MAX_NAME_BYTES: usize = 64;
/// Weights, biases and table entries stay below this, so that no sum overflows an i64.
pub const MAX_INTEGER: i64 = 1 << 40;
/// A unit is never smaller than 2^-48 of the torus.
pub const MAX_STEP_BITS: u32 = 48;
/// Words of a result are rounded to so many bits: fewer are too noisy for anything, more are pointless.
pub const RESULT_BITS: std::ops::RangeInclusive<u32> = 8..=48;
/// Of each input's body, so many bits are sent: fewer are too noisy for anything.
pub const INPUT_BITS: std::ops::RangeInclusive<u32> = 8..=64;
/// Entries of a rounded lookup's table, at most 2^this: a finer one reads nothing but noise.
pub const MAX_ROUNDED_BITS: u32 = 10;
/// Lines of `about`.
pub const MAX_ABOUT: usize = 64;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProgramError {
    #[error("this is not a program file: {0}")]
    Syntax(String),
    #[error("the program file is too large: {got} bytes, and at most {limit} are allowed")]
    Oversize { limit: usize, got: usize },
    #[error("the program's format is {0:?}; this build reads {FORMAT:?}")]
    Format(String),
    #[error("{place}: {reason}")]
    Invalid { place: String, reason: String },
    #[error(
        "{place} would fail with probability 2^{log2_p_fail:.1}, and 2^-128 is the most that is allowed; \
         use smaller weights, fewer terms or fewer bits"
    )]
    TooNoisy { place: String, log2_p_fail: f64 },
}

/// One input of the encrypted row, made from one column of the clear row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub column: usize,
    pub encode: Encode,
    /// What stands for a value that is missing (not a number); without it, a row that misses the value is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Encode {
    /// 1 if the column's value is above this edge, else 0.
    Above(f64),
    /// round((value - offset) / step), held between min and max.
    Scaled {
        offset: f64,
        step: f64,
        min: i64,
        max: i64,
    },
}

/// Σ weight · input + bias. Inputs are those of the row in the first round, the previous round's outputs later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    pub terms: Vec<(u32, i64)>,
    pub bias: i64,
}

/// One table per sum; a bootstrap reads it at the sum's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Each table has 2^bits entries, behind a padding bit that is always zero.
    pub bits: u32,
    /// A sum counts in units of 2^-fraction_bits of an entry, and is rounded to the nearest one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fraction_bits: u32,
    pub precision: Precision,
    /// An entry counts in units of 2^-step_bits of the torus.
    pub step_bits: u32,
    pub tables: Vec<Vec<i64>>,
    /// The table of each sum: one bootstrap each.
    pub uses: Vec<u32>,
    /// What comes out: (sum, shift), the entry `shift` places above the one that the sum points at. One bootstrap turns
    /// the whole table, so that it can be read in several places. If empty, each sum is read once, where it points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<(u32, u32)>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Lookup {
    /// Values that come out of `sums` sums.
    pub fn outputs(&self) -> usize {
        match self.reads.len() {
            0 => self.uses.len(),
            reads => reads,
        }
    }

    /// (sum, shift) of each value that comes out.
    pub fn reads(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let plain = match self.reads.is_empty() {
            true => 0..self.uses.len() as u32,
            false => 0..0,
        };
        plain.map(|sum| (sum, 0)).chain(self.reads.iter().copied())
    }

    /// The entry that a sum points at; it may lie outside of the table.
    pub fn entry_at(&self, sum: i64) -> i64 {
        match self.fraction_bits {
            0 => sum,
            bits => (sum + (1 << (bits - 1))) >> bits,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    pub sums: Vec<Sum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Lookup>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Exactly the integers that the program computes in the clear.
    Exact,
    /// With noise: a lookup may read a neighbouring entry, a result is a little off. How far is computed and shown.
    Rounded,
}

/// A score: the sum of some results, which means integer · scale + offset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreMeaning {
    pub name: String,
    /// Of the last round. Several partial sums carry more bits than one ciphertext can.
    pub results: Vec<u32>,
    pub scale: f64,
    pub offset: f64,
}

/// From raw scores to what the model's author calls its prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    #[default]
    Identity,
    /// 1 / (1 + e^-score), of each.
    Logistic,
    /// 1 / (1 + e^-score) of each, over the sum of all of them: one-against-the-rest classifiers.
    LogisticShare,
    /// e^score over the sum of all of them.
    Softmax,
    /// e^score.
    Exp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Decide {
    /// Of the first score.
    Threshold {
        at: f64,
        below: String,
        above: String,
    },
    /// One label per score: the greatest wins.
    Greatest { labels: Vec<String> },
    /// The first score, rounded, is the place of the label in this list.
    Index { labels: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultSpec {
    /// Words of the result are rounded to so many bits before they are sent.
    pub bits: u32,
    pub precision: Precision,
    /// Results are exact modulo 2^step only, and so is the sum that a score is: it means the residue that lies nearest to 0
    /// (of two, the lower one). Its maker says that the score never leaves those, though parts of it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wraps: bool,
    pub scores: Vec<ScoreMeaning>,
    #[serde(default)]
    pub link: Link,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide: Option<Decide>,
}

/// The file as written. Its compact JSON, with the fields in this order, is what is hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFile {
    pub format: String,
    pub name: String,
    pub version: u32,
    pub description: String,
    pub params: ParamSet,
    pub columns: Vec<String>,
    /// Empty where `text` makes the inputs.
    pub inputs: Vec<Input>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextEncoder>,
    /// An input counts in units of 2^-input_step_bits of the torus.
    pub input_step_bits: u32,
    /// Bits of each input's body that are sent.
    pub input_bits: u32,
    pub rounds: Vec<Round>,
    pub result: ResultSpec,
    /// How it was made, in its maker's words: shown, and never interpreted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub about: BTreeMap<String, String>,
}

/// A checked program.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    file: ProgramFile,
    digest: Digest,
    noise: NoiseReport,
    intervals: Intervals,
}

/// The least and the greatest value of everything that is computed.
#[derive(Clone, Debug, PartialEq)]
struct Intervals {
    /// Of each round's sums.
    sums: Vec<Vec<(i64, i64)>>,
    results: Vec<(i64, i64)>,
}

impl Program {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ProgramError> {
        if bytes.len() > MAX_PROGRAM_BYTES {
            return Err(ProgramError::Oversize {
                limit: MAX_PROGRAM_BYTES,
                got: bytes.len(),
            });
        }
        let file =
            serde_json::from_slice(bytes).map_err(|e| ProgramError::Syntax(e.to_string()))?;
        Self::new(file)
    }

    pub fn new(file: ProgramFile) -> Result<Self, ProgramError> {
        let intervals = check::check(&file)?;
        let noise = noise::report(&file, &intervals)?;
        let canonical =
            serde_json::to_vec(&file).map_err(|e| ProgramError::Syntax(e.to_string()))?;
        Ok(Self {
            digest: Digest::of(&canonical),
            file,
            noise,
            intervals,
        })
    }

    pub fn name(&self) -> &str {
        &self.file.name
    }
    pub fn version(&self) -> u32 {
        self.file.version
    }
    /// Names exactly this program: its weights, tables and everything else.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    pub fn params(&self) -> ParamSet {
        self.file.params
    }
    pub fn file(&self) -> &ProgramFile {
        &self.file
    }
    pub fn rounds(&self) -> &[Round] {
        &self.file.rounds
    }
    pub fn noise(&self) -> &NoiseReport {
        &self.noise
    }
    /// The least and the greatest value of each result.
    pub fn result_intervals(&self) -> &[(i64, i64)] {
        &self.intervals.results
    }
    /// The least and the greatest value of each sum of round `index`.
    pub fn sum_intervals(&self, index: usize) -> &[(i64, i64)] {
        self.intervals.sums.get(index).map_or(&[], Vec::as_slice)
    }
    pub fn input_count(&self) -> usize {
        self.file.input_count()
    }
    /// Ciphertexts that a row's reply holds.
    pub fn result_count(&self) -> usize {
        self.intervals.results.len()
    }
    /// Multiplications of a ciphertext by a weight that one row takes.
    pub fn terms_per_row(&self) -> usize {
        let sums = self.rounds().iter().flat_map(|round| &round.sums);
        sums.map(|sum| sum.terms.len()).sum()
    }

    /// The unit of what enters round `index`, in bits of the torus.
    pub fn step_bits(&self, index: usize) -> u32 {
        self.file.step_bits(index)
    }
    /// The unit of the results.
    pub fn result_step_bits(&self) -> u32 {
        self.file.step_bits(self.file.rounds.len())
    }

    /// Whether results leave without a bootstrap, and so with a fresh mask and flooding noise.
    pub fn is_linear(&self) -> bool {
        self.file.is_linear()
    }

    pub fn bootstraps_per_row(&self) -> usize {
        self.rounds()
            .iter()
            .filter_map(|r| r.lookup.as_ref())
            .map(|l| l.uses.len())
            .sum()
    }

    /// Flooding noise of a linear result is uniform in ±2^this, modulo 2^64: half of the distance to a wrong value.
    pub fn flooding_bound_log2(&self) -> u32 {
        self.file.flooding_bound_log2()
    }
}

/// The residue modulo 2^bits that lies nearest to 0; of two, the lower one.
pub fn nearest_residue(value: i64, bits: u32) -> i64 {
    let unused = i64::BITS - bits;
    value << unused >> unused
}

impl ProgramFile {
    /// Values that a row encrypts.
    pub fn input_count(&self) -> usize {
        match &self.text {
            Some(text) => text.buckets as usize,
            None => self.inputs.len(),
        }
    }

    fn step_bits(&self, round: usize) -> u32 {
        let before = &self.rounds[..round.min(self.rounds.len())];
        before
            .iter()
            .rev()
            .find_map(|r| r.lookup.as_ref())
            .map_or(self.input_step_bits, |l| l.step_bits)
    }

    fn is_linear(&self) -> bool {
        self.rounds.iter().all(|round| round.lookup.is_none())
    }

    fn flooding_bound_log2(&self) -> u32 {
        // A unit is 2^(64 - step), a wrong value half of that away, and half of that again is left for other noise.
        62 - self.step_bits(self.rounds.len())
    }
}

#[cfg(test)]
mod tests;
