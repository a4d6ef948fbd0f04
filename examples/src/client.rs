//! A client of a gateway over HTTP/1.1, HTTP/2 and HTTP/3, with the time that each answer took.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use transport::h3client;
use transport::tcp::TlsConnector;
use transport::{ClientTls, Protocol, TrustRoots};

/// The name that the gateway's certificate carries, and that requests ask for.
const SERVER_NAME: &str = "localhost";
/// A story never reads a longer answer; a longer one is an error, not memory.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// An answer that takes longer has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What went wrong with a request, in words.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// With the causes behind it, outermost first.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        Self(
            causes
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": "),
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

macro_rules! from_errors {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        }
    )*};
}

from_errors!(
    hyper::Error,
    http::Error,
    std::io::Error,
    tokio::time::error::Elapsed,
    tokio::task::JoinError,
    transport::H3Error,
    transport::TlsError,
    transport::SendError<std::convert::Infallible>,
);

impl From<Box<dyn std::error::Error + Send + Sync>> for Error {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::of(&*error)
    }
}

/// Names and values of extra header fields.
pub type Headers<'a> = &'a [(&'a str, &'a str)];
type SentBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;
type AnswerBody = UnsyncBoxBody<Bytes, Error>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    H1,
    H2,
    H3,
}

impl Version {
    pub const ALL: [Self; 3] = [Self::H1, Self::H2, Self::H3];
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::H1 => "HTTP/1.1",
            Self::H2 => "HTTP/2",
            Self::H3 => "HTTP/3",
        })
    }
}

/// Where the gateway is and whom to trust; makes connections.
#[derive(Clone)]
pub struct Client {
    gateway: SocketAddr,
    roots: TrustRoots,
}

/// One open connection. A clone shares it, if the protocol carries several requests at once.
pub struct Connection {
    sender: Sender,
    authority: Arc<str>,
}

enum Sender {
    H1(http1::SendRequest<SentBody>),
    H2(http2::SendRequest<SentBody>),
    H3(Arc<h3client::Connection>),
}

/// An answer, read to its end.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub took: Duration,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl Client {
    /// `ca`: the PEM file of the authority that signed the gateway's certificate.
    pub fn new(gateway: SocketAddr, ca: &Path) -> Result<Self, Error> {
        Ok(Self {
            gateway,
            roots: TrustRoots::load(ca)?,
        })
    }

    pub async fn connect(&self, version: Version) -> Result<Connection, Error> {
        let sender = match version {
            Version::H1 => {
                let (sender, connection) =
                    http1::handshake(TokioIo::new(self.tls(Protocol::Http1).await?)).await?;
                tokio::spawn(connection);
                Sender::H1(sender)
            }
            Version::H2 => {
                let io = TokioIo::new(self.tls(Protocol::Http2).await?);
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Sender::H2(sender)
            }
            Version::H3 => {
                let tls = ClientTls::new(self.roots.clone(), None, &[]);
                let options = h3client::ClientOptions::default();
                let connection =
                    h3client::Connection::connect(self.gateway, SERVER_NAME, &tls, options).await?;
                Sender::H3(Arc::new(connection))
            }
        };
        let authority = format!("{SERVER_NAME}:{}", self.gateway.port()).into();
        Ok(Connection { sender, authority })
    }

    async fn tls(&self, protocol: Protocol) -> Result<transport::tcp::TlsStream, Error> {
        let connector = TlsConnector::new(&ClientTls::new(self.roots.clone(), None, &[protocol]))?;
        let stream = TcpStream::connect(self.gateway).await?;
        stream.set_nodelay(true)?;
        let stream = connector.connect(SERVER_NAME, stream).await?;
        if stream.alpn() != Some(protocol) {
            return Err(Error::new(format!(
                "the gateway did not agree to {protocol:?} (it chose {:?})",
                stream.alpn()
            )));
        }
        Ok(stream)
    }
}

