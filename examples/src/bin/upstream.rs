//! The small real service behind the demo's gateway: a catalogue that may be cached, notes that are posted, a stream of events.
//! Plain HTTP/1.1 on loopback; every limit it has is below.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// A note is text that a person wrote; anything longer is refused with 413.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// The most that `/bytes/N` makes: the body is held in memory.
const FILLER_BYTES_MAX: usize = 8 << 20;
/// How many events `/events` sends, and how far apart.
const EVENTS: u32 = 5;
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// A client that does not finish its headers by then is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(about = "The small HTTP service that the demo puts behind the gateway")]
struct Args {
    /// Address to listen on (loopback; port 0 picks a free one).
    #[arg(long, default_value = "127.0.0.1:9080")]
    listen: SocketAddr,
    /// Name that answers carry, so that one can see which instance replied.
    #[arg(long, default_value = "local")]
    name: String,
}

#[derive(Default)]
struct Counters {
    catalogue: AtomicU64,
    notes: AtomicU64,
}

type Body = BoxBody<Bytes, Infallible>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let name: Arc<str> = args.name.into();
    let counters = Arc::new(Counters::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (name, counters) = (Arc::clone(&name), Arc::clone(&counters));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                answer(request, Arc::clone(&name), Arc::clone(&counters))
            });
            // A connection that breaks is the client's business; the next one is served all the same.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    name: Arc<str>,
    counters: Arc<Counters>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut response = match (request.method(), path.as_str()) {
        (&Method::GET, "/health") => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/events") => events(),
        (&Method::GET, path) if path.starts_with("/bytes/") => filler(&path["/bytes/".len()..]),
        (&Method::POST, "/notes") => note(request.into_body(), &counters).await,
        (&Method::GET, path) if path.starts_with("/catalog/") => {
            catalogue(&path["/catalog/".len()..], &counters)
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "this service has /health, /catalog/ITEM, /bytes/N, /notes (POST) and /events\n",
        ),
    };
    if let Ok(value) = name.parse() {
        response.headers_mut().insert("x-served-by", value);
    }
    Ok(response)
}

/// One item: cacheable for a minute, with the number of times that the service itself was asked.
fn catalogue(item: &str, counters: &Counters) -> Response<Body> {
    let asked = counters.catalogue.fetch_add(1, Ordering::Relaxed) + 1;
    let body =
        serde_json::json!({ "item": item, "price_cents": 100 + item.len() * 7, "asked": asked });
    let mut response = json(StatusCode::OK, &body);
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("max-age=60"),
    );
    response
}

/// So many bytes, for measurements.
fn filler(count: &str) -> Response<Body> {
    match count.parse::<usize>() {
        Ok(count) if count <= FILLER_BYTES_MAX => {
            let body = Bytes::from(vec![b'x'; count]);
            let mut response = Response::new(Full::from(body).boxed());
            let kind = header::HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        _ => text(
            StatusCode::BAD_REQUEST,
            "/bytes/N takes a number up to 8388608\n",
        ),
    }
}

async fn note(body: Incoming, counters: &Counters) -> Response<Body> {
    match Limited::new(body, NOTE_BYTES_MAX).collect().await {
        Ok(whole) => {
            let number = counters.notes.fetch_add(1, Ordering::Relaxed) + 1;
            json(
                StatusCode::CREATED,
                &serde_json::json!({ "note": number, "bytes": whole.to_bytes().len() }),
            )
        }
        Err(error) if error.is::<LengthLimitError>() => {
            text(StatusCode::PAYLOAD_TOO_LARGE, "a note has at most 64 KiB\n")
        }
        Err(_) => text(StatusCode::BAD_REQUEST, "the note did not arrive whole\n"),
    }
}

/// Server-sent events, one at a time: shows that a proxy in between does not hold them back.
fn events() -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for number in 1..=EVENTS {
            if sender
                .send_data(Bytes::from(format!(
                    "id: {number}\ndata: tick {number}\n\n"
                )))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(EVENT_PAUSE).await;
        }
    });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/event-stream"),
    );
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Full::from(format!("{value}\n")).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain"),
    );
    response
}
