//! One client's connection: its requests as they come, and its graceful end.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h3::server::RequestResolver;
use http::Request;
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;

use super::Responder;
use crate::body::RecvBody;
use crate::error::{H3Error, Reset};
use crate::limits::QuicLimits;
use crate::peer::PeerIdentity;
use crate::quic::{QuicConnection, StreamControl, WireStats};
use crate::quic_error::{self, NO_ERROR};

type Resolved = Result<(Request<RecvBody>, Responder), H3Error>;
type Resolving = Pin<Box<dyn Future<Output = Resolved> + Send>>;

/// After the last response of a draining connection has arrived, the client gets this long to close it itself.
const LINGER: Duration = Duration::from_millis(500);

/// H3_GENERAL_PROTOCOL_ERROR (RFC 9114, section 8.1).
const GENERAL_PROTOCOL_ERROR: u32 = 0x101;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// GOAWAY sent: requests on streams from this id on are rejected.
    Draining {
        first_rejected: u64,
    },
    Ended,
}

/// A client's HTTP/3 connection. Call [`Self::accept`] in a loop: it drives the connection.
pub struct Connection {
    h3: h3::server::Connection<QuicConnection, Bytes>,
    quic: quinn::Connection,
    limits: Arc<QuicLimits>,
    resolving: FuturesUnordered<Resolving>,
    counts: Arc<Counts>,
    phase: Phase,
    draining: Arc<AtomicBool>,
    next_stream: u64,
    sni: Option<String>,
    peer: Option<PeerIdentity>,
}

impl Connection {
    pub(super) async fn start(
        quic: quinn::Connection,
        limits: Arc<QuicLimits>,
        draining: Arc<AtomicBool>,
    ) -> Result<Self, H3Error> {
        let handshake = quic
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok());
        let chain = quic
            .peer_identity()
            .and_then(|id| id.downcast::<Vec<CertificateDer<'static>>>().ok());
        let wrapped =
            QuicConnection::server(quic.clone(), limits.max_field_section, draining.clone());
        let h3 = h3::server::builder()
            .max_field_section_size(limits.max_field_section)
            // Grease would cost a stream and bytes on every connection, and our peers know to ignore it.
            .send_grease(false)
            .build(wrapped)
            .await
            .map_err(|error| quic_error::connection(error, &quic))?;
        Ok(Self {
            h3,
            quic,
            limits,
            resolving: FuturesUnordered::new(),
            counts: Arc::default(),
            phase: Phase::Open,
            draining,
            next_stream: 0,
            sni: handshake.and_then(|data| data.server_name),
            peer: chain.and_then(|chain| PeerIdentity::from_chain(&chain)),
        })
    }

    /// The client's address, as it is now (it may migrate).
    pub fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// The name that the client asked for.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// The client's verified certificate.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    /// Bytes on the wire so far.
    pub fn wire_stats(&self) -> WireStats {
        WireStats::of(&self.quic)
    }

