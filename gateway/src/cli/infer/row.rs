//! A row as its file has it: numbers, or a text.

use fhe::{FheError, PublicProgram};

#[derive(Clone)]
pub(in crate::cli) enum Row {
    Numbers(Vec<f64>),
    /// Of a program with `text`.
    Text(String),
}

impl Row {
    /// The integers that are encrypted. An error counts rows from nothing, by `index`.
    pub fn encode(&self, program: &PublicProgram, index: usize) -> Result<Vec<i64>, FheError> {
        match self {
            Self::Numbers(values) => program.encode(index, values),
            Self::Text(text) => program.encode_text(index, text),
        }
    }
}
