//! What clients do wrong: refused clearly, before an origin is asked, and without harm to anybody else.

use http::{Request, StatusCode};
use veilgate::body::Body;

use crate::client::{Connection, fetch, raw, read_to_end};
use crate::origin::Origin;
use crate::site::{PATIENCE, ROUTE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_problem_json_with_the_request_id() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(
        addr,
        "[[route]]\nname = \"a\"\npath = \"/a\"\nmethods = [\"GET\"]\nupstream = \"origin\"\n",
    )
    .await;
    let reply = fetch(site.addr, "/b").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem = reply.json();
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["request_id"].as_str(), reply.header("x-request-id"));
    let mut connection = Connection::plain(site.addr).await;
    let reply = connection
        .send(Request::post("/a").body(Body::empty()).expect("a request"))
        .await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    // The connection goes on after either.
    assert_eq!(connection.fetch("/a").await.status, StatusCode::OK);
    assert_eq!(origin.requests(), 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_past_the_limit_is_413_announced_or_not() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, &format!("{ROUTE}max_body_bytes = 1000\n")).await;
    let mut connection = Connection::plain(site.addr).await;
    let reply = connection
        .send(
            Request::post("/echo")
                .body(Body::full(vec![0; 1001]))
                .expect("a request"),
        )
        .await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        origin.requests(),
        0,
        "what is announced too long is not even begun"
    );
    let chunked = "POST /upload HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = format!(
        "{chunked}200\r\n{0}\r\n200\r\n{0}\r\n0\r\n\r\n",
        "x".repeat(0x200)
    );
    let answer = raw(site.addr, body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let fits = Request::post("/echo")
        .body(Body::full(vec![0; 1000]))
        .expect("a request");
    assert_eq!(
        Connection::plain(site.addr)
            .await
            .send(fits)
            .await
            .body
            .len(),
        1000
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_could_be_read_in_two_ways_reach_no_origin() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    for (what, bytes) in [
        (
            "two lengths",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        ),
        (
            "a signed length",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
        ),
        (
            "a list of lengths",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 6\r\n\r\nhello",
        ),
        (
            "an unknown coding",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked, but not last",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked in HTTP/1.0",
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a space before the colon",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\nhello",
        ),
        (
            "a folded line",
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n 2\r\n\r\n",
        ),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        (
            "a host unlike the target's",
            "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        ),
        (
            "user information in the host",
            "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n",
        ),
        (
            "dots in the path",
            "GET /public/../admin HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        (
            "escaped dots in the path",
            "GET /public/%2e%2e/admin HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        (
            "an escaped line end",
            "GET /a%0d%0ax HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        (
            "a bad chunk size",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        ),
    ] {
        let answer = raw(site.addr, bytes.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"),
            "{what}: {answer:?}"
        );
    }
    // The last one fails in its body, which may be after the origin was asked; none of the others may reach it.
    assert!(
        origin.requests() <= 1,
        "{} requests reached the origin",
        origin.requests()
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beside_chunked_is_ignored_and_the_connection_ends() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    let smuggled = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
                    GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = raw(site.addr, smuggled.as_bytes()).await;
    assert_eq!(
        answer.matches("HTTP/1.1 ").count(),
        1,
        "what follows is not read: {answer:?}"
    );
    assert!(origin.requests() <= 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_passed_on_is_said() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    for request in [
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n",
    ] {
        let answer = raw(site.addr, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 501"), "{request}: {answer}");
    }
    assert_eq!(origin.requests(), 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_are_refused() {
    let (origin, addr) = Origin::start().await;
    let limits =
        "[limits]\nmax_headers = 20\nmax_header_bytes = \"16KiB\"\nmax_target_bytes = 1000\n";
    let site = Site::plain(addr, &format!("{limits}{ROUTE}")).await;
    let long_target = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(1000));
    assert!(
        raw(site.addr, long_target.as_bytes())
            .await
            .starts_with("HTTP/1.1 414")
    );
    let many: String = (0..25).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = raw(
        site.addr,
        format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let large = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let answer = raw(site.addr, large.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(origin.requests(), 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_trickles_in_is_cut_and_an_idle_connection_is_closed() {
    use tokio::io::AsyncWriteExt;
    let (origin, addr) = Origin::start().await;
    let limits = "[limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"900ms\"\n";
    let site = Site::plain(addr, &format!("{limits}{ROUTE}")).await;
    let mut slow = tokio::net::TcpStream::connect(site.addr)
        .await
        .expect("connected");
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n")
        .await
        .expect("sent");
    let trickle = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            if slow.write_all(b"x-a: 1\r\n").await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, trickle)
        .await
        .expect("the gateway closes a connection whose head never ends");
    assert_eq!(origin.requests(), 0);
    // Nothing at all, and nothing after an answer: closed as well.
    let mut silent = tokio::net::TcpStream::connect(site.addr)
        .await
        .expect("connected");
    assert_eq!(read_to_end(&mut silent).await, "");
    let mut idle = tokio::net::TcpStream::connect(site.addr)
        .await
        .expect("connected");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("sent");
    assert!(read_to_end(&mut idle).await.starts_with("HTTP/1.1 200"));
    site.stop().await;
}
