//! One attempt: a request to one endpoint, up to the head of its response, and the watch over the body that follows.
//!
//! Invariants: the attempt is counted once in the endpoint's statistics; it counts as in flight until the response body ended or
//! was dropped; a connection goes back to the pool only after a response read to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::time::{Instant, timeout_at};

use super::connect::Sender;
use super::endpoint::{Endpoint, InFlight};
use super::fault::{self, Progress};
use super::headers::{self, Form};
use super::pool::Lease;
use super::stats::Outcome;
use crate::body::{Body, BodyEnd, BodyError, BodyFault};
use crate::error::ProxyError;

/// A pooled connection that turns out to be closed is replaced by another; after so many, by a new one for certain.
const STALE_CONNECTIONS: u32 = 2;

/// An attempt without a response.
#[derive(Debug)]
pub struct Failed {
    pub error: ProxyError,
    /// The request, if nothing of it was sent: it can be tried elsewhere, whatever its method and body.
    pub unsent: Option<Box<Request<Body>>>,
}

/// The limits of an attempt in time.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the request's last byte to the response's head.
    pub first_byte: Duration,
    /// The longest silence within the response body.
    pub between_bytes: Duration,
    /// The head of the response must be there by then.
    pub deadline: Option<Instant>,
}

/// Sends `request` and waits for the head of its response.
pub async fn run(
    endpoint: &Arc<Endpoint>,
    request: Request<Body>,
    patience: Patience,
) -> Result<Response<Body>, Failed> {
    let in_flight = match endpoint.enter() {
        Ok(in_flight) => in_flight,
        Err(error) => return Err(Failed::unsent(error, request)),
    };
    let sent = exchange(endpoint, request, patience).await;
    match sent {
        Ok((response, sender)) => receive(in_flight, response, sender, patience),
        Err(failed) => {
            if fault::blames_endpoint(&failed.error) {
                in_flight.settle(Outcome::Failed);
            }
            Err(failed)
        }
    }
}

impl Failed {
    fn unsent(error: ProxyError, request: Request<Body>) -> Self {
        Self {
            error,
            unsent: Some(Box::new(request)),
        }
    }

    fn sent(error: ProxyError) -> Self {
        Self {
            error,
            unsent: None,
        }
    }
}

/// The sender comes back where it can carry another request.
type Received = (Response<Incoming>, Option<http1::SendRequest<Body>>);

async fn exchange(
    endpoint: &Endpoint,
    mut request: Request<Body>,
    patience: Patience,
) -> Result<Received, Failed> {
    headers::strip_request(request.headers_mut());
    let progress = UploadProgress::watch(&mut request);
    let mut stale = 0;
    loop {
        let leased = if stale < STALE_CONNECTIONS {
            endpoint
                .pool
                .lease(&endpoint.connector, patience.deadline)
                .await
        } else {
            endpoint
                .pool
                .open(&endpoint.connector, patience.deadline)
                .await
        };
        let lease = match leased {
            Ok(lease) => lease,
            Err(error) => return Err(Failed::unsent(error, request)),
        };
        let reused = lease.reused;
        match send(endpoint, lease, request, patience, progress.as_ref()).await {
            Ok(received) => return Ok(received),
            // The peer closed an idle connection just before we used it: nobody's fault, and nothing was sent.
            Err(Failed {
                unsent: Some(again),
                ..
            }) if reused && stale < STALE_CONNECTIONS => {
                request = *again;
                stale += 1;
            }
            Err(failed) => return Err(failed),
        }
    }
}

async fn send(
    endpoint: &Endpoint,
    lease: Lease,
    mut request: Request<Body>,
    patience: Patience,
    progress: Option<&UploadProgress>,
) -> Result<Received, Failed> {
    let form = match &lease.sender {
        Sender::H1(_) => Form::H1,
        Sender::H2(_) => Form::H2 {
            tls: endpoint.connector.is_tls(),
        },
    };
    headers::address(&mut request, form, &endpoint.authority);
    match lease.sender {
        Sender::H1(mut sender) => {
            let response = sender.try_send_request(request);
            let response = head(endpoint, response, patience, progress).await?;
            Ok((response, Some(sender)))
        }
        Sender::H2(mut sender) => {
            let response = sender.try_send_request(request);
            Ok((head(endpoint, response, patience, progress).await?, None))
        }
    }
}

