//! The engine that computes on ciphertexts: a trait with a few batched operations, its backends, and the runner that
//! puts whole programs through them.
//!
//! Every operation takes a key index per ciphertext: one batch mixes clients, programs and requests. The `cpu`
//! backend is the definition of correct. This crate knows no network, no tenant and no file.

pub mod accelerated;
pub mod backend;
pub mod conformance;
pub mod cpu;
#[cfg(any(test, feature = "cuda"))]
pub mod cuda;
pub mod device;
pub mod direct;
mod engine;
mod gpus;
pub mod measure;
pub mod probe;
mod random;
mod ring;
pub mod rns;
mod standard;
pub mod survey;
#[cfg(test)]
mod testing;
#[cfg(feature = "wgpu")]
pub mod wgpu;
#[cfg(any(test, feature = "wgpu"))]
mod wgsl;

pub use accelerated::{Accelerated, AcceleratedKey};
pub use backend::{
    Backend, KernelError, LweBatch, LweSum, Read, RingInput, RingSum, SmallBatch, Table, Timings,
};
pub use cpu::CpuBackend;
pub use engine::{Compiled, Engine, Job, MAX_CIPHERTEXTS};
pub use gpus::{CardCounts, CardFailed, Gpus};
