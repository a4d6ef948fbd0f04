//! Replies of the sync protocol: JSON, and problems (RFC 9457) with their status.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use sync_wire::{PROBLEM_CONTENT_TYPE, Problem, ProblemKind};

use crate::store::StoreError;

pub type Reply = Response<Full<Bytes>>;

/// A busy or faulty store may be well in seconds; a full one waits for a person.
const RETRY_UNAVAILABLE_S: u32 = 5;
const RETRY_FULL_S: u32 = 30;

pub fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => problem(&Problem::new(ProblemKind::Unavailable, error.to_string())),
    }
}

pub fn problem(problem: &Problem) -> Reply {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A problem is strings and a number: it always serializes.
    let mut reply = with_type(
        status,
        PROBLEM_CONTENT_TYPE,
        serde_json::to_vec(problem).unwrap_or_default(),
    );
    let retry = match problem.kind() {
        Some(ProblemKind::Unavailable) => Some(RETRY_UNAVAILABLE_S),
        Some(ProblemKind::StoreFull) => Some(RETRY_FULL_S),
        _ => None,
    };
    if let Some(seconds) = retry {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}

/// A store's failure, in words for the site: the details are the operator's, in the log.
pub fn store_problem(error: &StoreError) -> Problem {
    tracing::error!(%error, "the store failed");
    match error {
        StoreError::Full(_) => Problem::new(
            ProblemKind::StoreFull,
            "nothing was stored; the batch is welcome once there is room",
        ),
        StoreError::Io { .. } | StoreError::TooLarge { .. } | StoreError::Damaged { .. } => {
            Problem::new(
                ProblemKind::Unavailable,
                "the store failed; nothing is known to be stored",
            )
        }
    }
}

fn with_type(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(bytes)));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
