//! HTTP/3 between our own two ends, over loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Body, Pki, Server, connect, full, get, loopback, post};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use transport::h3server::Endpoint;
use transport::{ClientAuth, H3Error, QuicLimits, Reset, SendError};

/// A body fed through a channel of one frame.
fn channel_body() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (send, receive) = mpsc::channel(1);
    let stream = futures_util::stream::unfold(receive, |mut receive| async {
        receive
            .recv()
            .await
            .map(|frame| (Ok::<_, H3Error>(frame), receive))
    });
    (
        send,
        BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(stream)))),
    )
}

/// `BoxBody` asks for `Sync`; the channel's stream is only `Send`, and only one task polls it.
struct SyncStream<S>(S);
impl<S: futures_util::Stream + Unpin> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

#[tokio::test]
async fn both_directions_stream_at_once() {
    let pki = Pki::new();
    let server = Server::echo(&pki.server(ClientAuth::None), QuicLimits::default());
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    let (send, body) = channel_body();
    let mut echoed = client.send(post("/", body)).await.unwrap().into_body();
    // Each piece comes back before the next is sent: neither side waits for the other's end.
    for piece in ["one", "two", "three"] {
        send.send(Frame::data(Bytes::from(piece))).await.unwrap();
        let frame = echoed.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "42".parse().unwrap());
    send.send(Frame::trailers(trailers.clone())).await.unwrap();
    drop(send);
    assert_eq!(
        echoed
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap(),
        trailers
    );
    assert!(echoed.frame().await.is_none());
}

#[tokio::test]
async fn big_bodies_and_many_requests_at_once_arrive_whole() {
    let pki = Pki::new();
    let server = Server::echo(&pki.server(ClientAuth::None), QuicLimits::default());
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..150usize {
        let client = client.clone();
        let size = if index == 0 { 8 << 20 } else { index * 500 };
        tasks.spawn(async move {
            let sent: Bytes = (0..size)
                .map(|at| (at * 31 + index) as u8)
                .collect::<Vec<_>>()
                .into();
            let response = client.send(post("/", full(sent.clone()))).await.unwrap();
            let received = response.into_body().collect().await.unwrap().to_bytes();
            assert!(
                received == sent,
                "body {index} of {size} bytes came back as {} bytes",
                received.len()
            );
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_waits_holds_back_the_sender() {
    let pki = Pki::new();
    let limits = QuicLimits {
        stream_window: 64 << 10,
        connection_window: 128 << 10,
        ..Default::default()
    };
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Server::start(
        &pki.server(ClientAuth::None),
        limits,
        move |request, responder| {
            let mut released = released.clone();
            async move {
                let mut body = request.into_body();
                released.wait_for(|go| *go).await.unwrap();
                let mut bytes = 0;
                while let Some(frame) = body.frame().await {
                    bytes += frame.unwrap().into_data().unwrap().len();
                }
                let _ = responder.send(Response::new(full(bytes.to_string()))).await;
            }
        },
    );
    // What the client holds itself is bounded too, or it would swallow the body whatever the server does.
    let options = transport::h3client::ClientOptions {
        send_window: 128 << 10,
        ..Default::default()
    };
    let client = transport::h3client::Connection::connect(
        server.addr,
        "localhost",
        &pki.client(None),
        options,
    )
    .await
    .unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    const PIECES: u64 = 400;
    let pieces = futures_util::stream::iter(0..PIECES).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, H3Error>(Frame::data(Bytes::from(vec![7; 10_000])))
    });
    let sending = tokio::spawn(async move {
        client
            .send(post("/", BodyExt::boxed(StreamBody::new(pieces))))
            .await
    });
    // The windows let some 400 KiB through at most; the body has 4 MB.
    let mut before = u64::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = taken.load(Ordering::SeqCst);
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    assert!(
        before < PIECES / 2,
        "{before} of {PIECES} pieces were taken though nobody read them"
    );
    release.send(true).unwrap();
    let total = sending
        .await
        .unwrap()
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(total, "4000000");
}

#[tokio::test]
async fn a_request_without_body_is_known_to_have_none() {
    let pki = Pki::new();
    let server = Server::start(
        &pki.server(ClientAuth::None),
        QuicLimits::default(),
        |request, responder| async move {
            let empty = http_body::Body::is_end_stream(request.body());
            let _ = responder
                .send(Response::new(full(if empty { "none" } else { "some" })))
                .await;
        },
    );
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    let answer = client
        .send(get("/"))
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(answer, "none");
    let answer = client
        .send(post("/", full("x")))
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(answer, "some");
}

#[tokio::test]
async fn a_client_that_gives_up_is_noticed_while_the_response_streams() {
    let pki = Pki::new();
    let (report, mut reports) = mpsc::channel(1);
    let server = Server::start(
        &pki.server(ClientAuth::None),
        QuicLimits::default(),
        move |_, responder| {
            let report = report.clone();
            async move {
                let (keep_open, body) = channel_body();
                keep_open
                    .send(Frame::data(Bytes::from("first")))
                    .await
                    .unwrap();
                report
                    .send(responder.send(Response::new(body)).await)
                    .await
                    .unwrap();
                drop(keep_open);
            }
        },
    );
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    let mut body = client.send(get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let outcome = reports.recv().await.unwrap();
    assert!(
        matches!(outcome, Err(SendError::H3(H3Error::ResetByPeer { .. }))),
        "{outcome:?}"
    );
    assert!(
        !client.is_closed(),
        "one stream's end is not the connection's"
    );
}

#[tokio::test]
async fn a_client_that_gives_up_is_noticed_before_there_is_a_response() {
    let pki = Pki::new();
    let (report, mut reports) = mpsc::channel(1);
    let server = Server::start(
        &pki.server(ClientAuth::None),
        QuicLimits::default(),
        move |_, mut responder| {
            let report = report.clone();
            async move {
                report.send("begun").await.unwrap();
                responder.client_gone().await;
                report.send("gone").await.unwrap();
            }
        },
    );
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send(get("/")).await.map(|_| ()) }
    });
    assert_eq!(reports.recv().await, Some("begun"));
    waiting.abort();
    assert_eq!(reports.recv().await, Some("gone"));
}

