//! Encrypted scoring: `/fhe/v1/…` in front of the kernels (docs/specs/fhe-http.md).
//!
//! ```text
//! request → http (routes, limits, problems) → programs (what may be run)
//!                                           → keys     (whose key, on disk and expanded)
//!                                           → batch    (admission, gathering, the engine's threads) → reply
//! ```
//!
//! Invariants: nothing is computed with before its size and parameter set were checked; a key is only ever used for
//! the tenant that registered it; no arithmetic runs on a thread of the async runtime; every queue is bounded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kernels::{CpuBackend, Engine, KernelError};

mod batch;
mod http;
mod keys;
mod problem;
mod programs;
mod service;
mod tenant;

pub use batch::{Busy, Evaluated};
pub use keys::KeyStoreError;
pub use problem::Problem;
pub use programs::ProgramsError;
pub use tenant::Tenant;

/// Uploads that are read at once: each holds 30 MB.
const MAX_UPLOADS: usize = 4;

/// What an operator sets; see `[fhe]` in the configuration.
#[derive(Clone, Debug)]
pub struct FheOptions {
    pub keys_dir: PathBuf,
    pub programs_dir: PathBuf,
    /// Memory for expanded keys (90 MB each with bootstraps); at least one is always held.
    pub key_cache_bytes: u64,
    /// Disk for registered keys (30 MB each with bootstraps).
    pub key_store_bytes: u64,
    pub max_request_bytes: u64,
    /// Requests that one batch holds at most.
    pub batch_size: usize,
    /// How long the first request of a batch waits for others.
    pub batch_wait: Duration,
    /// Requests waiting at most; more are answered 503.
    pub max_queue: usize,
    /// Of each of the two engines (sums alone, and bootstraps); `None` for one per core.
    pub threads: Option<usize>,
}

impl FheOptions {
    /// Sensible for one machine: the defaults of the configuration.
    pub fn new(keys_dir: impl Into<PathBuf>, programs_dir: impl Into<PathBuf>) -> Self {
        Self {
            keys_dir: keys_dir.into(),
            programs_dir: programs_dir.into(),
            key_cache_bytes: 512 << 20,
            key_store_bytes: 4 << 30,
            max_request_bytes: 32 << 20,
            batch_size: 64,
            batch_wait: Duration::from_millis(2),
            max_queue: 1024,
            threads: None,
        }
    }
}

/// Why encrypted scoring could not start.
#[derive(Debug, thiserror::Error)]
pub enum FheStartError {
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error("the FHE engine could not start: {0}")]
    Engine(#[from] KernelError),
    #[error("a worker thread of the FHE engine could not be started: {0}")]
    Thread(std::io::Error),
}

/// Everything behind `/fhe/v1/`. Shared by all connections.
pub struct FheService {
    programs: programs::Programs,
    keys: Arc<keys::KeyStore>,
    /// Sums alone take microseconds: they never wait behind bootstraps.
    linear: batch::Batcher,
    bootstrap: batch::Batcher,
    uploads: tokio::sync::Semaphore,
    max_request_bytes: u64,
}

/// Loads every program of the directory and lets go of it: what `veilgate check` asks.
pub fn check_programs(dir: &std::path::Path) -> Result<(), ProgramsError> {
    programs::Programs::load(dir).map(drop)
}

impl FheService {
    /// Loads every program of the directory (one that is not sound is an error, not a surprise later), reads which
    /// keys are there, and starts the engine's threads. They end when the service is dropped.
    pub fn open(options: &FheOptions) -> Result<Self, FheStartError> {
        let programs = programs::Programs::load(&options.programs_dir)?;
        let engine = || CpuBackend::new(options.threads).map(Engine::new);
        let keys = keys::KeyStore::open(
            &options.keys_dir,
            options.key_store_bytes,
            options.key_cache_bytes,
        )?;
        let keys = Arc::new(keys);
        let start = |name| -> Result<_, FheStartError> {
            let limits = batch::Limits::of(options);
            batch::Batcher::start(name, engine()?, keys.clone(), limits)
                .map_err(FheStartError::Thread)
        };
        Ok(Self {
            linear: start("linear")?,
            bootstrap: start("bootstrap")?,
            programs,
            keys,
            uploads: tokio::sync::Semaphore::new(MAX_UPLOADS),
            max_request_bytes: options.max_request_bytes,
        })
    }

    /// The programs that can be asked for, by name.
    pub fn program_names(&self) -> impl Iterator<Item = &str> {
        self.programs.names()
    }
}

#[cfg(test)]
mod tests;
