//! A certificate authority in a temporary directory, and an HTTP/3 server that answers with a handler.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use tempfile::TempDir;
use transport::certs::{self, CertFiles};
use transport::h3client::{self, ClientOptions};
use transport::h3server::{Endpoint, Responder};
use transport::{
    ClientAuth, ClientTls, H3Error, Identity, QuicLimits, RecvBody, ServerTls, TrustRoots,
};

pub type Body = BoxBody<Bytes, H3Error>;

pub struct Pki {
    pub dir: TempDir,
    pub ca: CertFiles,
}

impl Pki {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = certs::make_ca(dir.path(), "Test authority").unwrap();
        Self { dir, ca }
    }

    pub fn roots(&self) -> TrustRoots {
        TrustRoots::load(&self.ca.cert).unwrap()
    }

    pub fn server(&self, auth: ClientAuth) -> ServerTls {
        let files = certs::issue_server(
            &self.ca,
            self.dir.path(),
            "server",
            &["localhost", "127.0.0.1"],
        )
        .unwrap();
        ServerTls::new(Identity::load(&files.cert, &files.key).unwrap(), auth, &[])
    }

    pub fn site(&self, site: &str) -> Identity {
        let files = certs::issue_client(&self.ca, self.dir.path(), site).unwrap();
        Identity::load(&files.cert, &files.key).unwrap()
    }

    pub fn client(&self, identity: Option<Identity>) -> ClientTls {
        ClientTls::new(self.roots(), identity, &[])
    }
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

pub async fn connect(addr: SocketAddr, tls: &ClientTls) -> Result<h3client::Connection, H3Error> {
    h3client::Connection::connect(addr, "localhost", tls, ClientOptions::default()).await
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(format!("https://localhost{path}"))
        .body(full(""))
        .unwrap()
}

pub fn post(path: &str, body: Body) -> Request<Body> {
    Request::post(format!("https://localhost{path}"))
        .body(body)
        .unwrap()
}

/// A server that hands each request to `handler`, in a task of its own.
pub struct Server {
    pub addr: SocketAddr,
}

impl Server {
    pub fn start<F, Fut>(tls: &ServerTls, limits: QuicLimits, handler: F) -> Self
    where
        F: Fn(Request<RecvBody>, Responder) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let endpoint = Endpoint::bind(loopback(), tls, limits).unwrap();
        let addr = endpoint.local_addr().unwrap();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let handler = handler.clone();
                tokio::spawn(async move {
                    let Ok(mut connection) = incoming.handshake().await else {
                        return;
                    };
                    while let Ok(Some((request, responder))) = connection.accept().await {
                        tokio::spawn(handler(request, responder));
                    }
                });
            }
        });
        Self { addr }
    }

    /// Sends every body back as it comes.
    pub fn echo(tls: &ServerTls, limits: QuicLimits) -> Self {
        Self::start(tls, limits, |request, responder| async move {
            let _ = responder.send(Response::new(request.into_body())).await;
        })
    }
}
