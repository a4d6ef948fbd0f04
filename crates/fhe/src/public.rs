//! The part of a program that a client is given: how to encode a row, and what the results mean.
//!
//! It holds bin edges, scales and labels, and neither weights nor tables. What a client can still find out by asking
//! is written in docs/specs/fhe-program.md, "What a client learns".

use edge_types::Digest;
use serde::{Deserialize, Serialize};

use crate::error::FheError;
use crate::params::ParamSet;
use crate::program::{
    Decide, Encode, Input, Link, NoiseReport, Precision, Program, ResultSpec, nearest_residue,
};
use crate::text::TextEncoder;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextEncoder>,
    pub input_step_bits: u32,
    pub input_bits: u32,
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
            text: file.text.clone(),
            input_step_bits: file.input_step_bits,
            input_bits: file.input_bits,
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
            && crate::program::INPUT_BITS.contains(&this.input_bits)
            && (1..=crate::program::MAX_INPUTS).contains(&this.input_count())
            && this.text.as_ref().is_none_or(|text| text.check().is_ok())
            && this.meanings_are_sound()
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

    /// Each result is part of just one score, and there are not too many.
    fn meanings_are_sound(&self) -> bool {
        let parts = self.result.scores.iter().map(|score| &score.results);
        let mut parts: Vec<u32> = parts.flatten().copied().collect();
        parts.sort_unstable();
        (1..=crate::program::MAX_RESULTS).contains(&parts.len())
            && parts
                .iter()
                .enumerate()
                .all(|(i, &part)| i == part as usize)
    }

    /// Values that a row encrypts.
    pub fn input_count(&self) -> usize {
        match &self.text {
            Some(text) => text.buckets as usize,
            None => self.inputs.len(),
        }
    }

    /// Ciphertexts that a row's reply holds.
    pub fn result_count(&self) -> usize {
        self.result.scores.iter().map(|s| s.results.len()).sum()
    }

    /// One clear row, in the order of `columns`, to the integers that are encrypted.
    pub fn encode(&self, row: usize, values: &[f64]) -> Result<Vec<i64>, FheError> {
        let wrong = |reason: String| FheError::Row { row, reason };
        if self.text.is_some() {
            return Err(wrong(
                "the program takes a text, and these are numbers".into(),
            ));
        }
        if values.len() != self.columns.len() {
            return Err(wrong(format!(
                "{} values, and the program has {} columns",
                values.len(),
                self.columns.len()
            )));
        }
        let encode = |input: &Input| match (values[input.column], input.missing) {
            (value, Some(missing)) if value.is_nan() => Ok(missing),
            (value, _) if value.is_finite() => Ok(input.encode.of(value)),
            _ => Err(wrong(format!(
                "the value of `{}` is not a finite number",
                self.columns[input.column]
            ))),
        };
        self.inputs.iter().map(encode).collect()
    }

    /// A text to the integers that are encrypted: a program with `text` takes nothing else.
    pub fn encode_text(&self, row: usize, text: &str) -> Result<Vec<i64>, FheError> {
        let wrong = |reason: String| FheError::Row { row, reason };
        let encoder = self.text.as_ref().ok_or_else(|| {
            wrong("the program takes numbers, one for each column, and this is a text".into())
        })?;
        encoder.encode(text).map_err(wrong)
    }

    /// The meaning of one row's decrypted torus values (modulo 2^64).
    pub fn scores(&self, phases: &[u64]) -> Vec<Score> {
        let unit = 2f64.powi(64 - self.result_step_bits as i32);
        let result = |&phase: &u64| {
            let raw = phase as i64 as f64 / unit;
            match self.result.precision {
                Precision::Exact => raw.round(),
                Precision::Rounded => raw,
            }
        };
        let results: Vec<f64> = phases.iter().map(result).collect();
        self.meanings(&results)
    }

    /// The meaning of integers computed in the clear.
    pub fn clear_scores(&self, integers: &[i64]) -> Vec<Score> {
        let results: Vec<f64> = integers.iter().map(|&integer| integer as f64).collect();
        self.meanings(&results)
    }

    fn meanings(&self, results: &[f64]) -> Vec<Score> {
        let score = |meaning: &crate::program::ScoreMeaning| {
            let parts = meaning.results.iter();
            let integer = parts
                .filter_map(|&part| results.get(part as usize))
                .sum::<f64>();
            let integer = match self.result.wraps {
                true => nearest_residue(integer as i64, self.result_step_bits) as f64,
                false => integer,
            };
            Score {
                integer,
                value: integer * meaning.scale + meaning.offset,
            }
        };
        self.result.scores.iter().map(score).collect()
    }

    /// What the model's author calls its prediction: the scores behind the link.
    pub fn predictions(&self, scores: &[Score]) -> Vec<f64> {
        let values = scores.iter().map(|score| score.value);
        match self.result.link {
            Link::Identity => values.collect(),
            Link::Logistic => values.map(logistic).collect(),
            Link::LogisticShare => shares(values.map(logistic).collect()),
            Link::Exp => values.map(f64::exp).collect(),
            Link::Softmax => {
                let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
                shares(values.map(|value| (value - most).exp()).collect())
            }
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
                // Of equal scores the first, as the libraries that train models have it.
                let better =
                    |best: usize, next: usize| match scores[next].value > scores[best].value {
                        true => next,
                        false => best,
                    };
                let greatest = (0..scores.len()).reduce(better)?;
                labels.get(greatest).map(String::as_str)
            }
            Decide::Index { labels } => {
                let place = scores.first()?.value.round();
                // `as` saturates: whatever was decrypted, it is one of the labels.
                let place = (place.max(0.0) as usize).min(labels.len().checked_sub(1)?);
                labels.get(place).map(String::as_str)
            }
        }
    }
}

fn logistic(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

fn shares(mut parts: Vec<f64>) -> Vec<f64> {
    let total: f64 = parts.iter().sum();
    for part in &mut parts {
        *part /= total;
    }
    parts
}

impl Encode {
    /// A finite value as the integer that is encrypted.
    fn of(&self, value: f64) -> i64 {
        match *self {
            Self::Above(edge) => i64::from(value > edge),
            // `as` saturates, and clamp takes any order of a hostile min and max without a panic.
            Self::Scaled {
                offset,
                step,
                min,
                max,
            } => (((value - offset) / step).round() as i64).min(max).max(min),
        }
    }
}
