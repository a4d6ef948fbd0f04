//! Health, readiness and metrics over plain HTTP/1.1, on an address of their own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::server::StartError;
use crate::store::Store;

/// A scraper or two and a person: more at once is a mistake.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that outlives this is a scraper that hangs.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the recorder tidies what histograms have gathered.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the process's metrics recorder; call once, in `main`.
pub fn install_metrics() -> Option<PrometheusHandle> {
    match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be recorded");
            None
        }
    }
}

/// Listens for admin requests until the process ends; returns the address in use.
pub async fn serve(
    addr: SocketAddr,
    store: Arc<dyn Store>,
    metrics: Option<PrometheusHandle>,
) -> Result<SocketAddr, StartError> {
    let fail = |source| StartError::Admin { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    if let Some(handle) = metrics.clone() {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                handle.run_upkeep();
            }
        });
    }
    tokio::spawn(accept_all(listener, store, metrics));
    Ok(bound)
}

async fn accept_all(
    listener: TcpListener,
    store: Arc<dyn Store>,
    metrics: Option<PrometheusHandle>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: let some close.
                tracing::warn!(%error, "cannot accept an admin connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (store, metrics) = (store.clone(), metrics.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (store, metrics) = (store.clone(), metrics.clone());
                async move { Ok::<_, Infallible>(answer(&request, store, metrics).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
            drop(place);
        });
    }
}

async fn answer(
    request: &Request<Incoming>,
    store: Arc<dyn Store>,
    metrics: Option<PrometheusHandle>,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match tokio::task::spawn_blocking(move || store.ready()).await {
            Ok(Ok(())) => text(StatusCode::OK, "ready\n"),
            Ok(Err(error)) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {error}\n"),
            ),
            Err(error) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {error}\n"),
            ),
        },
        "/metrics" => match metrics {
            Some(handle) => text(StatusCode::OK, handle.render()),
            None => text(StatusCode::NOT_FOUND, "metrics are off\n"),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz and /metrics\n",
        ),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
