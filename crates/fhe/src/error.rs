//! What can be wrong with bytes, programs and rows, each kind told apart so that the far side knows what to do.

use std::fmt;

use crate::params::ParamSet;

/// The thing that was being read when something was wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    ClientKey,
    EvaluationKey,
    Request,
    Reply,
    Program,
    PublicKey,
    CounterSchema,
    CounterCiphertext,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientKey => "client key",
            Self::EvaluationKey => "evaluation key",
            Self::Request => "encrypted request",
            Self::Reply => "encrypted reply",
            Self::Program => "program",
            Self::PublicKey => "public key",
            Self::CounterSchema => "counter schema",
            Self::CounterCiphertext => "counter ciphertext",
        })
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FheError {
    #[error("these bytes are no {0}: the first four do not name that format")]
    NotThisFormat(Thing),
    #[error("this {thing} has format version {got}; this build reads version {supported}")]
    Version {
        thing: Thing,
        got: u16,
        supported: u16,
    },
    #[error("this {thing} names parameter set {id}, which is not one of the sets that are allowed")]
    UnknownParams { thing: Thing, id: u16 },
    #[error("this {thing} is of parameter set `{got}`, but `{expected}` is needed")]
    WrongParams {
        thing: Thing,
        expected: ParamSet,
        got: ParamSet,
    },
    #[error("this {thing} is cut short: {need} bytes are needed, {got} are there")]
    Truncated {
        thing: Thing,
        need: usize,
        got: usize,
    },
    #[error("this {thing} is too large: {got} bytes, and at most {limit} are allowed")]
    Oversize {
        thing: Thing,
        limit: usize,
        got: usize,
    },
    #[error("this {thing} is malformed: {reason}")]
    Malformed { thing: Thing, reason: String },
    #[error("this {thing} does not belong to what it is used with: {reason}")]
    Mismatch { thing: Thing, reason: String },
    #[error(
        "these counters hold {got} contributions, and their schema allows {limit}: beyond that a total could be read wrong. Make a schema that allows more, or use shorter windows"
    )]
    TooManyContributions { limit: u32, got: u64 },
    #[error("the value `{name}`: {reason}")]
    Value { name: String, reason: String },
    #[error(transparent)]
    Program(#[from] crate::program::ProgramError),
    #[error("row {row}: {reason}")]
    Row { row: usize, reason: String },
    #[error("no entropy from the operating system: {0}")]
    Entropy(String),
}

impl FheError {
    pub(crate) fn malformed(thing: Thing, reason: impl Into<String>) -> Self {
        Self::Malformed {
            thing,
            reason: reason.into(),
        }
    }
    pub(crate) fn mismatch(thing: Thing, reason: impl Into<String>) -> Self {
        Self::Mismatch {
            thing,
            reason: reason.into(),
        }
    }
}
