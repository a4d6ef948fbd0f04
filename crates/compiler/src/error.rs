//! What stops a model from becoming a program, with what to do about it.

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CompileError {
    #[error("the calibration data does not fit the model: {0}")]
    Calibration(String),
    #[error("{what} cannot be evaluated under encryption here; {instead}")]
    Unsupported { what: String, instead: String },
    #[error("the model is too large: {what} is {got}, and at most {limit} is allowed; {instead}")]
    TooLarge {
        what: &'static str,
        got: usize,
        limit: usize,
        instead: &'static str,
    },
    #[error("the program that came out is not sound: {0}")]
    Program(#[from] fhe::ProgramError),
}
