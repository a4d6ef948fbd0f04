//! The requests of the sync protocol on one connection, and what their replies mean.
//!
//! Only a reply that is the aggregator's own (a problem of a known type) can refuse a batch for good: a proxy or a
//! wrong server in between can delay it, never drop it.

mod paced;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_types::{BatchNo, Digest, Epoch, Lane, SiteId};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use sync_wire::{
    EnrollReply, EnrollRequest, Problem, ProblemKind, PutReply, PutStatus, StateReply, batch_path,
    epochs_path, limits, state_path,
};
use transport::h3client::Connection;
use transport::{H3Error, RecvBody, SendError, WireStats};

use crate::pace::Pacer;
use crate::state::PutResult;
use paced::PacedBody;

/// An enrolment or a survey is small: a minute means that something hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a call brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection is gone.
    #[error("{0}")]
    Lost(H3Error),
    #[error("{reason}")]
    Failed {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// It will not get better by itself.
    #[error("{0}")]
    Blocked(String),
}

/// A connection to the aggregator, for one site.
#[derive(Clone)]
pub struct Client {
    connection: Connection,
    site: SiteId,
    authority: String,
    pacer: Arc<Mutex<Pacer>>,
}

struct Reply {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl Client {
    /// `authority` goes into the requests' URI: the server's name.
    pub fn new(
        connection: Connection,
        site: SiteId,
        authority: String,
        pacer: Arc<Mutex<Pacer>>,
    ) -> Self {
        Self {
            connection,
            site,
            authority,
            pacer,
        }
    }

    pub fn wire_stats(&self) -> WireStats {
        self.connection.wire_stats()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> H3Error {
        self.connection.closed().await
    }

    pub async fn close(self) {
        self.connection.close_and_wait().await;
    }

    /// Asks for this outbox's epoch.
    pub async fn enrol(&self, request: &EnrollRequest) -> Result<Epoch, CallError> {
        let body = serde_json::to_vec(request).map_err(|error| failed(error.to_string()))?;
        let reply = self
            .call(
                Method::POST,
                epochs_path(&self.site),
                body.into(),
                CALL_TIMEOUT,
            )
            .await?;
        Ok(reply.json::<EnrollReply>()?.epoch)
    }

    /// Asks what the aggregator holds.
    pub async fn state(&self) -> Result<StateReply, CallError> {
        self.call(
            Method::GET,
            state_path(&self.site),
            Bytes::new(),
            CALL_TIMEOUT,
        )
        .await?
        .json()
    }

    /// Sends a batch. `Err` only if the connection is gone.
    pub async fn put(
        &self,
        epoch: Epoch,
        lane: Lane,
        no: BatchNo,
        bytes: Bytes,
        hash: Digest,
        timeout: Duration,
    ) -> Result<PutResult, H3Error> {
        let path = batch_path(&self.site, epoch, lane, no);
        match self.call(Method::PUT, path, bytes, timeout).await {
            Ok(reply) => Ok(reply.about_batch(hash)),
            Err(CallError::Lost(error)) => Err(error),
            Err(error @ (CallError::Failed { .. } | CallError::Blocked(_))) => {
                Ok(PutResult::Failed {
                    reason: error.to_string(),
                })
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        path: String,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let length = body.len();
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.authority));
        if length > 0 {
            builder = builder.header(header::CONTENT_LENGTH, length);
        }
        let body = PacedBody::new(body, self.pacer.clone());
        let request = builder
            .body(body)
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let response = self
                .connection
                .send(request)
                .await
                .map_err(|error| match error {
                    SendError::H3(error) => lost_or_failed(error),
                    SendError::Body(never) => match never {},
                })?;
            Reply::read(response).await
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(failed(format!("no reply within {} s", timeout.as_secs()))),
        }
    }
}

impl Reply {
    async fn read(response: Response<RecvBody>) -> Result<Self, CallError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limits::MAX_REPLY_BYTES)
            .collect()
            .await
            .map_err(|error| match error.downcast::<H3Error>() {
                Ok(error) => lost_or_failed(*error),
                Err(other) => failed(format!("the reply cannot be read: {other}")),
            })?;
        Ok(Self {
            status: head.status,
            retry_after: retry_after(&head.headers),
            body: body.to_bytes(),
        })
    }

    fn problem(&self) -> Option<Problem> {
        serde_json::from_slice::<Problem>(&self.body)
            .ok()
            .filter(|problem| problem.status == self.status.as_u16())
    }

    /// A successful reply's contents.
    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, CallError> {
        if self.status == StatusCode::OK {
            return serde_json::from_slice(&self.body).map_err(|error| {
                failed(format!("the aggregator's reply is not understood: {error}"))
            });
        }
        let reason = self.reason();
        match self.problem().and_then(|problem| problem.kind()) {
            Some(ProblemKind::WrongSite | ProblemKind::Fenced | ProblemKind::BadRequest) => {
                Err(CallError::Blocked(reason))
            }
            _ => Err(CallError::Failed {
                reason,
                retry_after: self.retry_after,
            }),
        }
    }

    fn reason(&self) -> String {
        match self.problem() {
            Some(problem) => format!("the aggregator says: {problem}"),
            None => format!(
                "status {} from something that is not an aggregator",
                self.status
            ),
        }
    }

    fn about_batch(self, ours: Digest) -> PutResult {
        let reason = self.reason();
        let problem = self.problem();
        let kind = problem.as_ref().and_then(Problem::kind);
        let later = |retry_after| PutResult::Later {
            retry_after,
            reason: reason.clone(),
        };
        match (PutStatus::of_http(self.status.as_u16()), kind) {
            (PutStatus::Stored, _) => match serde_json::from_slice::<PutReply>(&self.body) {
                Ok(reply) if reply.hash == ours => PutResult::Stored,
                Ok(_) | Err(_) => PutResult::Failed {
                    reason: "the aggregator confirmed something else than was sent".to_owned(),
                },
            },
            (PutStatus::Conflict, Some(ProblemKind::Conflict)) => PutResult::Conflict {
                stored: problem.and_then(|problem| problem.stored_hash),
                ours,
            },
            (PutStatus::Conflict, Some(ProblemKind::Fenced))
            | (_, Some(ProblemKind::WrongSite)) => PutResult::Blocked { reason },
            (PutStatus::Refused, Some(_)) => PutResult::Refused { reason },
            (PutStatus::Later, Some(ProblemKind::NotFound)) => PutResult::NotEnrolled,
            (PutStatus::Conflict | PutStatus::Refused | PutStatus::Later, _) => {
                later(self.retry_after)
            }
        }
    }
}

