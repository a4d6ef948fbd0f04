//! The origin behind the gateway: a hyper server whose paths each do one thing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use veilgate::body::{Body, BodyError};

/// What tests see and steer of the origin.
#[derive(Default)]
pub struct Origin {
    pub requests: AtomicUsize,
    /// Lets `/stream` send its second chunk.
    pub go_on: Notify,
    /// Told when a request body chunk arrived at `/upload`.
    pub chunk_arrived: Notify,
    /// Told when the response body of `/endless` was dropped.
    pub given_up: Notify,
}

impl Origin {
    pub async fn start() -> (Arc<Self>, SocketAddr) {
        let origin = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let serving = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(origin.clone(), request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (origin, addr)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn answer(
    origin: Arc<Origin>,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let seen = origin.requests.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => Ok(Response::new(Body::incoming(request.into_body()))),
        "/head" => Ok(Response::new(Body::full(head_of(&request)))),
        "/stream" => Ok(two_chunks(origin)),
        "/upload" => upload(&origin, request).await,
        "/silent" => std::future::pending().await,
        "/drop" => Err(std::io::Error::other("the origin breaks off")),
        "/drop-once" if seen == 0 => Err(std::io::Error::other("the origin breaks off once")),
        "/broken-body" => Ok(broken_body()),
        "/endless" => Ok(endless(origin)),
        "/chat" => Ok(chat()),
        "/fresh" => Ok(fresh(seen)),
        "/teapot" => {
            let mut response = Response::new(Body::full("short and stout"));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
                .headers_mut()
                .insert("connection", HeaderValue::from_static("x-hop"));
            response
                .headers_mut()
                .insert("x-hop", HeaderValue::from_static("1"));
            Ok(response)
        }
        _ => Ok(Response::new(Body::full("hello"))),
    }
}

fn head_of(request: &Request<Incoming>) -> String {
    let headers: serde_json::Map<String, serde_json::Value> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes())
                    .into_owned()
                    .into(),
            )
        })
        .collect();
    serde_json::json!({ "target": request.uri().to_string(), "headers": headers }).to_string()
}

fn channel_body() -> (mpsc::Sender<Result<&'static str, BodyError>>, Body) {
    let (sender, mut receiver) = mpsc::channel(1);
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures_util::StreamExt::map(frames, |chunk: Result<&'static str, BodyError>| {
        chunk.map(|text| http_body::Frame::data(bytes::Bytes::from_static(text.as_bytes())))
    });
    (
        sender,
        Body::wrap_with(http_body_util::StreamBody::new(frames), |error| error),
    )
}

/// The second chunk comes when the test says so.
fn two_chunks(origin: Arc<Origin>) -> Response<Body> {
    let (sender, body) = channel_body();
    tokio::spawn(async move {
        let _ = sender.send(Ok("first")).await;
        origin.go_on.notified().await;
        let _ = sender.send(Ok("second")).await;
    });
    Response::new(body)
}

fn broken_body() -> Response<Body> {
    let (sender, body) = channel_body();
    tokio::spawn(async move {
        let _ = sender.send(Ok("first")).await;
        let _ = sender
            .send(Err(BodyError::Cancelled("the origin breaks off")))
            .await;
    });
    Response::new(body)
}

/// Two events of a chat; the second says the usage.
fn chat() -> Response<Body> {
    let (sender, body) = channel_body();
    tokio::spawn(async move {
        let _ = sender
            .send(Ok(
                "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
            ))
            .await;
        let _ = sender
            .send(Ok(
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":4}}\n\n",
            ))
            .await;
    });
    let mut response = Response::new(body);
    response.headers_mut().insert(
        "content-type",
        HeaderValue::from_static("text/event-stream"),
    );
    response
}

/// A response that may be stored, and tells how many requests came before it.
fn fresh(seen: usize) -> Response<Body> {
    let mut response = Response::new(Body::full(format!("after {seen}")));
    response
        .headers_mut()
        .insert("cache-control", HeaderValue::from_static("max-age=60"));
    response
}

fn endless(origin: Arc<Origin>) -> Response<Body> {
    let (sender, body) = channel_body();
    tokio::spawn(async move {
        while sender
            .send(Ok("more and more and more and more "))
            .await
            .is_ok()
        {}
        origin.given_up.notify_one();
    });
    Response::new(body)
}

async fn upload(
    origin: &Origin,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(std::io::Error::other)?.into_data() {
            bytes += data.len();
            origin.chunk_arrived.notify_one();
        }
    }
    Ok(Response::new(Body::full(format!("{bytes} bytes"))))
}
