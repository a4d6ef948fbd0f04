//! Bodies that policies see whole or watch, through real connections.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use transport::tls::Protocol;
use veilgate::body::{Body, BodyError};

use crate::bodied::{WATCH, WHOLE, encrypted, letter, site};
use crate::client::{Connection, Reply, raw};
use crate::guests::roomy as guest;
use crate::origin::Origin;
use crate::site::{PATIENCE, Site};

pub fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    request
}

async fn post(site: &Site, path: &str, body: &'static str) -> Reply {
    let mut connection = Connection::plain(site.addr).await;
    connection
        .send(request(Method::POST, path, Body::full(body)))
        .await
}

pub type Pieces = mpsc::Sender<Result<&'static str, BodyError>>;

/// An upload whose second piece a policy breaks off before anything of the response is there: a 403.
pub async fn broken_off_early(site: &Site) {
    let (sender, body) = pieces();
    sender.send(Ok("1")).await.expect("room");
    sender.send(Ok("x")).await.expect("room");
    let mut connection = Connection::plain(site.addr).await;
    let refused = connection
        .send(request(Method::POST, "/upload", body))
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

/// A body that comes piece by piece.
pub fn pieces() -> (Pieces, Body) {
    let (sender, mut receiver) = mpsc::channel::<Result<&'static str, BodyError>>(8);
    let frames = futures_util::stream::poll_fn(move |cx| {
        let piece = std::task::ready!(receiver.poll_recv(cx));
        std::task::Poll::Ready(piece.map(|piece| {
            piece.map(|text| http_body::Frame::data(bytes::Bytes::from_static(text.as_bytes())))
        }))
    });
    let body = Body::wrap_with(http_body_util::StreamBody::new(frames), |error| error);
    (sender, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_body_is_seen_and_replaced_on_every_protocol() {
    let (_, addr) = Origin::start().await;
    let guests = [
        ("a", letter('a', WHOLE, WHOLE), ""),
        ("b", letter('b', WHOLE, WHOLE), ""),
    ];
    let site = encrypted(addr, &guests).await;
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Http3] {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        // The request passes a, then b; the response b, then a.
        let known = request(Method::POST, "/echo", Body::full("-"));
        assert_eq!(connection.send(known).await.text(), "-abba", "{protocol:?}");
        let (sender, body) = pieces();
        sender.send(Ok("1")).await.expect("room");
        sender.send(Ok("2")).await.expect("room");
        drop(sender);
        let streamed = connection.send(request(Method::POST, "/echo", body)).await;
        assert_eq!(streamed.text(), "12abba", "{protocol:?}");
        assert_eq!(streamed.header("content-length"), Some("6"), "{protocol:?}");
        assert_eq!(
            connection.fetch("/").await.text(),
            "helloba",
            "{protocol:?}"
        );
        let head = request(Method::HEAD, "/", Body::empty());
        assert_eq!(connection.send(head).await.text(), "", "{protocol:?}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_watched_on_every_protocol() {
    let (_, addr) = Origin::start().await;
    let site = encrypted(addr, &[("a", letter('a', WATCH, WATCH), "")]).await;
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Http3] {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let known = request(Method::POST, "/echo", Body::full("-"));
        assert_eq!(connection.send(known).await.text(), "-aa", "{protocol:?}");
        let (sender, body) = pieces();
        sender.send(Ok("1")).await.expect("room");
        drop(sender);
        let streamed = connection.send(request(Method::POST, "/echo", body)).await;
        assert_eq!(streamed.text(), "1aa", "{protocol:?}");
        let head = request(Method::HEAD, "/", Body::empty());
        assert_eq!(connection.send(head).await.text(), "", "{protocol:?}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_past_a_policy_s_limit_are_refused() {
    let (origin, addr) = Origin::start().await;
    let limit = "max_body_bytes = 5";
    let site_of = async |asks_request, asks_response| {
        let guests = [("a", letter('a', asks_request, asks_response), limit)];
        site(addr, &guests, "").await
    };
    let requests = site_of(WHOLE, 0).await;
    let announced = post(&requests, "/echo", "123456").await;
    assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE);
    let (sender, body) = pieces();
    sender.send(Ok("123")).await.expect("room");
    sender.send(Ok("456")).await.expect("room");
    drop(sender);
    let mut connection = Connection::plain(requests.addr).await;
    let streamed = connection.send(request(Method::POST, "/echo", body)).await;
    assert_eq!(streamed.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(origin.requests(), 0);
    assert_eq!(post(&requests, "/echo", "1234").await.text(), "1234a");
    let full = post(&requests, "/echo", "12345").await;
    assert_eq!(
        full.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "the letter is one too many"
    );
    requests.stop().await;
    let responses = site_of(0, WHOLE).await;
    let long = post(&responses, "/echo", "123456").await;
    assert_eq!(long.status, StatusCode::BAD_GATEWAY);
    assert_eq!(post(&responses, "/echo", "1234").await.text(), "1234a");
    responses.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_was_gathered_can_be_sent_again() {
    let (origin, addr) = Origin::start().await;
    let site = site(addr, &[("a", letter('a', WHOLE, 0), "")], "").await;
    let (sender, body) = pieces();
    sender.send(Ok("k")).await.expect("room");
    drop(sender);
    let mut connection = Connection::plain(site.addr).await;
    let reply = connection
        .send(request(Method::PUT, "/drop-once", body))
        .await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "hello"));
    assert_eq!(origin.requests(), 2);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_a_request_are_changed_dropped_and_broken_off_on_their_way() {
    let (_, addr) = Origin::start().await;
    let guests = [
        ("a", letter('a', WATCH, 0), ""),
        ("b", letter('b', WATCH, 0), ""),
    ];
    let site = site(addr, &guests, "").await;
    let (sender, body) = pieces();
    let mut connection = Connection::plain(site.addr).await;
    let mut echo = connection.head(request(Method::POST, "/echo", body)).await;
    // Both bodies are under way at once: what is sent comes back before the next is sent.
    for (sent, back) in [("1", "1ab"), ("k", "k"), ("2", "2ab")] {
        sender.send(Ok(sent)).await.expect("room");
        let frame = tokio::time::timeout(PATIENCE, echo.body_mut().frame());
        let frame = frame.await.expect("in time").expect("a frame");
        assert_eq!(frame.expect("whole").into_data().expect("data"), back);
    }
    sender.send(Ok("d")).await.expect("room");
    drop(sender);
    let rest = tokio::time::timeout(PATIENCE, echo.into_body().collect());
    let rest = rest.await.expect("in time").expect("whole").to_bytes();
    assert!(rest.is_empty(), "{rest:?}");
    // Here already, or not: an abort before the response's head is a 403.
    assert_eq!(
        post(&site, "/silent", "x").await.status,
        StatusCode::FORBIDDEN
    );
    broken_off_early(&site).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_is_watched_and_never_held() {
    let (origin, addr) = Origin::start().await;
    let site = site(addr, &[("a", letter('a', 0, WATCH), "")], "").await;
    let mut connection = Connection::plain(site.addr).await;
    let stream = request(Method::GET, "/stream", Body::empty());
    let mut response = connection.head(stream).await;
    assert!(!response.headers().contains_key("content-length"));
    let mut next = async || {
        let frame = tokio::time::timeout(PATIENCE, response.body_mut().frame()).await;
        frame
            .expect("in time")
            .map(|frame| frame.expect("whole").into_data().expect("data"))
    };
    // The origin sends the second only once the first was seen here.
    assert_eq!(next().await.as_deref(), Some(&b"firsta"[..]));
    origin.go_on.notify_one();
    assert_eq!(next().await.as_deref(), Some(&b"seconda"[..]));
    assert_eq!(next().await, None);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_a_response_are_dropped_and_broken_off() {
    let (_, addr) = Origin::start().await;
    let site = site(addr, &[("a", letter('a', 0, WATCH), "")], "").await;
    let (sender, body) = pieces();
    let mut connection = Connection::plain(site.addr).await;
    let mut echo = connection.head(request(Method::POST, "/echo", body)).await;
    assert_eq!(echo.status(), StatusCode::OK);
    for sent in ["d", "1", "x"] {
        sender.send(Ok(sent)).await.expect("room");
        if sent == "1" {
            let frame = tokio::time::timeout(PATIENCE, echo.body_mut().frame());
            let frame = frame.await.expect("in time").expect("a frame");
            assert_eq!(frame.expect("whole").into_data().expect("data"), "1a");
        }
    }
    let rest = tokio::time::timeout(PATIENCE, echo.into_body().collect()).await;
    assert!(
        rest.expect("in time").is_err(),
        "the head was sent: a reset"
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_a_hook_on_a_body_is_denied_or_skipped() {
    let (_, addr) = Origin::start().await;
    for (asks_request, asks_response) in [(WHOLE, 0), (WATCH, 0), (0, WHOLE)] {
        let module = letter('a', asks_request, asks_response);
        let denied = site(addr, &[("a", module.clone(), "")], "").await;
        let reply = post(&denied, "/echo", "trap").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        denied.stop().await;
        let skipped = site(addr, &[("a", module, "on_fault = \"skip\"")], "").await;
        assert_eq!(post(&skipped, "/echo", "trap").await.text(), "trap");
        skipped.stop().await;
    }
    // A watched response's head may be gone by then: with `skip` it passes untouched, with `deny` it is a 503, or breaks off.
    let module = letter('a', 0, WATCH);
    let skipped = site(addr, &[("a", module.clone(), "on_fault = \"skip\"")], "").await;
    assert_eq!(post(&skipped, "/echo", "trap").await.text(), "trap");
    skipped.stop().await;
    let denied = site(addr, &[("a", module, "")], "").await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
    let answer = raw(denied.addr, format!("{head}trap").as_bytes()).await;
    let broken_off = !answer.contains("trap") && !answer.ends_with("\r\n0\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 503 ") || broken_off,
        "{answer}"
    );
    denied.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_routed_by_the_model_that_its_body_names() {
    let (first, addr) = Origin::start().await;
    let (second, other) = Origin::start().await;
    // A model whose name begins with `b` goes to `second`, under the name `z`.
    let world = "import veilgate:policy/llm@0.2.1; export veilgate:policy/request-hook@0.2.1;
        export veilgate:policy/request-body-hook@0.2.1;";
    let imports = r#"(import "veilgate:policy/llm@0.2.1" "model" (func $model (param i32)))
        (import "veilgate:policy/llm@0.2.1" "set-model" (func $set_model (param i32 i32) (result i32)))"#;
    let body = r#"(data (i32.const 16) "second") (data (i32.const 24) "z")
        (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (i32.store8 (i32.const 1104) (i32.const 1)) (i32.const 1024))
        (func (export "veilgate:policy/request-body-hook@0.2.1#on-request-body") (param i32 i32) (result i32)
          (call $reset)
          (call $model (i32.const 2048))
          (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (return (i32.const 4096))))
          (if (i32.ne (i32.load8_u (i32.load (i32.const 2052))) (i32.const 98)) (then (return (i32.const 4096))))
          (drop (call $set_model (i32.const 24) (i32.const 1)))
          (i32.store8 (i32.const 3096) (i32.const 1)) (i32.store (i32.const 3104) (i32.const 16)) (i32.store (i32.const 3108) (i32.const 6))
          (i32.const 3072))"#;
    let guests = [("router", guest(world, imports, body), "grants = [\"llm\"]")];
    let extra = format!("[[upstream]]\nname = \"second\"\nendpoints = [\"http://{other}\"]\n");
    let site = site(addr, &guests, &extra).await;
    let small = post(&site, "/echo", r#"{"model": "small"}"#).await;
    assert_eq!(small.text(), r#"{"model": "small"}"#);
    assert_eq!((first.requests(), second.requests()), (1, 0));
    let big = post(&site, "/echo", r#"{"model": "big", "n":1}"#).await;
    assert_eq!(big.text(), r#"{"model": "z", "n":1}"#);
    assert_eq!((first.requests(), second.requests()), (1, 1));
    assert_eq!(post(&site, "/echo", "no JSON").await.text(), "no JSON");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_cached_by_its_body() {
    let (origin, addr) = Origin::start().await;
    let world = "import veilgate:policy/cache@0.2.1; export veilgate:policy/request-hook@0.2.1;";
    let imports = r#"(import "veilgate:policy/cache@0.2.1" "key-body" (func $key_body))"#;
    let body = r#"(func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
        (call $key_body) (i32.const 4096))"#;
    let settings = "grants = [\"cache\"]\nmax_body_bytes = 8";
    let guests = [("keys", guest(world, imports, body), settings)];
    let site = site(addr, &guests, "[cache]\n").await;
    let ask = async |body| {
        let reply = post(&site, "/fresh", body).await;
        (
            reply.text().to_owned(),
            reply.header("cache-status").unwrap_or("").to_owned(),
        )
    };
    assert_eq!(ask("one").await.0, "after 0");
    let (text, status) = ask("one").await;
    assert_eq!(text, "after 0");
    assert!(status.contains("hit"), "{status}");
    assert_eq!(ask("two").await.0, "after 1");
    assert_eq!(
        ask("one").await.0,
        "after 0",
        "another body does not push it out"
    );
    // Longer than the policy may have it: it passes, and is not stored.
    assert_eq!(ask("one and more").await.0, "after 2");
    assert_eq!(ask("one and more").await.0, "after 3");
    let echoed = post(&site, "/echo", "one and more").await;
    assert_eq!(echoed.text(), "one and more");
    assert_eq!(origin.requests(), 5);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_with_one_normal_form_share_a_response() {
    let (origin, addr) = Origin::start().await;
    let world = "import veilgate:policy/cache@0.2.1; export veilgate:policy/request-hook@0.2.1;
        export veilgate:policy/request-body-hook@0.2.1;";
    let imports =
        r#"(import "veilgate:policy/cache@0.2.1" "key-text" (func $key_text (param i32 i32)))"#;
    // The first byte is the normal form of all that begins with it.
    let body = r#"(func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (i32.store8 (i32.const 1104) (i32.const 1)) (i32.const 1024))
        (func (export "veilgate:policy/request-body-hook@0.2.1#on-request-body") (param i32 i32) (result i32)
          (call $reset)
          (call $key_text (local.get 0) (i32.const 1))
          (i32.const 4096))"#;
    let guests = [("keys", guest(world, imports, body), "grants = [\"cache\"]")];
    let site = site(addr, &guests, "[cache]\n").await;
    for (body, after) in [
        ("a1", "after 0"),
        ("a2", "after 0"),
        ("b1", "after 1"),
        ("a3", "after 0"),
    ] {
        assert_eq!(post(&site, "/fresh", body).await.text(), after, "{body}");
    }
    assert_eq!(origin.requests(), 2);
    site.stop().await;
}
