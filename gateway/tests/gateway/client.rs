//! Clients: HTTP/1.1, HTTP/2 and HTTP/3 the same way, and raw bytes for what no client would send.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::tcp::TlsConnector;
use transport::tls::{ClientTls, Protocol, TrustRoots};
use transport::{h3client, tls};
use veilgate::body::Body;

use crate::site::PATIENCE;

pub enum Connection {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
    H3(h3client::Connection),
}

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }
}

impl Connection {
    pub async fn plain(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connected");
        Self::h1(TokioIo::new(stream)).await
    }

    /// Over TLS (or QUIC), with the certificates of the folder.
    pub async fn encrypted(addr: SocketAddr, folder: &Path, protocol: Protocol) -> Self {
        let roots = TrustRoots::load(&folder.join("ca.pem")).expect("an authority");
        let tls = ClientTls::new(roots, None, &[protocol]);
        if protocol == tls::Protocol::Http3 {
            let connector = h3client::Connector::new(&tls, Default::default()).expect("a socket");
            return Self::H3(
                connector
                    .connect(addr, "localhost")
                    .await
                    .expect("connected"),
            );
        }
        let stream = TcpStream::connect(addr).await.expect("connected");
        let stream = TlsConnector::new(&tls)
            .expect("settings")
            .connect("localhost", stream)
            .await
            .expect("a handshake");
        assert_eq!(stream.alpn(), Some(protocol));
        match protocol {
            Protocol::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                        .await
                        .expect("a handshake");
                tokio::spawn(connection);
                Self::H2(sender)
            }
            _ => Self::h1(TokioIo::new(stream)).await,
        }
    }

    async fn h1<I>(io: I) -> Self
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(io).await.expect("a handshake");
        tokio::spawn(connection);
        Self::H1(sender)
    }

    /// Sends a request and returns as soon as the response's head is there.
    pub async fn head(&mut self, mut request: Request<Body>) -> Response<Body> {
        let sending = async {
            match self {
                Self::H1(sender) => {
                    // The connection's task may not have noticed yet that the answer before was read.
                    sender.ready().await.expect("an open connection");
                    request
                        .headers_mut()
                        .entry("host")
                        .or_insert("localhost".parse().expect("a host"));
                    sender
                        .send_request(request)
                        .await
                        .expect("a response")
                        .map(Body::incoming)
                }
                Self::H2(sender) => sender
                    .send_request(absolute(request))
                    .await
                    .expect("a response")
                    .map(Body::incoming),
                Self::H3(connection) => connection
                    .send(absolute(request))
                    .await
                    .map_err(|_| "h3")
                    .expect("a response")
                    .map(Body::wrap),
            }
        };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .expect("a response in time")
    }

    pub async fn send(&mut self, request: Request<Body>) -> Reply {
        let (parts, body) = self.head(request).await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .expect("a body in time")
            .expect("a whole body");
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        }
    }

    pub async fn fetch(&mut self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).expect("a request"))
            .await
    }
}

fn absolute(mut request: Request<Body>) -> Request<Body> {
    let path = request.uri().path_and_query().expect("a path").to_string();
    *request.uri_mut() = format!("https://localhost{path}").parse().expect("a URI");
    request
}

pub async fn fetch(addr: SocketAddr, path: &str) -> Reply {
    Connection::plain(addr).await.fetch(path).await
}

/// Sends bytes, and reads until the gateway closes the connection or what came ends with a whole answer.
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    read_to_end(&mut stream).await
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset instead of an orderly end is an end, too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the gateway closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}
