//! Why a job was not begun, found or deleted.

use std::io;
use std::path::{Path, PathBuf};

use fhe::FheError;

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("the job store {} failed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("this tenant has {limit} jobs already")]
    TooMany { limit: usize },
    #[error("this tenant's jobs may take {limit} bytes together, and this one does not fit")]
    TooMuch { limit: u64 },
    #[error("the gateway's space for jobs is used up")]
    Full,
    #[error("there is no such job")]
    Unknown,
    #[error(transparent)]
    Entropy(FheError),
}

impl JobError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
