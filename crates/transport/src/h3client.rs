//! The HTTP/3 client end: one connection, many requests at once, bodies streaming both ways.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h3::error::StreamError;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use quinn::VarInt;
use quinn::crypto::rustls::QuicClientConfig;

use crate::body::{RecvBody, Upload, content_length};
use crate::error::{BindError, H3Error, Reset, SendError, TlsError};
use crate::h3server::udp_socket;
use crate::limits::{self, Congestion, Windows};
use crate::quic::{Opener, QuicConnection, SendStream, WireStats};
use crate::quic_error::{self, NO_ERROR};
use crate::tls::ClientTls;

/// How a client's connections behave.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub congestion: Congestion,
    /// A connection silent for so long is given up.
    pub idle_timeout: Duration,
    /// Pings at this interval keep a quiet connection (and the NATs on its path) alive.
    pub keep_alive: Option<Duration>,
    pub connect_timeout: Duration,
    /// Bytes in flight towards us per stream.
    pub stream_window: u32,
    /// The same for the connection as a whole.
    pub connection_window: u32,
    /// Bytes that we hold until they are acknowledged.
    pub send_window: u64,
    /// Largest field section of a response.
    pub max_field_section: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            congestion: Congestion::Cubic,
            idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            connect_timeout: Duration::from_secs(10),
            stream_window: 1 << 20,
            connection_window: 8 << 20,
            send_window: 8 << 20,
            max_field_section: 32 << 10,
        }
    }
}

/// Opens connections from one UDP socket. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    v4: quinn::Endpoint,
    v6: Option<quinn::Endpoint>,
    config: quinn::ClientConfig,
    options: ClientOptions,
}

impl Connector {
    pub fn new(tls: &ClientTls, options: ClientOptions) -> Result<Self, BindError> {
        let crypto = QuicClientConfig::try_from(tls.quic_config()?)
            .map_err(|error| TlsError::Settings(error.to_string()))?;
        let windows = Windows {
            stream: options.stream_window,
            connection: options.connection_window,
            send: options.send_window,
        };
        let mut transport = limits::base(&windows, options.idle_timeout, options.congestion)?;
        // A server has no business opening request streams (RFC 9114, section 6.1).
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .keep_alive_interval(options.keep_alive);
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let v4 = client_endpoint((Ipv4Addr::UNSPECIFIED, 0).into())?;
        // A machine may have no IPv6 at all; then only IPv4 servers can be reached.
        let v6 = client_endpoint((Ipv6Addr::UNSPECIFIED, 0).into()).ok();
        Ok(Self {
            v4,
            v6,
            config,
            options,
        })
    }

    /// Connects and does all handshakes; `server_name` must be in the server's certificate.
    pub async fn connect(
        &self,
        addr: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, H3Error> {
        let limit = self.options.connect_timeout;
        match tokio::time::timeout(limit, self.handshake(addr, server_name)).await {
            Ok(result) => result,
            Err(_) => Err(H3Error::ConnectTimeout {
                addr,
                seconds: limit.as_secs(),
            }),
        }
    }

    async fn handshake(&self, addr: SocketAddr, server_name: &str) -> Result<Connection, H3Error> {
        let endpoint = match addr {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => self
                .v6
                .as_ref()
                .ok_or_else(|| internal("this machine has no IPv6"))?,
        };
        let connecting = endpoint
            .connect_with(self.config.clone(), addr, server_name)
            .map_err(|error| internal(&error.to_string()))?;
        let quic = connecting
            .await
            .map_err(|error| match quic_error::closed(error, None) {
                H3Error::IdleTimeout => H3Error::ConnectTimeout {
                    addr,
                    seconds: self.options.idle_timeout.as_secs(),
                },
                other => other,
            })?;
        let max_field_section = self.options.max_field_section;
        let wrapped = QuicConnection::client(quic.clone(), max_field_section);
        let (driver, requests) = h3::client::builder()
            .max_field_section_size(max_field_section)
            .send_grease(false)
            .build::<_, Opener, Bytes>(wrapped)
            .await
            .map_err(|error| quic_error::connection(error, &quic))?;
        Ok(Connection::start(driver, requests, quic, endpoint.clone()))
    }

    /// Waits until every connection has ended and said so.
    pub async fn wait_idle(&self) {
        self.v4.wait_idle().await;
        if let Some(v6) = &self.v6 {
            v6.wait_idle().await;
        }
    }
}

fn internal(reason: &str) -> H3Error {
    H3Error::Internal {
        reason: reason.to_owned(),
    }
}

fn client_endpoint(addr: SocketAddr) -> Result<quinn::Endpoint, BindError> {
    let bind = |source| BindError::Socket { addr, source };
    let socket = udp_socket(addr).map_err(bind)?;
    quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        None,
        socket,
        Arc::new(quinn::TokioRuntime),
    )
    .map_err(bind)
}

/// A connection to a server. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    requests: h3::client::SendRequest<Opener, Bytes>,
    quic: quinn::Connection,
    going_away: AtomicBool,
    endpoint: quinn::Endpoint,
}