#[tokio::test]
async fn a_response_that_breaks_off_is_never_taken_for_whole() {
    let pki = Pki::new();
    let server = Server::start(
        &pki.server(ClientAuth::None),
        QuicLimits::default(),
        |request, responder| async move {
            match request.uri().path() {
                "/dropped" => drop(responder),
                "/reset" => responder.reset(Reset::Rejected),
                "/short" => {
                    let response = Response::builder()
                        .header("content-length", "10")
                        .body(full("12345"))
                        .unwrap();
                    let _ = responder.send(response).await;
                }
                _ => {
                    let frames = [
                        Ok(Frame::data(Bytes::from("part"))),
                        Err(H3Error::IdleTimeout),
                    ];
                    let body = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
                    let _ = responder.send(Response::new(body)).await;
                }
            }
        },
    );
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    for (path, code) in [("/dropped", Reset::Internal), ("/reset", Reset::Rejected)] {
        let error = client.send(get(path)).await.unwrap_err();
        let SendError::H3(H3Error::ResetByPeer { code: seen }) = error else {
            panic!("{path}: {error}")
        };
        assert_eq!(seen, code.code(), "{path}");
    }
    for path in ["/short", "/broken"] {
        let result = match client.send(get(path)).await {
            Ok(response) => response.into_body().collect().await.map(|_| ()),
            Err(SendError::H3(error)) => Err(error),
            Err(SendError::Body(error)) => panic!("{path}: {error}"),
        };
        let error = result.expect_err(path);
        assert!(
            matches!(
                error,
                H3Error::LengthMismatch { .. } | H3Error::ResetByPeer { .. }
            ),
            "{path}: {error}"
        );
    }
}

