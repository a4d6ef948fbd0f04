//! What the caller decides, and what comes out.

use fhe::Program;
use models::Model;

use crate::CompileError;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Of the program: 1 to 64 of a-z, 0-9 and `-`.
    pub name: String,
    pub version: u32,
    pub description: String,
    pub output: Output,
    /// Bits of an encoded input of linear models and networks.
    pub input_bits: u32,
    /// Trees only: the client is given so many evenly filled bins a column in place of the model's own edges.
    pub uniform_bins: Option<usize>,
}

impl Options {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: 1,
            description: String::new(),
            output: Output::Scores,
            input_bits: 10,
            uniform_bins: None,
        }
    }
}

/// What the client gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The model's raw scores.
    Scores,
    /// The label alone: scores tell of a model's weights.
    Labels,
    /// The probability in 16 steps, of logistic models with one score that are no trees.
    Probability,
}

/// Rows like those that will be asked, in the order of the model's features. NaN is a missing value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    pub rows: Vec<Vec<f64>>,
}

impl Calibration {
    pub(crate) fn check(&self, model: &Model) -> Result<(), CompileError> {
        let wrong = |why: String| Err(CompileError::Calibration(why));
        if self.rows.is_empty() {
            return wrong("there is no row in it".into());
        }
        let width = model.features.len();
        match self.rows.iter().position(|row| row.len() != width) {
            Some(row) => wrong(format!(
                "row {} has {} values, and the model takes {width}",
                row + 1,
                self.rows[row].len()
            )),
            None => Ok(()),
        }
    }

    /// The rows without a missing value: linear models and networks give nothing for the others.
    pub(crate) fn complete(&self) -> Result<Vec<&[f64]>, CompileError> {
        let rows: Vec<&[f64]> = self
            .rows
            .iter()
            .filter(|row| row.iter().all(|value| value.is_finite()))
            .map(Vec::as_slice)
            .collect();
        match rows.is_empty() {
            true => Err(CompileError::Calibration(
                "each row of it misses a value, and this model needs them all".into(),
            )),
            false => Ok(rows),
        }
    }
}

/// A program, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    pub program: Program,
    /// How the layout was found and what it costs, a line each: shown by `veilgate model compile`.
    pub notes: Vec<String>,
}
