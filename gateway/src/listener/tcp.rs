//! The TCP side of a listener: accept, TLS handshake within its time, and a task per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use transport::tcp::TlsAcceptor;
use transport::tls::{Protocol, ServerTls};

use super::{Common, ListenError, limits, stream};
use crate::config::{LimitsConfig, Protocols};
use crate::drain::{Phase, Ticket};
use crate::exchange::Client;

/// Connections that the kernel holds while the accept loop is busy.
const BACKLOG: u32 = 1024;
/// After an error of accept that is ours (file descriptors ran out): a pause, instead of a loop at full speed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Tcp {
    pub local_addr: SocketAddr,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    builders: Arc<Builders>,
}

/// hyper's settings by what the connection turned out to speak.
struct Builders {
    any: auto::Builder<TokioExecutor>,
    h1: auto::Builder<TokioExecutor>,
    h2: auto::Builder<TokioExecutor>,
}

impl Tcp {
    pub(super) fn bind(
        addr: SocketAddr,
        protocols: Protocols,
        tls: Option<&ServerTls>,
        limits: &LimitsConfig,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Tcp { addr, source };
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .map_err(failed)?;
        // A restart must not wait for the old process's connections to time out.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(addr).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let tls = match tls {
            Some(tls) => {
                Some(TlsAcceptor::new(tls).map_err(|source| ListenError::Tls { addr, source })?)
            }
            None => None,
        };
        let only = |h1, h2| limits::hyper(limits, Protocols { h1, h2, h3: false });
        let builders = Builders {
            any: limits::hyper(limits, protocols),
            h1: only(true, false),
            h2: only(false, true),
        };
        Ok(Self {
            local_addr,
            listener,
            tls,
            builders: Arc::new(builders),
        })
    }

    /// Accepts until the drain begins.
    pub(super) async fn run(self, common: Common) {
        let mut signal = common.signal.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = signal.reached(Phase::Draining) => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => self.begin(stream, remote, &common),
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, addr = %self.local_addr, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn begin(&self, stream: TcpStream, remote: SocketAddr, common: &Common) {
        let Some(ticket) = common.connections.enter() else {
            metrics::counter!("gateway_connections_refused_total", "reason" => "limit")
                .increment(1);
            return;
        };
        // Responses are written in pieces that are complete: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let (tls, builders, common) = (self.tls.clone(), self.builders.clone(), common.clone());
        tokio::spawn(async move {
            let _ticket: Ticket = ticket;
            match tls {
                Some(tls) => encrypted(stream, remote, tls, &builders, &common).await,
                None => {
                    let mut client = Client::new(remote, false);
                    client.alt_svc = common.alt_svc.clone();
                    stream::serve(stream, Arc::new(client), &builders.any, &common).await;
                }
            }
        });
    }
}

async fn encrypted(
    stream: TcpStream,
    remote: SocketAddr,
    tls: TlsAcceptor,
    builders: &Builders,
    common: &Common,
) {
    let handshake = tokio::time::timeout(common.limits.tls_handshake_timeout, tls.accept(stream));
    let reason = match handshake.await {
        Ok(Ok(stream)) => {
            let mut client = Client::new(remote, true);
            client.sni = stream.sni().map(Arc::from);
            client.peer = stream.peer().as_ref().and_then(super::h3::name_of);
            client.alt_svc = common.alt_svc.clone();
            let builder = match stream.alpn() {
                Some(Protocol::Http2) => &builders.h2,
                Some(Protocol::Http1 | Protocol::Http3) => &builders.h1,
                None => &builders.any,
            };
            return stream::serve(stream, Arc::new(client), builder, common).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, client = %remote, "TLS handshake failed");
            "failed"
        }
        Err(_) => "timeout",
    };
    metrics::counter!("gateway_tls_handshake_errors_total", "reason" => reason).increment(1);
}

/// The client left between its SYN and our accept: nothing to do about it.
fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