#[tokio::test]
async fn oversize_header_fields_are_refused_and_the_connection_goes_on() {
    let pki = Pki::new();
    let limits = QuicLimits {
        max_field_section: 4 << 10,
        ..Default::default()
    };
    let server = Server::echo(&pki.server(ClientAuth::None), limits);
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    // Once the server's settings are known, our own end refuses to send.
    client.send(get("/")).await.unwrap();
    let mut request = get("/");
    request
        .headers_mut()
        .insert("big", "x".repeat(5 << 10).parse().unwrap());
    let error = client.send(request).await.unwrap_err();
    assert!(
        matches!(error, SendError::H3(H3Error::FieldsTooLarge { .. })),
        "{error}"
    );
    assert_eq!(
        client.send(get("/")).await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_takes_nothing_new() {
    let pki = Pki::new();
    let endpoint = Endpoint::bind(
        loopback(),
        &pki.server(ClientAuth::None),
        QuicLimits::default(),
    )
    .unwrap();
    let addr = endpoint.local_addr().unwrap();
    let (begun, mut begins) = mpsc::channel(1);
    let (drain, draining) = tokio::sync::watch::channel(false);
    let (finish, finishing) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(async move {
        let mut connection = endpoint.accept().await.unwrap().handshake().await.unwrap();
        let mut draining = draining;
        let mut is_draining = false;
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let Some((_, responder)) = accepted.unwrap() else { break };
                    begun.send(()).await.unwrap();
                    let mut finishing = finishing.clone();
                    tokio::spawn(async move {
                        finishing.wait_for(|go| *go).await.unwrap();
                        responder.send(Response::new(full(vec![1u8; 300_000]))).await.unwrap();
                    });
                }
                _ = async { draining.wait_for(|go| *go).await.map(|_| ()) }, if !is_draining => {
                    is_draining = true;
                    connection.shutdown().await.unwrap();
                }
            }
        }
        endpoint.stop_accepting();
        drop(connection);
        endpoint.wait_idle().await;
    });
    let client = connect(addr, &pki.client(None)).await.unwrap();
    let in_flight = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .send(get("/"))
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len()
        }
    });
    begins.recv().await.unwrap();
    drain.send(true).unwrap();
    // GOAWAY takes a moment to arrive; a request sent before then is rejected, one sent after it is not sent at all.
    let refused = client.send(get("/")).await.unwrap_err();
    let SendError::H3(refused) = refused else {
        panic!("{refused}")
    };
    assert!(refused.never_processed(), "{refused}");
    finish.send(true).unwrap();
    assert_eq!(in_flight.await.unwrap(), 300_000);
    tokio::time::timeout(Duration::from_secs(20), serving)
        .await
        .unwrap()
        .unwrap();
    assert!(client.is_closed());
}

#[tokio::test]
async fn a_client_that_abandons_request_after_request_is_cut_off() {
    let pki = Pki::new();
    let limits = QuicLimits {
        max_aborted_requests: 20,
        ..Default::default()
    };
    let server = Server::start(
        &pki.server(ClientAuth::None),
        limits,
        |_, responder| async move {
            let (keep_open, body) = channel_body();
            let _ = responder.send(Response::new(body)).await;
            drop(keep_open);
        },
    );
    let client = connect(server.addr, &pki.client(None)).await.unwrap();
    let closed = async {
        while !client.is_closed() {
            if let Ok(response) = client.send(get("/")).await {
                drop(response);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.closed().await
    };
    let error = tokio::time::timeout(Duration::from_secs(30), closed)
        .await
        .unwrap();
    assert!(
        matches!(error, H3Error::ClosedByPeer { code: 0x107, .. }),
        "{error}"
    );
}

#[test]
fn a_server_that_was_killed_and_came_back_tells_its_clients_at_once() {
    let pki = Pki::new();
    let tls = pki.server(ClientAuth::None);
    let first = tokio::runtime::Runtime::new().unwrap();
    let addr = first.block_on(async { Server::echo(&tls, QuicLimits::default()).addr });
    let site = tokio::runtime::Runtime::new().unwrap();
    let options = transport::h3client::ClientOptions {
        // Nothing but a reset ends the connection within this test's patience.
        idle_timeout: Duration::from_secs(3600),
        keep_alive: Some(Duration::from_millis(100)),
        ..Default::default()
    };
    let client_tls = pki.client(None);
    let connect = transport::h3client::Connection::connect(addr, "localhost", &client_tls, options);
    let client = site.block_on(connect).unwrap();
    site.block_on(client.send(get("/"))).unwrap();
    // No goodbye: the sockets and tasks are gone from one moment to the next.
    first.shutdown_background();
    let second = tokio::runtime::Runtime::new().unwrap();
    let rebound = second.block_on(async {
        loop {
            // The old socket goes with the last of the old tasks.
            match Endpoint::bind(addr, &tls, QuicLimits::default()) {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let end = site
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), client.closed()).await });
    assert!(end.is_ok_and(|end| end.to_string().contains("restarted")));
    drop(rebound);
}