fn failed(reason: String) -> CallError {
    CallError::Failed {
        reason,
        retry_after: None,
    }
}

fn lost_or_failed(error: H3Error) -> CallError {
    match error.ends_connection() {
        true => CallError::Lost(error),
        false => failed(error.to_string()),
    }
}

/// Retry-After in seconds, which is the form that the aggregator uses.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// A pacer that starts now.
pub fn pacer(bytes_per_second: Option<u64>) -> Arc<Mutex<Pacer>> {
    Arc::new(Mutex::new(Pacer::new(bytes_per_second, Instant::now())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &impl serde::Serialize) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: Some(Duration::from_secs(7)),
            body: serde_json::to_vec(body).unwrap().into(),
        }
    }

    fn problem(kind: ProblemKind) -> Reply {
        reply(kind.status(), &Problem::new(kind, ""))
    }

    #[test]
    fn only_the_aggregators_own_word_refuses_a_batch() {
        let ours = Digest::of(b"ours");
        for kind in [
            ProblemKind::BadRequest,
            ProblemKind::InvalidBatch,
            ProblemKind::TooLarge,
        ] {
            assert!(
                matches!(problem(kind).about_batch(ours), PutResult::Refused { .. }),
                "{kind:?}"
            );
        }
        for status in [400, 404, 409, 413, 422, 429, 500, 502, 503, 504] {
            let result = reply(status, &"<html>a proxy's error page</html>").about_batch(ours);
            assert!(
                matches!(result, PutResult::Later { .. }),
                "{status}: {result:?}"
            );
        }
        // A problem whose own status differs from the response's was passed on by somebody.
        let relayed = reply(422, &Problem::new(ProblemKind::StoreFull, ""));
        assert!(matches!(relayed.about_batch(ours), PutResult::Later { .. }));
    }

    #[test]
    fn each_problem_has_its_meaning() {
        let ours = Digest::of(b"ours");
        let check = |kind, expected: fn(&PutResult) -> bool| {
            let result = problem(kind).about_batch(ours);
            assert!(expected(&result), "{kind:?}: {result:?}");
        };
        check(ProblemKind::Fenced, |r| {
            matches!(r, PutResult::Blocked { .. })
        });
        check(ProblemKind::WrongSite, |r| {
            matches!(r, PutResult::Blocked { .. })
        });
        check(ProblemKind::Conflict, |r| {
            matches!(r, PutResult::Conflict { .. })
        });
        check(ProblemKind::NotFound, |r| {
            matches!(r, PutResult::NotEnrolled)
        });
        let seven = |r: &PutResult| matches!(r, PutResult::Later { retry_after: Some(t), .. } if t.as_secs() == 7);
        check(ProblemKind::StoreFull, seven);
        check(ProblemKind::Unavailable, seven);
    }

    #[test]
    fn a_confirmation_counts_only_for_the_bytes_that_were_sent() {
        let ours = Digest::of(b"ours");
        assert_eq!(
            reply(201, &PutReply { hash: ours }).about_batch(ours),
            PutResult::Stored
        );
        assert_eq!(
            reply(200, &PutReply { hash: ours }).about_batch(ours),
            PutResult::Stored
        );
        let other = reply(
            201,
            &PutReply {
                hash: Digest::of(b"other"),
            },
        )
        .about_batch(ours);
        assert!(matches!(other, PutResult::Failed { .. }));
        assert!(matches!(
            reply(200, &"ok").about_batch(ours),
            PutResult::Failed { .. }
        ));
    }
}
