//! The part of a program that a client is given: how to encode a row, and what the results mean.
//!
//! It holds bin edges, scales and labels, and neither weights nor tables. What a client can still find out by asking
//! is written in docs/specs/fhe-program.md, "What a client learns".

use edge_types::Digest;
use serde::{Deserialize, Serialize};

use crate::error::FheError;
use crate::params::ParamSet;
use crate::program::{Decide, Encode, Input, NoiseReport, Precision, Program, ResultSpec};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicProgram {
    pub name: String,
    pub version: u32,
    pub digest: Digest,
    pub description: String,
    pub params: ParamSet,
    pub columns: Vec<String>,
    pub inputs: Vec<Input>,
    pub input_step_bits: u32,
    pub result_step_bits: u32,
    pub result: ResultSpec,
    pub bootstraps_per_row: usize,
    pub noise: NoiseReport,
}

/// One decrypted result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// In the program's integers; exact results are whole numbers.
    pub integer: f64,
    /// What it means: integer · scale + offset.
    pub value: f64,
}

impl From<&Program> for PublicProgram {
    fn from(program: &Program) -> Self {
        let file = program.file();
        Self {
            name: file.name.clone(),
            version: file.version,
            digest: program.digest(),
            description: file.description.clone(),
            params: file.params,
            columns: file.columns.clone(),
            inputs: file.inputs.clone(),
            input_step_bits: file.input_step_bits,
            result_step_bits: program.result_step_bits(),
            result: file.result.clone(),
            bootstraps_per_row: program.bootstraps_per_row(),
            noise: program.noise().clone(),
        }
    }
}

impl PublicProgram {
    /// What came from a gateway is checked as far as the client relies on it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FheError> {
        let thing = crate::error::Thing::Program;
        let this: Self =
            serde_json::from_slice(bytes).map_err(|e| FheError::malformed(thing, e.to_string()))?;
        let steps = 1..=crate::program::MAX_STEP_BITS;
        let sound = steps.contains(&this.input_step_bits)
            && steps.contains(&this.result_step_bits)
            && crate::program::RESULT_BITS.contains(&this.result.bits)
            && (1..=crate::program::MAX_INPUTS).contains(&this.inputs.len())
            && (1..=crate::program::MAX_RESULTS).contains(&this.result.scores.len())
            && this
                .inputs
                .iter()
                .all(|input| input.column < this.columns.len());
        if sound {
            Ok(this)
        } else {
            Err(FheError::malformed(thing, "its numbers are out of range"))
        }
    }

    /// One clear row, in the order of `columns`, to the integers that are encrypted.
    pub fn encode(&self, row: usize, values: &[f64]) -> Result<Vec<i64>, FheError> {
        let wrong = |reason: String| FheError::Row { row, reason };
        if values.len() != self.columns.len() {
            return Err(wrong(format!(
                "{} values, and the program has {} columns",
                values.len(),
                self.columns.len()
            )));
        }
        let encode = |input: &Input| {
            let value = values[input.column];
            if !value.is_finite() {
                return Err(wrong(format!(
                    "the value of `{}` is not a finite number",
                    self.columns[input.column]
                )));
            }
            Ok(match input.encode {
                Encode::Above(edge) => i64::from(value > edge),
                // `as` saturates, and clamp takes any order of a hostile min and max without a panic.
                Encode::Scaled {
                    offset,
                    step,
                    min,
                    max,
                } => (((value - offset) / step).round() as i64).min(max).max(min),
            })
        };
        self.inputs.iter().map(encode).collect()
    }

    /// The meaning of one row's decrypted torus values (modulo 2^64).
    pub fn scores(&self, phases: &[u64]) -> Vec<Score> {
        let unit = 2f64.powi(64 - self.result_step_bits as i32);
        let meanings = self.result.scores.iter().zip(phases);
        meanings
            .map(|(meaning, &phase)| {
                let raw = phase as i64 as f64 / unit;
                let integer = match self.result.precision {
                    Precision::Exact => raw.round(),
                    Precision::Rounded => raw,
                };
                self.score(meaning, integer)
            })
            .collect()
    }

    /// The meaning of integers computed in the clear.
    pub fn clear_scores(&self, integers: &[i64]) -> Vec<Score> {
        let meanings = self.result.scores.iter().zip(integers);
        meanings
            .map(|(meaning, &integer)| self.score(meaning, integer as f64))
            .collect()
    }

    fn score(&self, meaning: &crate::program::ScoreMeaning, integer: f64) -> Score {
        Score {
            integer,
            value: integer * meaning.scale + meaning.offset,
        }
    }

    /// The label that these scores decide for, where the program says how.
    pub fn label(&self, scores: &[Score]) -> Option<&str> {
        match self.result.decide.as_ref()? {
            Decide::Threshold { at, below, above } => Some(if scores.first()?.value > *at {
                above
            } else {
                below
            }),
            Decide::Greatest { labels } => {
                let greatest = scores
                    .iter()
                    .enumerate()
                    .max_by(|a, b| a.1.value.total_cmp(&b.1.value))?
                    .0;
                labels.get(greatest).map(String::as_str)
            }
        }
    }
}
