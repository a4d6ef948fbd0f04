//! The same requests over HTTP/1.1, HTTP/2 and HTTP/3, on one port number, and bodies that stream.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use transport::tls::Protocol;
use veilgate::body::Body;

use crate::client::Connection;
use crate::origin::Origin;
use crate::site::{PATIENCE, ROUTE, Site};

const ALL: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];

async fn chunk(body: &mut Body) -> String {
    let frame = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .expect("a chunk in time");
    let data = frame
        .expect("not the end")
        .expect("no error")
        .into_data()
        .expect("data");
    String::from_utf8(data.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_three_protocols_serve_on_one_port_number() {
    let (_, origin) = Origin::start().await;
    let site = Site::encrypted(origin, ROUTE).await;
    for protocol in ALL {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let reply = connection.fetch("/head?x=1").await;
        assert_eq!(reply.status, StatusCode::OK, "{protocol:?}");
        let seen = reply.json();
        assert_eq!(seen["target"], "/head?x=1", "{protocol:?}");
        assert_eq!(seen["headers"]["host"], "localhost", "{protocol:?}");
        assert_eq!(
            seen["headers"]["x-forwarded-for"], "127.0.0.1",
            "{protocol:?}"
        );
        assert_eq!(
            seen["headers"]["x-forwarded-proto"], "https",
            "{protocol:?}"
        );
        let id = reply.header("x-request-id").expect("an id");
        assert_eq!(seen["headers"]["x-request-id"], id, "{protocol:?}");
        assert_eq!(id.len(), 32);
        assert!(reply.header("date").is_some(), "{protocol:?}");
        let expected = format!("h3=\":{}\"; ma=86400", site.addr.port());
        let announced = (protocol != Protocol::Http3).then_some(expected.as_str());
        assert_eq!(reply.header("alt-svc"), announced, "{protocol:?}");

        let body = Body::full(vec![b'x'; 300_000]);
        let reply = connection
            .send(Request::post("/echo").body(body).expect("a request"))
            .await;
        assert_eq!(reply.body.len(), 300_000, "{protocol:?}");

        let reply = connection
            .send(
                Request::head("/hello")
                    .body(Body::empty())
                    .expect("a request"),
            )
            .await;
        assert_eq!(
            (reply.status, reply.body.len()),
            (StatusCode::OK, 0),
            "{protocol:?}"
        );
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_streams_before_it_is_complete() {
    let (origin, addr) = Origin::start().await;
    let site = Site::encrypted(addr, ROUTE).await;
    for protocol in ALL {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let mut body = connection
            .head(
                Request::get("/stream")
                    .body(Body::empty())
                    .expect("a request"),
            )
            .await
            .into_body();
        // The origin sends the second chunk only once this one has been seen here.
        assert_eq!(chunk(&mut body).await, "first", "{protocol:?}");
        origin.go_on.notify_one();
        assert_eq!(chunk(&mut body).await, "second", "{protocol:?}");
        let rest = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .expect("an end");
        assert!(
            rest.expect("in order").to_bytes().is_empty(),
            "{protocol:?}"
        );
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_streams_before_it_is_complete() {
    let (origin, addr) = Origin::start().await;
    let site = Site::encrypted(addr, ROUTE).await;
    for protocol in ALL {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let text = receiver.recv().await?;
            Some((
                Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from_static(
                    text.as_bytes(),
                ))),
                receiver,
            ))
        });
        let body = Body::wrap(http_body_util::StreamBody::new(Box::pin(frames)));
        let upload = Request::post("/upload").body(body).expect("a request");
        let sending = tokio::spawn(async move { connection.send(upload).await });
        sender.send("first").await.expect("taken");
        tokio::time::timeout(PATIENCE, origin.chunk_arrived.notified())
            .await
            .expect("the origin has the first chunk");
        sender.send("second").await.expect("taken");
        drop(sender);
        let reply = sending.await.expect("a reply");
        assert_eq!(reply.text(), "11 bytes", "{protocol:?}");
        // The second chunk told, too.
        let _ =
            tokio::time::timeout(Duration::from_millis(1), origin.chunk_arrived.notified()).await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_one_hop_are_not_passed_on_and_claims_are_replaced() {
    let (_, origin) = Origin::start().await;
    let site = Site::plain(origin, ROUTE).await;
    let mut connection = Connection::plain(site.addr).await;
    let request = Request::get("/head")
        .header("connection", "x-secret")
        .header("x-secret", "1")
        .header("te", "gzip")
        .header("x-forwarded-for", "203.0.113.9")
        .header("forwarded", "for=203.0.113.9")
        .header("via", "1.1 before")
        .body(Body::empty())
        .expect("a request");
    let seen = connection.send(request).await.json();
    let headers = &seen["headers"];
    assert!(
        headers.get("x-secret").is_none()
            && headers.get("te").is_none()
            && headers.get("connection").is_none(),
        "{seen}"
    );
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(
        headers["forwarded"],
        "for=127.0.0.1;host=\"localhost\";proto=http"
    );
    assert!(
        headers["via"]
            .as_str()
            .is_some_and(|via| via.contains("veilgate")),
        "{seen}"
    );
    let reply = connection.fetch("/teapot").await;
    assert_eq!(
        (reply.status, reply.header("x-hop")),
        (StatusCode::IM_A_TEAPOT, None)
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_first_is_told_to_continue() {
    let (_, origin) = Origin::start().await;
    let site = Site::plain(origin, ROUTE).await;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(site.addr)
        .await
        .expect("connected");
    let head = b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    let mut interim = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut interim))
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.expect("sent");
    let answer = crate::client::read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("5 bytes"),
        "{answer}"
    );
    site.stop().await;
}
