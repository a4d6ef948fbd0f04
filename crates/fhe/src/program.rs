//! What is computed: rounds of an integer linear map followed, if any, by a table lookup.
//!
//! Invariant: a [`Program`] has passed every check of `check` (limits, indexes, intervals) and its noise has been
//! computed: it cannot index out of bounds, reach a padding bit, or fail more often than 2^-128 per bootstrap.
//! The file format is described in docs/specs/fhe-program.md.

use edge_types::Digest;
use serde::{Deserialize, Serialize};

use crate::params::ParamSet;

mod check;
mod clear;
mod noise;

pub use noise::NoiseReport;

pub const FORMAT: &str = "veilgate-program/1";

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
    /// Each table has 2^bits entries, and each sum lies within 0..2^bits.
    pub bits: u32,
    /// An entry counts in units of 2^-step_bits of the torus.
    pub step_bits: u32,
    pub tables: Vec<Vec<i64>>,
    /// The table of each sum.
    pub uses: Vec<u32>,
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
    /// The client gets exactly the integers that the program computes in the clear.
    Exact,
    /// It gets them with the noise of the last bootstraps; the error is computed and shown.
    Rounded,
}

/// What an integer result means: integer · scale + offset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreMeaning {
    pub name: String,
    pub scale: f64,
    pub offset: f64,
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
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultSpec {
    /// Words of the result are rounded to so many bits before they are sent.
    pub bits: u32,
    pub precision: Precision,
    pub scores: Vec<ScoreMeaning>,
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
    pub inputs: Vec<Input>,
    /// An input counts in units of 2^-input_step_bits of the torus.
    pub input_step_bits: u32,
    pub rounds: Vec<Round>,
    pub result: ResultSpec,
}

/// A checked program.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    file: ProgramFile,
    digest: Digest,
    noise: NoiseReport,
    intervals: Vec<(i64, i64)>,
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
        let noise = noise::report(&file)?;
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
        &self.intervals
    }
    pub fn input_count(&self) -> usize {
        self.file.inputs.len()
    }
    pub fn result_count(&self) -> usize {
        self.file.result.scores.len()
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

impl ProgramFile {
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
