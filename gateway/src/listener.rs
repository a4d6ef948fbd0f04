//! Listeners: one address each, TCP and UDP on the same port number. Bytes in → request; response → bytes out.
//!
//! Invariants: every connection has a ticket of the connection tally, a header timeout and an idle timeout; a request that reaches
//! the pipeline was read whole up to its body; a drain lets exchanges in flight finish and accepts nothing new.

mod h3;
mod limits;
mod stream;
mod tcp;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use transport::tls::{ClientAuth, Identity, Protocol, ServerTls, TrustRoots};
use transport::{BindError, TlsError};

use crate::config::{LimitsConfig, ListenerConfig, ListenerTls, Protocols};
use crate::drain::{Signal, Tally};
use crate::pipeline::Gateway;

/// Tries to find a port that is free for TCP and UDP both, when any will do (port 0).
const PORT_TRIES: usize = 16;
/// How long clients may remember that h3 is here: a day, as most do.
const ALT_SVC_SECONDS: u32 = 86_400;

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "cannot listen on {addr} (TCP): {source}. Is another process using the port, or is it below 1024 and reserved?"
    )]
    Tcp {
        addr: SocketAddr,
        source: std::io::Error,
    },
    // The source names the address, too.
    #[error("HTTP/3 of the listener: {source}")]
    Udp { addr: SocketAddr, source: BindError },
    #[error("certificates of the listener on {addr}: {source}")]
    Tls { addr: SocketAddr, source: TlsError },
}

/// A listener whose sockets are open.
pub struct Listener {
    pub addr: SocketAddr,
    protocols: Protocols,
    tls: bool,
    tcp: Option<tcp::Tcp>,
    h3: Option<transport::h3server::Endpoint>,
    alt_svc: Option<HeaderValue>,
}

/// What every connection needs.
#[derive(Clone)]
pub(crate) struct Common {
    pub gateway: Arc<Gateway>,
    pub connections: Tally,
    pub signal: Signal,
    pub limits: Arc<LimitsConfig>,
    pub alt_svc: Option<HeaderValue>,
}

impl Listener {
    /// Opens the sockets. Needs a tokio runtime.
    pub fn bind(config: &ListenerConfig, limits: &LimitsConfig) -> Result<Self, ListenError> {
        let tls =
            match &config.tls {
                Some(files) => Some(server_tls(files, config.protocols).map_err(|source| {
                    ListenError::Tls {
                        addr: config.addr,
                        source,
                    }
                })?),
                None => None,
            };
        let mut tries = if config.addr.port() == 0 {
            PORT_TRIES
        } else {
            1
        };
        loop {
            tries -= 1;
            match Self::bind_once(config, limits, tls.as_ref()) {
                Err(ListenError::Udp { .. }) if tries > 0 => {}
                result => return result,
            }
        }
    }

    fn bind_once(
        config: &ListenerConfig,
        limits: &LimitsConfig,
        tls: Option<&ServerTls>,
    ) -> Result<Self, ListenError> {
        let mut addr = config.addr;
        let tcp = if config.protocols.h1 || config.protocols.h2 {
            let tcp = tcp::Tcp::bind(addr, config.protocols, tls, limits)?;
            addr = tcp.local_addr;
            Some(tcp)
        } else {
            None
        };
        let h3 = match tls {
            Some(tls) if config.protocols.h3 => {
                let endpoint = transport::h3server::Endpoint::bind(addr, tls, limits::quic(limits))
                    .map_err(|source| ListenError::Udp { addr, source })?;
                addr = endpoint.local_addr().unwrap_or(addr);
                Some(endpoint)
            }
            _ => None,
        };
        let alt_svc = (config.alt_svc && h3.is_some())
            .then(|| {
                HeaderValue::try_from(format!("h3=\":{}\"; ma={ALT_SVC_SECONDS}", addr.port())).ok()
            })
            .flatten();
        Ok(Self {
            addr,
            protocols: config.protocols,
            tls: tls.is_some(),
            tcp,
            h3,
            alt_svc,
        })
    }

    /// What listens where, for people.
    pub fn describe(&self) -> String {
        let Protocols { h1, h2, .. } = self.protocols;
        let tcp = match (h1, h2) {
            (true, true) => "HTTP/1.1 and HTTP/2",
            (true, false) => "HTTP/1.1",
            (false, true) => "HTTP/2",
            (false, false) => "",
        };
        let scheme = if self.tls { "https" } else { "http" };
        match (self.tcp.is_some(), self.h3.is_some()) {
            (true, true) => format!("{scheme}://{} ({tcp} over TCP, HTTP/3 over UDP)", self.addr),
            (true, false) => format!("{scheme}://{} ({tcp})", self.addr),
            _ => format!("{scheme}://{} (HTTP/3 over UDP)", self.addr),
        }
    }

    /// Serves until the drain is over. Connections outlive this call; the tally knows them.
    pub async fn run(
        self,
        gateway: Arc<Gateway>,
        connections: Tally,
        signal: Signal,
        limits: Arc<LimitsConfig>,
    ) {
        let common = Common {
            gateway,
            connections,
            signal,
            limits,
            alt_svc: self.alt_svc,
        };
        let over_tcp = async {
            if let Some(tcp) = self.tcp {
                tcp.run(common.clone()).await;
            }
        };
        let over_quic = async {
            if let Some(endpoint) = self.h3 {
                h3::run(endpoint, common.clone()).await;
            }
        };
        tokio::join!(over_tcp, over_quic);
    }
}

/// Reads the certificates of a listener. `veilgate check` uses it too.
pub fn server_tls(files: &ListenerTls, protocols: Protocols) -> Result<ServerTls, TlsError> {
    let identity = Identity::load(&files.cert, &files.key)?;
    let client_auth = match &files.client_ca {
        Some(roots) => ClientAuth::Required(TrustRoots::load(roots)?),
        None => ClientAuth::None,
    };
    let offered = [
        (protocols.h2, Protocol::Http2),
        (protocols.h1, Protocol::Http1),
    ];
    let alpn: Vec<Protocol> = offered
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, protocol)| *protocol)
        .collect();
    Ok(ServerTls::new(identity, client_auth, &alpn))
}
