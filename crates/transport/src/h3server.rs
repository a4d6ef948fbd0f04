//! The HTTP/3 server end: endpoint → connection → request and responder.
//!
//! ```text
//! Endpoint::accept → Incoming::handshake → Connection::accept → (Request<RecvBody>, Responder) → Responder::send
//! ```
//! Requests of one connection are independent: header fields that arrive slowly hold up only their own request.

mod connection;
mod responder;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quinn::VarInt;
use quinn::crypto::rustls::QuicServerConfig;
use tokio::sync::watch;

pub use connection::Connection;
pub(crate) use connection::InFlight;
pub use responder::{ClientGone, Responder};

use crate::error::{BindError, H3Error, TlsError};
use crate::limits::QuicLimits;
use crate::quic::endpoint_config;
use crate::quic_error::{self, NO_ERROR};
use crate::tls::ServerTls;

/// Socket buffers: at 1 Gbit/s a busy process may not read for 15 ms before packets are lost. The kernel may cap it.
const SOCKET_BUFFER_BYTES: usize = 2 << 20;

/// Packets for connections not yet accepted that quinn may hold.
const MAX_WAITING_CONNECTIONS: usize = 1024;

/// A UDP socket that listens for QUIC connections.
pub struct Endpoint {
    quic: quinn::Endpoint,
    limits: Arc<QuicLimits>,
    unproven: Arc<AtomicUsize>,
    stopping: watch::Sender<bool>,
}

impl Endpoint {
    /// Opens the socket. Port 0 takes a free one: see [`Self::local_addr`].
    pub fn bind(addr: SocketAddr, tls: &ServerTls, limits: QuicLimits) -> Result<Self, BindError> {
        let crypto = QuicServerConfig::try_from(tls.quic_config()?)
            .map_err(|error| TlsError::Settings(error.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(limits.transport()?)
            .max_incoming(MAX_WAITING_CONNECTIONS);
        let socket = udp_socket(addr).map_err(|source| BindError::Socket { addr, source })?;
        let quic = quinn::Endpoint::new(
            endpoint_config(tls.reset_seed),
            Some(config),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(|source| BindError::Socket { addr, source })?;
        Ok(Self {
            quic,
            limits: Arc::new(limits),
            unproven: Arc::default(),
            stopping: watch::Sender::new(false),
        })
    }

    /// The address in use.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.quic.local_addr()
    }

    /// The next connection to come; `None` once [`Self::stop_accepting`] or [`Self::close`] was called. Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        let mut stopping = self.stopping.subscribe();
        loop {
            let incoming = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return None,
                incoming = self.quic.accept() => incoming?,
            };
            if self.quic.open_connections() >= self.limits.max_connections {
                tracing::debug!(
                    limit = self.limits.max_connections,
                    "connection refused: too many are open"
                );
                incoming.refuse();
                continue;
            }
            let proven = incoming.remote_address_validated();
            if !proven
                && self.unproven.load(Ordering::Relaxed) >= self.limits.retry_above
                && incoming.may_retry()
            {
                // Address validation under load (RFC 9000, section 8.1.2): costs the client a round trip, us no state.
                let _ = incoming.retry();
                continue;
            }
            let unproven = (!proven).then(|| Unproven::count(&self.unproven));
            return Some(Incoming {
                incoming,
                limits: self.limits.clone(),
                unproven,
            });
        }
    }

    /// Connections that are open.
    pub fn open_connections(&self) -> usize {
        self.quic.open_connections()
    }

    /// Takes no new connection; those that stand go on.
    pub fn stop_accepting(&self) {
        self.stopping.send_replace(true);
        self.quic.set_server_config(None);
    }

    /// Ends every connection at once.
    pub fn close(&self) {
        self.stop_accepting();
        self.quic
            .close(VarInt::from_u32(NO_ERROR as u32), b"the server is stopping");
    }

    /// Waits until every connection has ended and said so to its peer.
    pub async fn wait_idle(&self) {
        self.quic.wait_idle().await;
    }
}

/// A handshake of an address that has proved nothing, counted while it lasts.
struct Unproven(Arc<AtomicUsize>);

impl Unproven {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter.clone())
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that has begun; do its handshake in a task of its own.
pub struct Incoming {
    incoming: quinn::Incoming,
    limits: Arc<QuicLimits>,
    unproven: Option<Unproven>,
}

impl Incoming {
    pub fn remote(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Turns the client away; it sees CONNECTION_REFUSED.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Does the QUIC, TLS and HTTP/3 handshakes, within the limit's time.
    pub async fn handshake(self) -> Result<Connection, H3Error> {
        let limit = self.limits.handshake_timeout;
        match tokio::time::timeout(limit, self.shake_hands()).await {
            Ok(result) => result,
            Err(_) => Err(H3Error::Handshake {
                reason: format!("not done within {} s", limit.as_secs()),
            }),
        }
    }

    async fn shake_hands(self) -> Result<Connection, H3Error> {
        let connecting = self
            .incoming
            .accept()
            .map_err(|error| quic_error::closed(error, None))?;
        let quic = connecting
            .await
            .map_err(|error| quic_error::closed(error, None))?;
        drop(self.unproven);
        Connection::start(quic, self.limits, Arc::new(AtomicBool::new(false))).await
    }
}

pub(crate) fn udp_socket(addr: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    // Larger buffers are a wish; the system's own maximum is good enough to go on with.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
