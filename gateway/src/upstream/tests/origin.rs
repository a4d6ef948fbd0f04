//! Small origins for the tests: one that behaves by its path, over hyper or by hand, and one that never says a word.

use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transport::certs;
use transport::tcp::TlsAcceptor;
use transport::tls::{ClientAuth, Identity, Protocol, ServerTls};

type OriginBody = BoxBody<Bytes, hyper::Error>;

/// An origin on a port of its own; it ends with the test's runtime.
pub struct Origin {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    unhealthy: AtomicBool,
}

/// A certificate authority in a temporary folder.
pub struct Ca {
    dir: tempfile::TempDir,
    files: certs::CertFiles,
}

impl Ca {
    pub fn make() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let files = certs::make_ca(dir.path(), "test").expect("an authority");
        Self { dir, files }
    }

    pub fn path(&self) -> PathBuf {
        self.files.cert.clone()
    }
}

/// A port that was free a moment ago: nobody listens there.
pub async fn unused_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Origin {
    pub async fn start() -> Self {
        Self::serve(serve_plain).await
    }

    /// Accepts, and says nothing.
    pub async fn silent() -> Self {
        Self::serve(|stream, _| async move {
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop(stream);
        })
        .await
    }

    pub async fn start_tls(ca: &Ca, name: &str) -> Self {
        let files = certs::issue_server(&ca.files, ca.dir.path(), "origin", &[name])
            .expect("a certificate");
        let identity = Identity::load(&files.cert, &files.key).expect("an identity");
        let tls = ServerTls::new(
            identity,
            ClientAuth::None,
            &[Protocol::Http2, Protocol::Http1],
        );
        let acceptor = TlsAcceptor::new(&tls).expect("TLS settings");
        Self::serve(move |stream, state| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_http(stream, state).await;
                }
            }
        })
        .await
    }

    async fn serve<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream, Arc<State>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        let theirs = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                theirs.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, theirs.clone()));
            }
        });
        Self { port, state }
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub fn set_healthy(&self, healthy: bool) {
        self.state.unhealthy.store(!healthy, Ordering::SeqCst);
    }
}

/// Looks at the path before hyper does: some answers no server library would write.
async fn serve_plain(stream: TcpStream, state: Arc<State>) {
    let mut start = [0; 32];
    let Ok(seen) = stream.peek(&mut start).await else {
        return;
    };
    let start = String::from_utf8_lossy(&start[..seen]).into_owned();
    let path = start.split(' ').nth(1).unwrap_or("").to_owned();
    if by_hand(&path) {
        misbehave(stream, &path).await
    } else {
        serve_http(stream, state).await
    }
}

fn by_hand(path: &str) -> bool {
    matches!(
        path,
        "/close" | "/reset" | "/not-http" | "/huge-head" | "/short" | "/reset-body" | "/then-close"
    )
}

async fn misbehave(mut stream: TcpStream, path: &str) {
    // The whole (small) request first, so that closing resets nothing that the test does not want reset.
    let mut request = vec![0; 4096];
    if stream.read(&mut request).await.is_err() {
        return;
    }
    let mut answer = Vec::new();
    let written = match path {
        "/not-http" => write!(answer, "220 smtp.test ESMTP\r\n\r\n"),
        "/huge-head" => write!(
            answer,
            "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
            "a".repeat(200_000)
        ),
        "/short" | "/reset-body" => write!(
            answer,
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"
        ),
        // Keep-alive is promised and not kept.
        "/then-close" => write!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbye"),
        _ => Ok(()),
    };
    written.expect("memory takes it all");
    // The peer may have seen enough before the end.
    let _unread = stream.write_all(&answer).await;
    if path.starts_with("/reset") {
        // Closing with unread input or linger zero sends RST.
        stream.set_zero_linger().expect("a socket option");
    }
}

async fn serve_http<S>(stream: S, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| answer(request, state.clone()));
    let served = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A gateway that drops its connection is part of several tests.
    drop(served);
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<OriginBody>, Infallible> {
    let path = request.uri().path().to_owned();
    let response = match path.as_str() {
        "/hello" => text("hello".into()),
        "/head" => head_of(&request),
        "/empty" => status(StatusCode::NO_CONTENT),
        "/fail" => status(StatusCode::INTERNAL_SERVER_ERROR),
        "/health" if state.unhealthy.load(Ordering::SeqCst) => {
            status(StatusCode::SERVICE_UNAVAILABLE)
        }
        "/health" => status(StatusCode::OK),
        "/echo" => Response::new(request.into_body().boxed()),
        "/count" => match request.into_body().collect().await {
            Ok(body) => text(body.to_bytes().len().to_string()),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "/endless" => {
            let first =
                futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"a while")))]);
            let body = StreamBody::new(first.chain(futures_util::stream::pending()));
            Response::new(BodyExt::boxed(body))
        }
        "/silent" => std::future::pending().await,
        _ => status(StatusCode::NOT_FOUND),
    };
    Ok(response)
}

/// What arrived, and a response with fields that must not be passed on.
fn head_of(request: &Request<Incoming>) -> Response<OriginBody> {
    let header = |name: &str| {
        let value = request
            .headers()
            .get(name)
            .map(|value| value.as_bytes().to_vec());
        String::from_utf8(value.unwrap_or_default()).expect("text")
    };
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.unwrap_or_else(|| header("host"));
    let line = format!(
        "{} {} {:?} host={host} x-hop={}",
        request.method(),
        request
            .uri()
            .path_and_query()
            .map_or("", |path| path.as_str()),
        request.version(),
        header("x-hop"),
    );
    let mut response = text(line);
    response
        .headers_mut()
        .insert("x-from-origin", "1".parse().expect("a value"));
    if request.version() == http::Version::HTTP_11 {
        for (name, value) in [
            ("connection", "x-origin-hop"),
            ("keep-alive", "timeout=5"),
            ("x-origin-hop", "1"),
        ] {
            response
                .headers_mut()
                .insert(name, value.parse().expect("a value"));
        }
    }
    response
}

fn text(text: String) -> Response<OriginBody> {
    Response::new(
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed(),
    )
}

fn status(status: StatusCode) -> Response<OriginBody> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}
