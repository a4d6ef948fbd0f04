//! What the aggregator asks of its storage: immutable objects, created once, under names with `/`.
//!
//! Small on purpose: an object store (S3) offers the same with a conditional put.

pub mod local;

use std::io;

use edge_types::Incarnation;

/// What became of a conditional create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    New,
    /// The name was taken; the object there was not touched, and is durable.
    Exists,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store is full: {0}")]
    Full(String),
    #[error("the store failed to {doing} {name}: {source}")]
    Io {
        doing: &'static str,
        name: String,
        source: io::Error,
    },
    #[error("the object {name} has {bytes} bytes, more than the {limit} that it may have")]
    TooLarge {
        name: String,
        bytes: u64,
        limit: u64,
    },
    #[error("{name} in the store is damaged: {reason}")]
    Damaged { name: String, reason: String },
}

impl StoreError {
    /// What a full disk, a full quota or anything else is, by the system's error.
    pub fn of_io(doing: &'static str, name: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full(format!("{doing} {name}: {source}"))
            }
            _ => Self::Io {
                doing,
                name: name.to_owned(),
                source,
            },
        }
    }
}

/// Objects by name. Every method may block on the disk. Names are made by [`crate::layout`] from checked parts.
pub trait Store: Send + Sync + 'static {
    /// Random when the store was made: a site that sees another one knows that what it had acknowledged may be gone.
    fn incarnation(&self) -> Incarnation;

    /// Creates an object unless its name is taken. When this returns, the object under the name is durable, whole,
    /// and visible to every process that shares the store; on an error nothing is visible.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError>;

    /// The whole object, `None` if there is none.
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// The names directly under `dir` (last part only), ascending; none if there is no such place.
    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError>;

    /// Whether an object could be created now.
    fn ready(&self) -> Result<(), StoreError>;
}
