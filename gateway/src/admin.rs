//! The admin listener: health, readiness, metrics, status, purging the cache. Never on the listeners of the traffic; plain HTTP/1.1, so keep it on
//! loopback or behind something that asks who is there.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

mod programs;

pub use programs::ProgramDesk;

use crate::drain::{Phase, Signal, Tally};
use crate::telemetry::MetricsHandle;

/// Operators, probes and scrapers: a handful.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The one path for POST.
const RELOAD: &str = "/policies/reload";
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether all is well, and what became of each policy.
pub type Reloading = Pin<Box<dyn Future<Output = (bool, serde_json::Value)> + Send>>;

/// What the admin listener can tell, and the one thing that it can do.
pub trait Outlook: Send + Sync {
    fn is_ready(&self) -> bool;
    /// Everything that an operator wants to see at a glance.
    fn status(&self) -> serde_json::Value;
    /// Drops what is stored under this tag; how many responses that were. `None`: there is no cache.
    fn purge(&self, _tag: &str) -> Option<usize> {
        None
    }
    /// Programs of encrypted scoring. `None`: there is no [fhe].
    fn programs(&self) -> Option<&dyn ProgramDesk> {
        None
    }
    /// Sets the gauges that are read, not counted, before metrics are rendered.
    fn before_scrape(&self) {}
    /// Takes policies' modules that changed.
    fn reload(&self) -> Reloading;
}

/// The admin listener, listening.
pub struct Admin {
    pub addr: SocketAddr,
    listener: TcpListener,
    metrics: Option<MetricsHandle>,
}

impl Admin {
    pub async fn bind(addr: SocketAddr, metrics: Option<MetricsHandle>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Self {
            addr: listener.local_addr()?,
            listener,
            metrics,
        })
    }

    /// Serves until the stop is complete: probes must see a gateway that drains.
    pub async fn run(self, outlook: Arc<dyn Outlook>, mut signal: Signal) {
        let tally = Tally::new(MAX_CONNECTIONS);
        let metrics = Arc::new(self.metrics);
        loop {
            let accepted = tokio::select! {
                () = signal.reached(Phase::Over) => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, ticket) = match (accepted, tally.enter()) {
                (Ok((stream, _)), Some(ticket)) => (stream, ticket),
                (Ok(_), None) => continue,
                (Err(error), _) => {
                    tracing::warn!(%error, "the admin listener could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (outlook, metrics, mut signal) = (outlook.clone(), metrics.clone(), signal.clone());
            tokio::spawn(async move {
                let _ticket = ticket;
                let service = service_fn(|request: Request<Incoming>| {
                    let (outlook, metrics) = (outlook.clone(), metrics.clone());
                    async move {
                        let response = match (request.method(), request.uri().path()) {
                            (&Method::POST | &Method::PUT | &Method::DELETE, _)
                                if is_from_page(&request) =>
                            {
                                text(StatusCode::FORBIDDEN, "not from a web page\n")
                            }
                            (_, path) if programs::is_here(path) => {
                                programs::answer(request, outlook).await
                            }
                            (&Method::POST, RELOAD) => reload(outlook.as_ref()).await,
                            _ => answer(&request, outlook.as_ref(), metrics.as_ref().as_ref()),
                        };
                        Ok::<_, Infallible>(response)
                    }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = connection => {}
                    () = signal.reached(Phase::Over) => {}
                }
            });
        }
    }
}

/// A browser names the page that a request comes from: no page is to reach through to what changes something here.
fn is_from_page<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(ORIGIN)
}

/// 200 if every module that changed serves now; 422 if one was refused.
async fn reload(outlook: &dyn Outlook) -> Response<Full<Bytes>> {
    let (well, report) = outlook.reload().await;
    let mut response = typed(StatusCode::OK, "application/json", format!("{report:#}\n"));
    if !well {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

fn answer<B>(
    request: &Request<B>,
    outlook: &dyn Outlook,
    metrics: Option<&MetricsHandle>,
) -> Response<Full<Bytes>> {
    if request.uri().path() == "/cache/purge" {
        return purge(request, outlook);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD, and POST /policies/reload and /cache/purge\n",
        );
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if outlook.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" => match metrics {
            Some(metrics) => {
                outlook.before_scrape();
                typed(
                    StatusCode::OK,
                    MetricsHandle::CONTENT_TYPE,
                    metrics.render(),
                )
            }
            None => text(
                StatusCode::NOT_FOUND,
                "this process has no metrics recorder\n",
            ),
        },
        "/status" => typed(
            StatusCode::OK,
            "application/json",
            format!("{:#}\n", outlook.status()),
        ),
        "/" => text(
            StatusCode::OK,
            "/healthz /readyz /metrics /status /cache/purge /fhe/programs\n",
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "there is /healthz, /readyz, /metrics, /status, /cache/purge and /fhe/programs\n",
        ),
    }
}

/// `POST /cache/purge?tag=…`, the tag as forms write it; several tags are several parameters.
fn purge<B>(request: &Request<B>, outlook: &dyn Outlook) -> Response<Full<Bytes>> {
    if *request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    let query = request.uri().query().unwrap_or_default();
    let mut tags = form_urlencoded::parse(query.as_bytes()).peekable();
    if tags.peek().is_none()
        || !tags
            .clone()
            .all(|(key, tag)| key == "tag" && !tag.is_empty())
    {
        return text(
            StatusCode::BAD_REQUEST,
            "say what to purge: /cache/purge?tag=NAME\n",
        );
    }
    let purged: Option<usize> = tags.map(|(_, tag)| outlook.purge(&tag)).sum();
    match purged {
        Some(purged) => typed(
            StatusCode::OK,
            "application/json",
            format!("{{\"purged\":{purged}}}\n"),
        ),
        None => text(StatusCode::NOT_FOUND, "this gateway has no [cache]\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
