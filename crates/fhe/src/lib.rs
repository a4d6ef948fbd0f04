//! Fully homomorphic encryption as Veilgate uses it: parameters, keys, formats, programs, noise, and the client's side.
//!
//! There is no engine here (that is `kernels`), no network and, but for `files`, no disk: it builds for wasm32 too.
//! Invariant: whatever comes from outside is checked for size, and for conformance to its parameter set, before any
//! arithmetic. Bytes that do not conform are an error of a kind of their own, and never a panic.

mod bytes;
pub mod client;
pub mod counters;
pub mod entropy;
pub mod error;
#[cfg(not(target_family = "wasm"))]
pub mod files;
pub mod keys;
pub mod noise;
pub mod params;
pub mod program;
mod public;
pub mod text;
pub mod wire;

pub use client::Client;
pub use entropy::{Entropy, OsEntropy, TestEntropy};
pub use error::{FheError, Thing};
pub use keys::{ClientKey, EvaluationKey, KeyId};
pub use params::ParamSet;
pub use program::{Program, ProgramError, ProgramFile};
pub use public::{PublicProgram, Score};
pub use wire::{Reply, Request};
