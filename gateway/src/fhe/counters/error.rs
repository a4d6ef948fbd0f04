//! Why a stream was not made, or a contribution not counted; and the problem that its sender is told.

use std::io;
use std::path::{Path, PathBuf};

use fhe::FheError;
use http::StatusCode;

use crate::fhe::Problem;

#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    #[error(
        "the counter store {} failed: {source}; see that it is a directory that this user can write to, and that the disk has room",
        path.display()
    )]
    Io { path: PathBuf, source: io::Error },
    #[error("the outbox did not take the record: {0}")]
    Outbox(String),
    #[error("the window's file is damaged")]
    Damaged,
    #[error(transparent)]
    Format(#[from] FheError),
    #[error("this is no definition of a counter stream: {0}")]
    Definition(String),
    #[error(
        "a stream's name is 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begins with a letter or a digit"
    )]
    Name,
    #[error("there is no such counter stream; its owner makes it with PUT")]
    Unknown,
    #[error("this counter stream is another tenant's: choose another name")]
    Taken,
    #[error("only the owner of a counter stream sees its windows and removes it")]
    NotYours,
    #[error(
        "this counter stream has another key, schema or window: choose another name, or DELETE it first, with what was counted"
    )]
    Differs,
    #[error("this gateway has {limit} counter streams, as many as it takes (`max_streams`)")]
    TooManyStreams { limit: usize },
    #[error("it is encrypted under another public key; fetch the stream's and encrypt again")]
    WrongKey,
    #[error("it is of another schema than the stream's; fetch that and encrypt again")]
    WrongSchema,
    #[error("the windows of this stream are {seconds} s long")]
    WrongWindow { seconds: u32 },
    #[error(
        "send contributions one by one; whoever counted several times adds the numbers before encrypting"
    )]
    NotOne,
    #[error("its window is closed: what comes so late is not counted")]
    Over,
    #[error("its window has not begun; see that your clock is right")]
    Early { wait_s: u64 },
    #[error("this gateway has counted {limit} contributions in this window, as many as it takes")]
    WindowFull { limit: usize },
    #[error("nothing was counted in this window, or it is not held here any more")]
    NoWindow,
}

impl CounterError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<CounterError> for Problem {
    fn from(error: CounterError) -> Self {
        let detail = error.to_string();
        let (status, name) = match error {
            CounterError::Format(error) => return error.into(),
            CounterError::Io { .. } | CounterError::Outbox(_) | CounterError::Damaged => {
                tracing::error!(error = detail, "counters");
                return Self::internal();
            }
            CounterError::Early { wait_s } => {
                return Self {
                    retry_after_s: Some(wait_s),
                    ..Self::new(StatusCode::CONFLICT, "window-not-begun", detail)
                };
            }
            CounterError::Definition(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad-definition"),
            CounterError::Name => (StatusCode::BAD_REQUEST, "bad-stream-name"),
            CounterError::Unknown => (StatusCode::NOT_FOUND, "unknown-stream"),
            CounterError::Taken => (StatusCode::CONFLICT, "stream-taken"),
            CounterError::NotYours => (StatusCode::FORBIDDEN, "not-the-owner"),
            CounterError::Differs => (StatusCode::CONFLICT, "stream-differs"),
            CounterError::TooManyStreams { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "too-many-streams")
            }
            CounterError::WrongKey => (StatusCode::CONFLICT, "wrong-public-key"),
            CounterError::WrongSchema => (StatusCode::CONFLICT, "wrong-schema"),
            CounterError::WrongWindow { .. } => (StatusCode::CONFLICT, "wrong-window"),
            CounterError::NotOne => (StatusCode::UNPROCESSABLE_ENTITY, "not-one-contribution"),
            CounterError::Over => (StatusCode::GONE, "window-closed"),
            CounterError::WindowFull { .. } => (StatusCode::CONFLICT, "window-full"),
            CounterError::NoWindow => (StatusCode::NOT_FOUND, "unknown-window"),
        };
        Self::new(status, name, detail)
    }
}
