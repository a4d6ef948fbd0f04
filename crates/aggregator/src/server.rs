//! The listening aggregator: connections in, replies out, and a graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use transport::h3server::{Connection, Endpoint, Incoming};
use transport::{BindError, ClientAuth, Identity, QuicLimits, ServerTls, TlsError, TrustRoots};

use crate::config::Config;
use crate::metrics;
use crate::service::Service;
use crate::store::local::LocalStore;
use crate::store::{Store, StoreError};

/// How long a stop waits for requests in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A site's link may be silent between batches; its keep-alive is well below this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
    #[error(
        "cannot listen for admin requests on TCP {addr}: {source}. Is another process using the port?"
    )]
    Admin {
        addr: SocketAddr,
        source: std::io::Error,
    },
}

/// A running aggregator. Dropping it stops it at once; [`Self::stop`] stops it gracefully.
pub struct Aggregator {
    addr: SocketAddr,
    endpoint: Arc<Endpoint>,
    stopping: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Aggregator {
    /// Opens the store in the config's directory and serves it.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let store = LocalStore::open(&config.store, config.min_free_bytes)?;
        Self::start_with(config, Arc::new(store))
    }

    /// Serves any store.
    pub fn start_with(config: &Config, store: Arc<dyn Store>) -> Result<Self, StartError> {
        let identity = Identity::load(&config.cert, &config.key)?;
        let roots = TrustRoots::load(&config.client_ca)?;
        let tls = ServerTls::new(identity, ClientAuth::Required(roots), &[]);
        let limits = QuicLimits {
            idle_timeout: IDLE_TIMEOUT,
            ..QuicLimits::default()
        };
        let endpoint = Arc::new(Endpoint::bind(config.listen, &tls, limits)?);
        let addr = endpoint.local_addr().map_err(|source| BindError::Socket {
            addr: config.listen,
            source,
        })?;
        let stopping = watch::Sender::new(false);
        let serving = tokio::spawn(accept_all(
            endpoint.clone(),
            Service::new(store),
            stopping.subscribe(),
        ));
        Ok(Self {
            addr,
            endpoint,
            stopping,
            serving,
        })
    }

    /// The UDP address in use.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes nothing new, finishes what is in flight (for ten seconds at most), says goodbye.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        self.endpoint.stop_accepting();
        if tokio::time::timeout(DRAIN_TIMEOUT, &mut self.serving)
            .await
            .is_err()
        {
            tracing::warn!(
                seconds = DRAIN_TIMEOUT.as_secs(),
                "stopped with requests still in flight"
            );
        }
        self.endpoint.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        self.endpoint.close();
        self.serving.abort();
    }
}

async fn accept_all(endpoint: Arc<Endpoint>, service: Service, stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => {
                    connections.spawn(serve_connection(incoming, service.clone(), stopping.clone()));
                }
                None => break,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(incoming: Incoming, service: Service, stopping: watch::Receiver<bool>) {
    let remote = incoming.remote();
    let connection = match incoming.handshake().await {
        Ok(connection) => connection,
        Err(error) => {
            metrics::handshake_failed();
            tracing::info!(%remote, %error, "handshake failed");
            return;
        }
    };
    metrics::connections(1.0);
    serve_requests(connection, service, stopping).await;
    metrics::connections(-1.0);
}

async fn serve_requests(
    mut connection: Connection,
    service: Service,
    mut stopping: watch::Receiver<bool>,
) {
    let remote = connection.remote();
    let peer = connection.peer().cloned();
    tracing::debug!(%remote, ?peer, "connected");
    let mut draining = false;
    // Requests outlive a cancelled accept loop no longer than the connection does.
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Ok(Some((request, responder))) => {
                    let (service, peer) = (service.clone(), peer.clone());
                    requests.spawn(async move {
                        let reply = service.answer(peer.as_ref(), request).await;
                        if let Err(error) = responder.send(reply).await {
                            tracing::debug!(%error, "reply not delivered");
                        }
                    });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(%remote, %error, "connection lost");
                    break;
                }
            },
            () = stop_asked(&mut stopping), if !draining => {
                draining = true;
                if connection.shutdown().await.is_err() {
                    break;
                }
            }
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
        }
    }
}

async fn stop_asked(stopping: &mut watch::Receiver<bool>) {
    // The sender lives as long as the aggregator does; without it nobody is left to ask.
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}
