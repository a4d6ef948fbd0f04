//! Every way in which the outbox says no: what kind, whose side, and whether to try again.

use std::{io, path::PathBuf, sync::Arc};

use edge_types::BatchNo;

/// Why an outbox did not open. Nothing was changed on disk beyond what recovery does anyway.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("outbox configuration: {0}")]
    Config(&'static str),
    #[error(
        "the outbox at {0} is in use by another process: stop that one, or give this one another directory"
    )]
    Locked(PathBuf),
    #[error(
        "the outbox at {dir} belongs to site `{found}`, not `{wanted}`: use another directory, or that site's name"
    )]
    OtherSite {
        dir: PathBuf,
        found: String,
        wanted: String,
    },
    #[error(
        "cannot {action} {path}: {source}. Check that the directory is writable and that its disk is not full"
    )]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Why a record was not accepted. It is not in the outbox and its number was not used, except after `Io`, where a crash
/// before the next record may bring it back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    #[error("record of {len} bytes is over the limit of {limit}")]
    TooLarge { len: usize, limit: usize },
    #[error(
        "outbox full: {used_bytes} of {quota_bytes} bytes wait for the aggregator; raise the quota or restore the link"
    )]
    Full { used_bytes: u64, quota_bytes: u64 },
    #[error(
        "disk full: {free_bytes} bytes free, {min_free_bytes} must stay free; make room on the outbox's disk"
    )]
    DiskFull {
        free_bytes: u64,
        min_free_bytes: u64,
    },
    #[error("too many records wait for the disk; it is slower than the traffic")]
    QueueFull,
    #[error("the disk refused the record: {0}")]
    Io(Arc<io::Error>),
    #[error("the outbox is closed")]
    Closed,
}

impl AppendError {
    /// Whether the same record may be accepted later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } | Self::QueueFull | Self::Io(_) => true,
            Self::TooLarge { .. } | Self::Closed => false,
        }
    }

    /// A short constant name, for a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Full { .. } => "full",
            Self::DiskFull { .. } => "disk_full",
            Self::QueueFull => "queue_full",
            Self::Io(_) => "io",
            Self::Closed => "closed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    #[error("epoch 0 does not exist")]
    Zero,
    #[error(
        "this outbox has epoch {have} and was given {given}: one outbox directory has one epoch. If the aggregator's store was made anew, start the site with an empty outbox directory"
    )]
    Fixed { have: u64, given: u64 },
    #[error("cannot write the epoch to disk: {0}")]
    Io(String),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum BatchAccessError {
    #[error(
        "batch {0} is not here: it was never sealed, or it was acknowledged and its hold time is over"
    )]
    Unknown(BatchNo),
    #[error("cannot read or repair batch {no}: {source}. Try again later")]
    Io { no: BatchNo, source: Arc<io::Error> },
    #[error("cannot note the dead letter: {0}")]
    Append(#[from] AppendError),
}