    /// The next request, as soon as its header fields are there; `None` when the connection has ended well, or is
    /// drained after [`Self::shutdown`]. An error ends the connection. Cancel-safe.
    pub async fn accept(&mut self) -> Result<Option<(Request<RecvBody>, Responder)>, H3Error> {
        loop {
            if self.phase == Phase::Ended {
                return Ok(None);
            }
            self.check_aborts()?;
            let drained = matches!(self.phase, Phase::Draining { .. }) && self.resolving.is_empty();
            let counts = self.counts.clone();
            tokio::select! {
                accepted = self.h3.accept() => match accepted {
                    Ok(Some(resolver)) => self.begin(resolver),
                    Ok(None) => self.phase = Phase::Ended,
                    Err(error) => return self.end(quic_error::connection(error, &self.quic)),
                },
                Some(resolved) = self.resolving.next(), if !self.resolving.is_empty() => {
                    match resolved {
                        Ok(request) => return Ok(Some(request)),
                        Err(error) if error.ends_connection() => return self.end(error),
                        Err(error) => {
                            tracing::debug!(%error, remote = %self.quic.remote_address(), "request refused");
                            self.counts.aborted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                () = idle_for_a_while(&counts), if drained => self.phase = Phase::Ended,
            }
        }
    }

    /// Sends GOAWAY: new requests are rejected (and safe to send elsewhere), those in flight finish. Go on calling
    /// [`Self::accept`] until it returns `None`.
    pub async fn shutdown(&mut self) -> Result<(), H3Error> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        self.phase = Phase::Draining {
            first_rejected: self.next_stream,
        };
        self.draining.store(true, Ordering::Relaxed);
        // h3 counts from the last stream accepted; GOAWAY names the first one that is not (RFC 9114, section 5.2).
        self.h3
            .shutdown(1)
            .await
            .map_err(|error| quic_error::connection(error, &self.quic))
    }

    fn begin(&mut self, resolver: RequestResolver<QuicConnection, Bytes>) {
        let Some(control) = self.h3.inner.conn.take_last_accepted() else {
            return;
        };
        let id = resolver.frame_stream.id().into_inner();
        if matches!(self.phase, Phase::Draining { first_rejected } if id >= first_rejected) {
            control.abort_with(Reset::Rejected);
            return;
        }
        self.next_stream = self.next_stream.max(id + 4);
        let in_flight = InFlight::count(&self.counts);
        let resolve = resolve(
            resolver,
            control,
            self.quic.clone(),
            in_flight,
            self.limits.header_timeout,
        );
        self.resolving.push(Box::pin(resolve));
    }

    fn check_aborts(&mut self) -> Result<(), H3Error> {
        let aborted = self.counts.aborted.load(Ordering::Relaxed);
        let finished = self.counts.finished.load(Ordering::Relaxed);
        if aborted <= self.limits.max_aborted_requests || aborted <= finished {
            return Ok(());
        }
        self.phase = Phase::Ended;
        let code = quinn::VarInt::from_u32(Reset::ExcessiveLoad.code() as u32);
        self.quic.close(code, b"too many abandoned requests");
        Err(H3Error::TooManyAborts { aborted })
    }

    /// A connection that the client closed in order, or left idle, has ended well.
    fn end(&mut self, error: H3Error) -> Result<Option<(Request<RecvBody>, Responder)>, H3Error> {
        self.phase = Phase::Ended;
        match error {
            H3Error::ClosedByPeer {
                code: 0 | NO_ERROR, ..
            }
            | H3Error::IdleTimeout
            | H3Error::ClosedByUs => Ok(None),
            other => {
                // h3 has closed it with a code of its own, if it was h3 that found the fault.
                self.quic.close(
                    quinn::VarInt::from_u32(GENERAL_PROTOCOL_ERROR),
                    other.to_string().as_bytes(),
                );
                Err(other)
            }
        }
    }
}

async fn idle_for_a_while(counts: &Counts) {
    counts.idle().await;
    tokio::time::sleep(LINGER).await;
}

/// Waits for a request's header fields, then knows at once whether it has a body.
async fn resolve(
    resolver: RequestResolver<QuicConnection, Bytes>,
    control: Arc<StreamControl>,
    quic: quinn::Connection,
    in_flight: Arc<InFlight>,
    limit: Duration,
) -> Resolved {
    let mut resolving = Box::pin(resolver.resolve_request());
    let (request, stream) = match tokio::time::timeout(limit, &mut resolving).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => return Err(quic_error::stream(error, &quic)),
        Err(_) => {
            // Before the stream is dropped: it is to end in an error, not in an empty answer.
            control.abort_with(Reset::Cancelled);
            return Err(H3Error::HeaderTimeout {
                seconds: limit.as_secs(),
            });
        }
    };
    control.abort_with(Reset::Internal);
    let (send, recv) = stream.split();
    let mut body = RecvBody::server(recv, quic.clone(), request.headers(), in_flight.clone());
    body.peek().await?;
    let responder = Responder::new(send, control, quic, in_flight);
    Ok((request.map(|()| body), responder))
}

/// What a connection has going, and how its requests ended.
#[derive(Default)]
pub(crate) struct Counts {
    in_flight: AtomicUsize,
    finished: AtomicU64,
    aborted: AtomicU64,
    became_idle: Notify,
}

impl Counts {
    async fn idle(&self) {
        loop {
            let notified = self.became_idle.notified();
            if self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// A request that is neither answered nor given up; shared by its body and its responder.
pub(crate) struct InFlight(Arc<Counts>);

impl InFlight {
    fn count(counts: &Arc<Counts>) -> Arc<Self> {
        counts.in_flight.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self(counts.clone()))
    }

    pub(super) fn finished(&self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn aborted_by_peer(&self) {
        self.0.aborted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.became_idle.notify_waiters();
        }
    }
}
