//! Opens connections to one endpoint: name, TCP, TLS, HTTP handshake, all within one deadline.

use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use transport::tcp::TlsConnector;
use transport::tls::Protocol;

use super::fault;
use crate::body::Body;
use crate::error::ProxyError;

/// A response's header section may be this large, and this many fields: four times what the listeners let in.
const MAX_HEADER_BYTES: usize = 128 * 1024;
const MAX_HEADERS: usize = 256;

/// What one HTTP/2 response may have in flight before this side reads it; the connection has room for sixteen such.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// An HTTP/2 connection that does not answer a PING for so long is given up: it may have died without a word.
const H2_KEEP_ALIVE: Duration = Duration::from_secs(20);
const H2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// At most this many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// How to speak to an endpoint.
#[derive(Clone)]
pub enum Speech {
    /// HTTP/1.1 in the clear.
    H1,
    /// TLS; ALPN decides between HTTP/2 and HTTP/1.1.
    Tls {
        connector: TlsConnector,
        server_name: String,
    },
}

/// One open connection's sending end. Dropping the last one closes the connection.
pub enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

/// Where and how to connect.
pub struct Connector {
    pub host: String,
    pub port: u16,
    /// `host:port`, for messages.
    pub address: String,
    pub speech: Speech,
    pub connect_timeout: Duration,
}

impl Connector {
    pub fn is_tls(&self) -> bool {
        matches!(self.speech, Speech::Tls { .. })
    }

    /// Opens a connection; its driver runs as a task of its own until it closes.
    pub async fn open(&self, deadline: Option<Instant>) -> Result<Sender, ProxyError> {
        let begun = Instant::now();
        let own = super::after(begun, self.connect_timeout);
        let until = deadline.map_or(own, |deadline| deadline.min(own));
        match timeout_at(until, self.connect()).await {
            Ok(opened) => opened,
            Err(_) => Err(fault::connect_timeout(&self.address, until - begun)),
        }
    }

    async fn connect(&self) -> Result<Sender, ProxyError> {
        let stream = self.dial().await?;
        match &self.speech {
            Speech::H1 => self.start_h1(stream).await,
            Speech::Tls {
                connector,
                server_name,
            } => {
                let stream = connector
                    .connect(server_name, stream)
                    .await
                    .map_err(|error| fault::of_tls(error, &self.address))?;
                match stream.alpn() {
                    Some(Protocol::Http2) => self.start_h2(stream).await,
                    Some(Protocol::Http1 | Protocol::Http3) | None => self.start_h1(stream).await,
                }
            }
        }
    }

    /// The addresses of the name in order, each until one answers.
    async fn dial(&self) -> Result<TcpStream, ProxyError> {
        let found = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| fault::of_lookup(error, &self.address))?;
        let mut last = None;
        for address in found.take(MAX_ADDRESSES) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A request is written in one go; waiting to fill a packet would only delay it.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY was refused");
                    }
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into());
        Err(fault::of_connect(error, &self.address))
    }

    async fn start_h1<S>(&self, stream: S) -> Result<Sender, ProxyError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| fault::of_exchange(error, &self.address, fault::Progress::Unsent))?;
        self.drive(connection);
        Ok(Sender::H1(sender))
    }

    async fn start_h2<S>(&self, stream: S) -> Result<Sender, ProxyError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .keep_alive_interval(H2_KEEP_ALIVE)
            .keep_alive_timeout(H2_KEEP_ALIVE_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| fault::of_exchange(error, &self.address, fault::Progress::Unsent))?;
        self.drive(connection);
        Ok(Sender::H2(sender))
    }

    fn drive<C>(&self, connection: C)
    where
        C: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let address = self.address.clone();
        tokio::spawn(async move {
            // Whoever waits for a response on it learns of the error too; this is for those who read debug logs.
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "upstream connection ended");
            }
        });
    }
}