impl Connection {
    /// A second handle on the same connection; `None` for HTTP/1.1, which carries one request at a time.
    pub fn share(&self) -> Option<Self> {
        let sender = match &self.sender {
            Sender::H1(_) => return None,
            Sender::H2(sender) => Sender::H2(sender.clone()),
            Sender::H3(connection) => Sender::H3(Arc::clone(connection)),
        };
        Some(Self {
            sender,
            authority: Arc::clone(&self.authority),
        })
    }

    pub fn get<'a>(
        &'a mut self,
        path: &str,
        headers: Headers<'_>,
    ) -> impl Future<Output = Result<Reply, Error>> + Send + use<'a> {
        let began = Instant::now();
        let request = self.request(Method::GET, path, headers, Empty::new().boxed_unsync());
        async move { self.exchange(request?, began).await }
    }

    pub fn post<'a>(
        &'a mut self,
        path: &str,
        body: &str,
        headers: Headers<'_>,
    ) -> impl Future<Output = Result<Reply, Error>> + Send + use<'a> {
        let began = Instant::now();
        let body = Full::from(body.to_owned()).boxed_unsync();
        let request = self.request(Method::POST, path, headers, body);
        async move { self.exchange(request?, began).await }
    }

    pub fn post_bytes<'a>(
        &'a mut self,
        path: &str,
        body: Bytes,
        headers: Headers<'_>,
    ) -> impl Future<Output = Result<Reply, Error>> + Send + use<'a> {
        let began = Instant::now();
        let body = Full::from(body).boxed_unsync();
        let request = self.request(Method::POST, path, headers, body);
        async move { self.exchange(request?, began).await }
    }

    /// Reads a streamed answer: how many pieces came, and the time between the first and the last.
    pub async fn stream(&mut self, path: &str) -> Result<(usize, Duration), Error> {
        let request = self.request(Method::GET, path, &[], Empty::new().boxed_unsync())?;
        let mut body = self.send(request).await?.into_body();
        let (mut pieces, mut first, mut last) = (0, None, Instant::now());
        while let Some(frame) = body.frame().await {
            if frame?.is_data() {
                pieces += 1;
                last = Instant::now();
                first.get_or_insert(last);
            }
        }
        Ok((pieces, last.duration_since(first.unwrap_or(last))))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: SentBody,
    ) -> Result<Request<SentBody>, Error> {
        let mut request = Request::builder().method(method);
        request = match &self.sender {
            Sender::H1(_) => request
                .uri(path)
                .header(http::header::HOST, &*self.authority),
            Sender::H2(_) | Sender::H3(_) => {
                request.uri(format!("https://{}{path}", self.authority))
            }
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.body(body)?)
    }

    async fn exchange(
        &mut self,
        request: Request<SentBody>,
        began: Instant,
    ) -> Result<Reply, Error> {
        tokio::time::timeout(ANSWER_TIMEOUT, async {
            let (parts, body) = self.send(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await?
                .to_bytes();
            Ok(Reply {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
                took: began.elapsed(),
            })
        })
        .await?
    }

    async fn send(&mut self, request: Request<SentBody>) -> Result<Response<AnswerBody>, Error> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                Ok(sender
                    .send_request(request)
                    .await?
                    .map(|body| body.map_err(Error::from).boxed_unsync()))
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                Ok(sender
                    .send_request(request)
                    .await?
                    .map(|body| body.map_err(Error::from).boxed_unsync()))
            }
            Sender::H3(connection) => Ok(connection
                .send(request)
                .await?
                .map(|body| body.map_err(Error::from).boxed_unsync())),
        }
    }
}

/// GET over plain HTTP/1.1 (the admin listener, or the upstream itself).
pub async fn plain_get(address: SocketAddr, path: &str) -> Result<Reply, Error> {
    let began = Instant::now();
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    let running = tokio::spawn(connection);
    let request = Request::get(path)
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await?
        .to_bytes();
    running.abort();
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
        took: began.elapsed(),
    })
}

/// Whether a GET is answered 200; anything else, a refused connection too, is no.
pub async fn plain_ok(address: SocketAddr, path: &str) -> bool {
    tokio::time::timeout(Duration::from_secs(2), plain_get(address, path))
        .await
        .is_ok_and(|reply| reply.is_ok_and(|r| r.status == 200))
}
