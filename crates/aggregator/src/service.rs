//! One request of the sync protocol, from its head to its reply.
//!
//! Order of checks: path, certificate, method, size, then the body. What a stranger sends costs no more than its head.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use edge_types::SiteId;
use http::{Method, Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use sync_wire::{EnrollRequest, Problem, ProblemKind, PutReply, Route, limits, site_dns_name};
use tokio::sync::Semaphore;
use transport::PeerIdentity;

use crate::ingest::{self, BatchName};
use crate::metrics;
use crate::reply::{self, Reply};
use crate::store::{Created, Store};
use crate::{enroll, state};

/// Batches that are received and verified at once: each may hold 4 MiB encoded and 16 MiB decoded.
const MAX_BATCHES_AT_ONCE: usize = 32;

/// How long a batch waits for its turn before it is told to come again.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the sender of a body may take: a batch of 4 MiB at 300 kbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// The protocol over a store. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    turns: Arc<Semaphore>,
}

impl Service {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            turns: Arc::new(Semaphore::new(MAX_BATCHES_AT_ONCE)),
        }
    }

    /// Answers a request of the client with this certificate.
    pub async fn answer<B>(&self, peer: Option<&PeerIdentity>, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        match self.dispatch(peer, request).await {
            Ok(reply) => reply,
            Err(problem) => {
                tracing::debug!(%problem, "request refused");
                reply::problem(&problem)
            }
        }
    }

    async fn dispatch<B>(
        &self,
        peer: Option<&PeerIdentity>,
        request: Request<B>,
    ) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let Some(route) = Route::parse(request.uri().path()) else {
            return Err(Problem::new(
                ProblemKind::NotFound,
                "no such path in the sync protocol",
            ));
        };
        check_site(peer, route.site())?;
        let method = request.method().clone();
        match (route, method) {
            (Route::Epochs { site }, Method::POST) => {
                let body = read_body(request, limits::MAX_ENROLL_BYTES).await?;
                self.enroll(site, &body).await
            }
            (Route::State { site }, Method::GET) => {
                let store = self.store.clone();
                let reply = blocking(move || state::state(&*store, &site, now_ms())).await?;
                Ok(reply::json(StatusCode::OK, &reply))
            }
            (
                Route::Batch {
                    site,
                    epoch,
                    lane,
                    batch_no,
                },
                Method::PUT,
            ) => {
                self.put(
                    BatchName {
                        site,
                        epoch,
                        lane,
                        batch_no,
                    },
                    request,
                )
                .await
            }
            (Route::Epochs { .. } | Route::State { .. } | Route::Batch { .. }, method) => {
                Err(Problem::new(
                    ProblemKind::MethodNotAllowed,
                    format!("{method} is not for this path"),
                ))
            }
        }
    }

    async fn enroll(&self, site: SiteId, body: &[u8]) -> Result<Reply, Problem> {
        let request: EnrollRequest = serde_json::from_slice(body).map_err(|error| {
            Problem::new(
                ProblemKind::BadRequest,
                format!("not an enrolment: {error}"),
            )
        })?;
        let store = self.store.clone();
        let reply = blocking(move || enroll::enroll(&*store, &site, &request, now_ms())).await?;
        Ok(reply::json(StatusCode::OK, &reply))
    }

    async fn put<B>(&self, name: BatchName, request: Request<B>) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let began = Instant::now();
        let result = self.take_in(name, request).await;
        metrics::put(ingest::outcome(&result), began.elapsed().as_secs_f64());
        let ingested = result?;
        let status = match ingested.created {
            Created::New => StatusCode::CREATED,
            Created::Exists => StatusCode::OK,
        };
        Ok(reply::json(
            status,
            &PutReply {
                hash: ingested.hash,
            },
        ))
    }

    async fn take_in<B>(
        &self,
        name: BatchName,
        request: Request<B>,
    ) -> Result<ingest::Ingested, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Problem::new(
                ProblemKind::Unavailable,
                "too many batches at once",
            ));
        };
        let body = read_body(request, limits::MAX_BATCH_BYTES).await?;
        let store = self.store.clone();
        blocking(move || {
            let ingested = ingest::ingest(&*store, &name, &body);
            drop(turn);
            ingested
        })
        .await
    }
}

/// A site may speak for itself alone.
fn check_site(peer: Option<&PeerIdentity>, site: &SiteId) -> Result<(), Problem> {
    let wanted = site_dns_name(site);
    if peer.is_some_and(|peer| peer.has_dns_name(&wanted)) {
        return Ok(());
    }
    let shown = peer.map_or("no certificate".to_owned(), |peer| {
        peer.dns_names().join(", ")
    });
    let detail =
        format!("site {site} needs a client certificate for {wanted}; this one is for {shown}");
    Err(Problem::new(ProblemKind::WrongSite, detail))
}

/// The whole body, if it is within the limit.
async fn read_body<B>(request: Request<B>, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let too_large = || {
        Problem::new(
            ProblemKind::TooLarge,
            format!("the body may have {limit} bytes"),
        )
    };
    let body = request.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let read = async {
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                // The client is gone or broken: nobody will read this reply, and nothing was stored.
                Problem::new(
                    ProblemKind::Unavailable,
                    format!("the body did not arrive: {error}"),
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            ProblemKind::Unavailable,
            "the body took too long to arrive",
        )),
    }
}

/// Runs work that blocks on the disk off the network's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a request failed inside the aggregator");
            Err(Problem::new(
                ProblemKind::Unavailable,
                "a fault inside the aggregator",
            ))
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64)
}