impl Connection {
    /// Connects from a socket of its own. For many connections, use one [`Connector`].
    pub async fn connect(
        addr: SocketAddr,
        server_name: &str,
        tls: &ClientTls,
        options: ClientOptions,
    ) -> Result<Self, H3Error> {
        let connector =
            Connector::new(tls, options).map_err(|error| internal(&error.to_string()))?;
        connector.connect(addr, server_name).await
    }

    fn start(
        mut driver: h3::client::Connection<QuicConnection, Bytes>,
        requests: h3::client::SendRequest<Opener, Bytes>,
        quic: quinn::Connection,
        endpoint: quinn::Endpoint,
    ) -> Self {
        let seen = quic.clone();
        tokio::spawn(async move {
            let end = driver.wait_idle().await;
            tracing::debug!(%end, remote = %seen.remote_address(), "connection ended");
        });
        Self {
            shared: Arc::new(Shared {
                requests,
                quic,
                going_away: AtomicBool::new(false),
                endpoint,
            }),
        }
    }

    /// Sends a request and waits for the response's head. The request's body goes on streaming while the response's
    /// is read; dropping the response cancels what is left of both.
    pub async fn send<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<RecvBody>, SendError<B::Error>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let mut requests = self.shared.requests.clone();
        let opened = requests.send_request(Request::from_parts(parts, ())).await;
        let stream = opened.map_err(|error| self.error(error))?;
        let (send, mut recv) = stream.split();
        let mut upload = Box::pin(send_body(send, body, self.clone()));
        let mut rest = None;
        let head = {
            let mut response = pin!(recv.recv_response());
            tokio::select! {
                biased;
                uploaded = &mut upload => {
                    uploaded?;
                    response.await
                }
                head = &mut response => {
                    rest = Some(upload);
                    head
                }
            }
        };
        let head = head.map_err(|error| self.error(error))?;
        let rest = rest.map(|upload| {
            Upload(tokio::spawn(async move {
                if let Err(SendError::H3(error)) = upload.await {
                    tracing::debug!(%error, "the rest of a request's body was not sent");
                }
            }))
        });
        let declared = match (method, head.status()) {
            // Such responses have no content, whatever length they declare (RFC 9110, section 6.4.1).
            (Method::HEAD, _) | (_, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => None,
            _ => content_length(head.headers()),
        };
        let mut body = RecvBody::client(recv, self.shared.quic.clone(), declared, rest);
        body.peek().await?;
        Ok(head.map(|()| body))
    }

    fn error(&self, error: StreamError) -> H3Error {
        if matches!(error, StreamError::RemoteClosing { .. }) {
            self.shared.going_away.store(true, Ordering::Relaxed);
        }
        quic_error::stream(error, &self.shared.quic)
    }

    /// Whether new requests are pointless: closed, or the server has said that it is going away.
    pub fn is_closed(&self) -> bool {
        self.shared.going_away.load(Ordering::Relaxed) || self.shared.quic.close_reason().is_some()
    }

    /// Waits until the connection is closed, by whichever end.
    pub async fn closed(&self) -> H3Error {
        quic_error::closed(self.shared.quic.closed().await, None)
    }

    /// The server's address.
    pub fn remote(&self) -> SocketAddr {
        self.shared.quic.remote_address()
    }

    /// Bytes on the wire so far.
    pub fn wire_stats(&self) -> WireStats {
        WireStats::of(&self.shared.quic)
    }

    /// Closes at once; requests in flight fail.
    pub fn close(&self) {
        self.shared
            .quic
            .close(VarInt::from_u32(NO_ERROR as u32), b"");
    }

    /// Closes, and waits until the server has been told.
    pub async fn close_and_wait(self) {
        self.close();
        let endpoint = self.shared.endpoint.clone();
        drop(self);
        // Enough for the closing packet; the server's silence must not hold us.
        let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    }
}

async fn send_body<B>(
    mut stream: h3::client::RequestStream<SendStream, Bytes>,
    body: B,
    connection: Connection,
) -> Result<(), SendError<B::Error>>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                stream.stop_stream(h3::error::Code::from(Reset::Cancelled.code()));
                return Err(SendError::Body(error));
            }
        };
        let sent = match frame.into_data() {
            Ok(data) if data.is_empty() => Ok(()),
            Ok(data) => stream.send_data(data).await,
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => stream.send_trailers(trailers).await,
                Err(_) => Ok(()),
            },
        };
        match sent {
            Ok(()) => {}
            // The server wants no more of the body: its response says why (RFC 9114, section 4.1).
            Err(StreamError::RemoteTerminate { .. }) => return Ok(()),
            Err(error) => return Err(connection.error(error).into()),
        }
    }
    match stream.finish().await {
        Ok(()) | Err(StreamError::RemoteTerminate { .. }) => Ok(()),
        Err(error) => Err(connection.error(error).into()),
    }
}