/// Waits for the head, no longer than patience allows.
async fn head(
    endpoint: &Endpoint,
    response: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>>,
    patience: Patience,
    progress: Option<&UploadProgress>,
) -> Result<Response<Incoming>, Failed> {
    let mut response = std::pin::pin!(response);
    let begun = Instant::now();
    let mut quiet_since = begun;
    loop {
        let own = super::after(quiet_since, patience.first_byte);
        let until = patience.deadline.map_or(own, |deadline| deadline.min(own));
        match timeout_at(until, response.as_mut()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(mut error)) => {
                let unsent = error.take_message();
                let how_far = if unsent.is_some() {
                    Progress::Unsent
                } else {
                    Progress::Sent
                };
                let error = fault::of_exchange(error.into_error(), endpoint.address(), how_far);
                return Err(Failed {
                    error,
                    unsent: unsent.map(Box::new),
                });
            }
            // While the client still uploads, the upstream is not late.
            Err(_) => match progress.and_then(|progress| progress.since(quiet_since)) {
                Some(moved) if own <= until => quiet_since = moved,
                _ => {
                    return Err(Failed::sent(fault::response_timeout(
                        endpoint.address(),
                        until - begun,
                    )));
                }
            },
        }
    }
}

fn receive(
    in_flight: InFlight,
    response: Response<Incoming>,
    sender: Option<http1::SendRequest<Body>>,
    patience: Patience,
) -> Result<Response<Body>, Failed> {
    let endpoint = in_flight.endpoint().clone();
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        in_flight.settle(Outcome::Failed);
        return Err(Failed::sent(fault::unasked_upgrade(endpoint.address())));
    }
    match parts.status.as_u16() {
        502..=504 => in_flight.settle(Outcome::Failed),
        500.. => in_flight.settle_server_error(),
        _ => in_flight.settle(Outcome::Answered),
    }
    headers::strip_hop_by_hop(&mut parts.headers);
    if http_body::Body::is_end_stream(&body) {
        if let Some(sender) = sender {
            endpoint.pool.give_back(sender);
        }
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    let body = Body::incoming(body)
        .between_bytes(patience.between_bytes)
        .on_end(move |end| match end {
            BodyEnd::Complete => {
                if let Some(sender) = sender {
                    endpoint.pool.give_back(sender);
                }
            }
            BodyEnd::Failed(BodyFault::Incomplete | BodyFault::Stalled) => in_flight.broke_off(),
            BodyEnd::Failed(BodyFault::TooLarge | BodyFault::Cancelled | BodyFault::Refused)
            | BodyEnd::Dropped => {}
        });
    Ok(Response::from_parts(parts, body))
}

/// When the last byte of a request body was taken by the connection, as microseconds since `begun`.
struct UploadProgress {
    begun: Instant,
    last_us: Arc<AtomicU64>,
}

impl UploadProgress {
    /// Watches the request's body, unless it is in memory and so is sent at once.
    fn watch(request: &mut Request<Body>) -> Option<Self> {
        if request.body().in_memory().is_some() {
            return None;
        }
        let this = Self {
            begun: Instant::now(),
            last_us: Arc::new(AtomicU64::new(0)),
        };
        let inner = std::mem::take(request.body_mut());
        let watched = Watched {
            inner,
            begun: this.begun,
            last_us: this.last_us.clone(),
        };
        *request.body_mut() = Body::wrap_with(watched, |error| error);
        Some(this)
    }

    /// The last movement, if there was one after `then`.
    fn since(&self, then: Instant) -> Option<Instant> {
        let last = self.begun + Duration::from_micros(self.last_us.load(Ordering::Relaxed));
        (last > then).then_some(last)
    }
}

/// A request body that notes when it moves.
struct Watched {
    inner: Body,
    begun: Instant,
    last_us: Arc<AtomicU64>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_ready() {
            let us = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.last_us.store(us, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
