//! Why the key store did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use fhe::FheError;
use kernels::KernelError;

use super::uploads::{MAX_UPLOADS_PER_TENANT, UPLOAD_SHARE};

#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    #[error("the key store {} failed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the disk space that is set aside for keys ({limit} bytes) is used up")]
    Full { limit: u64 },
    #[error("this tenant has {limit} keys already")]
    TooMany { limit: usize },
    #[error("this tenant's keys may take {limit} bytes together, and this one does not fit")]
    TooMuch { limit: u64 },
    #[error("there is no such key")]
    Unknown,
    #[error("the key has expired")]
    Expired,
    #[error("another request is storing or deleting this key")]
    InProgress,
    #[error("the key to be replaced is not registered, or it is the new key itself")]
    CannotReplace,
    #[error("the stored key is damaged, and was removed; register it again")]
    Damaged(#[source] FheError),
    #[error(transparent)]
    Expand(KernelError),
}

impl KeyStoreError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    #[error("there is no such upload")]
    Unknown,
    #[error("{0} bytes is the size of no evaluation key")]
    WrongLength(u64),
    #[error("this tenant has {MAX_UPLOADS_PER_TENANT} unfinished uploads already")]
    TooMany,
    #[error("too many uploads are unfinished in all")]
    TooManyInAll,
    #[error("unfinished uploads take their share of the space for keys (1/{UPLOAD_SHARE})")]
    NoSpace,
    #[error("the upload goes on at byte {expected}, and this part begins at {given}")]
    WrongOffset { expected: u64, given: u64 },
    #[error("a later request goes on with this upload")]
    Superseded,
    #[error("the upload is being completed")]
    Finishing,
    #[error("the part goes past the {0} bytes that were declared")]
    TooLong(u64),
    #[error("{got} of {bytes} bytes are here")]
    Short { got: u64, bytes: u64 },
    #[error("the bytes are those of another key than the one declared")]
    NotTheKey,
    #[error(transparent)]
    NotAKey(FheError),
}
