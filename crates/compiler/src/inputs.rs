//! Encrypted inputs of linear models and networks: each column that matters, as an integer over the range it was seen in.

use fhe::program::{Encode, Input, MAX_INPUTS};
use models::Model;

use crate::CompileError;

/// An input has at least so many bits: fewer tell nothing. And at most so many: more are below what a row can carry.
pub(crate) const INPUT_BITS: std::ops::RangeInclusive<u32> = 3..=16;
/// A column may go so far beyond what was seen, in parts of its range, before it is held at the edge.
const BEYOND: f64 = 0.05;

/// An integer on its way, and what it stands for: `zero + unit · integer`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Value {
    pub unit: f64,
    pub zero: f64,
    pub low: i64,
    pub high: i64,
}

/// The columns that a program takes, and how each is encoded.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub columns: Vec<String>,
    /// Of each column, its place in a row of the model.
    pub features: Vec<usize>,
    pub values: Vec<Value>,
}

impl Inputs {
    /// `used` says which features matter. `trim` is the share of the rows, on each side, whose values are held at the edge.
    pub fn new(
        model: &Model,
        used: impl Fn(usize) -> bool,
        rows: &[&[f64]],
        bits: u32,
        trim: f64,
    ) -> Result<Self, CompileError> {
        if !INPUT_BITS.contains(&bits) {
            return Err(CompileError::Unsupported {
                what: format!("an input of {bits} bits"),
                instead: format!("choose {} to {}", INPUT_BITS.start(), INPUT_BITS.end()),
            });
        }
        let mut features: Vec<usize> = (0..model.features.len()).filter(|&f| used(f)).collect();
        if features.is_empty() {
            // A model that looks at nothing still needs a row.
            features.push(0);
        }
        if features.len() > MAX_INPUTS {
            return Err(CompileError::TooLarge {
                what: "columns with a weight",
                got: features.len(),
                limit: MAX_INPUTS,
                instead: "train with an L1 penalty, or select features first",
            });
        }
        let most = (1i64 << (bits - 1)) - 1;
        let value = |&feature: &usize| {
            let (low, high) = range(rows, feature, trim);
            Value {
                unit: (high - low) / 2.0 / most as f64,
                zero: (high + low) / 2.0,
                low: -most,
                high: most,
            }
        };
        Ok(Self {
            columns: features
                .iter()
                .map(|&f| model.features[f].clone())
                .collect(),
            values: features.iter().map(value).collect(),
            features,
        })
    }

    pub fn inputs(&self) -> Vec<Input> {
        let input = |(column, value): (usize, &Value)| Input {
            column,
            encode: Encode::Scaled {
                offset: value.zero,
                step: value.unit,
                min: value.low,
                max: value.high,
            },
            missing: None,
        };
        self.values.iter().enumerate().map(input).collect()
    }

    /// A layer's weights for these inputs alone, in their order.
    pub fn select(&self, weights: &[f64]) -> Vec<f64> {
        self.features.iter().map(|&f| weights[f]).collect()
    }
}

/// From where to where a column goes; never empty.
fn range(rows: &[&[f64]], feature: usize, trim: f64) -> (f64, f64) {
    let mut seen: Vec<f64> = rows.iter().map(|row| row[feature]).collect();
    seen.sort_by(f64::total_cmp);
    let cut = (seen.len() as f64 * trim) as usize;
    let (low, high) = (seen[cut], seen[seen.len() - 1 - cut]);
    let beyond = match high - low {
        width if width > 0.0 => width * BEYOND,
        // A column that never changed: anything near it will do.
        _ => low.abs().max(1.0) * BEYOND,
    };
    (low - beyond, high + beyond)
}
