//! Upstreams against real servers on loopback: what goes right, and every way in which it goes wrong.

mod origin;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use self::origin::{Origin, unused_port};
use super::*;
use crate::body::BodyError;
use crate::config::UpstreamTls;
use crate::error::RequestFault;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn config(ports: &[u16]) -> UpstreamConfig {
    UpstreamConfig {
        name: "app".into(),
        endpoints: ports
            .iter()
            .map(|port| EndpointConfig {
                tls: false,
                host: "127.0.0.1".into(),
                port: *port,
                weight: 1,
                zone: String::new(),
            })
            .collect(),
        balance: Balance::RoundRobin,
        connect_timeout: LONG,
        first_byte_timeout: LONG,
        between_bytes_timeout: LONG,
        idle_timeout: LONG,
        max_connections: 64,
        retries: 1,
        tls: UpstreamTls::default(),
        health: None,
    }
}

fn start(config: UpstreamConfig) -> (Arc<Upstreams>, Arc<Upstream>) {
    let name = config.name.clone();
    let all = Upstreams::start(&[config]).expect("no TLS, so nothing to fail");
    let one = all.named(&name).expect("it is there").clone();
    (all, one)
}

fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header(header::HOST, "a.test")
        .body(Body::empty())
        .expect("a request")
}

fn post(body: Body) -> Request<Body> {
    let mut request = get("/echo");
    *request.method_mut() = Method::POST;
    *request.body_mut() = body;
    request
}

async fn send(upstream: &Arc<Upstream>, request: Request<Body>) -> Result<Response<Body>, Failed> {
    upstream
        .pick(Wish::default())
        .expect("an endpoint")
        .send(request, None)
        .await
}

async fn text(response: Response<Body>) -> String {
    let bytes = response
        .into_body()
        .collect_bounded(1 << 20)
        .await
        .expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Waits for what happens soon, on another task.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_request_goes_out_in_its_form_and_comes_back_without_hop_fields() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(config(&[origin.port]));
    let mut request = get("/head?q=1");
    request
        .headers_mut()
        .insert(header::CONNECTION, "x-hop".parse().expect("a value"));
    request
        .headers_mut()
        .insert("x-hop", "1".parse().expect("a value"));
    let response = send(&upstream, request).await.expect("an answer");
    assert_eq!(
        response
            .headers()
            .get("x-from-origin")
            .map(|v| v.as_bytes()),
        Some(b"1".as_slice())
    );
    for gone in ["connection", "keep-alive", "x-origin-hop"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(
        text(response).await,
        "GET /head?q=1 HTTP/1.1 host=a.test x-hop="
    );
}

#[tokio::test]
async fn connections_are_used_again_after_a_whole_body_and_only_then() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(config(&[origin.port]));
    for _ in 0..10 {
        assert_eq!(
            text(send(&upstream, get("/hello")).await.expect("an answer")).await,
            "hello"
        );
        let response = send(&upstream, get("/empty")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(origin.connections(), 1);
    let dropped = send(&upstream, get("/endless")).await.expect("a head");
    assert_eq!(upstream.stats().in_flight, 1);
    drop(dropped);
    assert_eq!(upstream.stats().in_flight, 0);
    assert_eq!(
        upstream.endpoints[0].pool.idle_len(),
        0,
        "a body that was given up takes its connection along"
    );
    assert_eq!(
        text(send(&upstream, get("/hello")).await.expect("an answer")).await,
        "hello"
    );
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_is_replaced_silently() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(config(&[origin.port]));
    for _ in 0..3 {
        let response = send(&upstream, get("/then-close"))
            .await
            .expect("an answer");
        assert_eq!(text(response).await, "bye");
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn idle_connections_end_with_their_time() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(UpstreamConfig {
        idle_timeout: SHORT,
        ..config(&[origin.port])
    });
    text(send(&upstream, get("/hello")).await.expect("an answer")).await;
    let pool = &upstream.endpoints[0].pool;
    assert_eq!(pool.idle_len(), 1);
    eventually("an idle connection is swept", || {
        pool.sweep();
        pool.idle_len() == 0
    })
    .await;
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(config(&[origin.port]));
    let (chunks, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver
            .recv()
            .await
            .map(|chunk| (Ok::<_, BodyError>(Frame::data(chunk)), receiver))
    });
    let response = send(
        &upstream,
        post(Body::wrap_with(StreamBody::new(stream.boxed()), |error| {
            error
        })),
    )
    .await
    .expect("the head comes before the upload ends");
    let mut body = response.into_body();
    // Each chunk is sent only once the one before it came back: nothing on the way gathers them.
    for word in ["one", "two", "three"] {
        chunks
            .send(Bytes::from_static(word.as_bytes()))
            .await
            .expect("the upload is open");
        let frame = body.frame().await.expect("not the end").expect("no error");
        assert_eq!(frame.into_data().expect("data"), word);
    }
    drop(chunks);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_refused_connection_is_safe_to_retry_and_gives_the_request_back() {
    let (_all, upstream) = start(config(&[unused_port().await]));
    let failed = send(&upstream, post(Body::full("precious")))
        .await
        .expect_err("nobody listens");
    assert_eq!(
        (failed.error.kind, failed.error.retry),
        (Kind::ConnectionRefused, Retry::Safe)
    );
    let unsent = failed.unsent.expect("the request");
    assert_eq!(
        (unsent.method(), unsent.uri().path()),
        (&Method::POST, "/echo")
    );
    let bytes = unsent
        .into_body()
        .collect_bounded(100)
        .await
        .expect("its body");
    assert_eq!(bytes, "precious");
}

#[tokio::test]
async fn every_wait_has_its_limit() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(UpstreamConfig {
        first_byte_timeout: SHORT,
        between_bytes_timeout: SHORT,
        ..config(&[origin.port])
    });
    let failed = send(&upstream, get("/silent")).await.expect_err("no head");
    assert_eq!(
        (failed.error.kind, failed.error.retry),
        (Kind::HttpResponseTimeout, Retry::IfIdempotent)
    );
    assert!(failed.unsent.is_none());

    let response = send(&upstream, get("/endless")).await.expect("a head");
    let error = response
        .into_body()
        .collect_bounded(1 << 20)
        .await
        .expect_err("silence");
    assert!(matches!(error, BodyError::Stalled(_)), "{error:?}");

    let (_all, patient) = start(config(&[origin.port]));
    let deadline = Some(Instant::now() + SHORT);
    let picked = patient.pick(Wish::default()).expect("an endpoint");
    let failed = picked
        .send(get("/silent"), deadline)
        .await
        .expect_err("no head by then");
    assert_eq!(failed.error.kind, Kind::HttpResponseTimeout);
    eventually("nothing is in flight", || patient.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_tls_peer_that_never_shakes_hands_is_a_connection_timeout() {
    let origin = Origin::silent().await;
    let ca = origin::Ca::make();
    let mut settings = config(&[origin.port]);
    settings.endpoints[0].tls = true;
    settings.tls.ca = Some(ca.path());
    settings.connect_timeout = SHORT;
    let (_all, upstream) = start(settings);
    let failed = send(&upstream, get("/hello"))
        .await
        .expect_err("no handshake");
    assert_eq!(
        (failed.error.kind, failed.error.retry),
        (Kind::ConnectionTimeout, Retry::Safe)
    );
    assert!(failed.unsent.is_some());
}

#[tokio::test]
async fn an_upload_in_progress_is_not_a_late_response() {
    let origin = Origin::start().await;
    let first_byte = Duration::from_millis(600);
    let (_all, upstream) = start(UpstreamConfig {
        first_byte_timeout: first_byte,
        ..config(&[origin.port])
    });
    // Eight chunks, 200 ms apart: the upload takes far longer than the time-out, and never pauses for as long.
    let slow = futures_util::stream::unfold(0, |n| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        (n < 8).then(|| {
            (
                Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"x"))),
                n + 1,
            )
        })
    });
    let mut request = post(Body::wrap_with(StreamBody::new(slow.boxed()), |error| {
        error
    }));
    *request.uri_mut() = "/count".parse().expect("a path");
    let response = send(&upstream, request)
        .await
        .expect("an answer after the upload");
    assert_eq!(text(response).await, "8");
}

#[tokio::test]
async fn resets_and_nonsense_are_told_apart() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(config(&[origin.port]));
    let check = async |path: &str, kind, retry| {
        let failed = send(&upstream, get(path)).await.expect_err(path);
        assert_eq!(
            (failed.error.kind, failed.error.retry),
            (kind, retry),
            "{path}: {}",
            failed.error
        );
    };
    check("/close", Kind::ConnectionTerminated, Retry::IfIdempotent).await;
    check("/reset", Kind::ConnectionTerminated, Retry::IfIdempotent).await;
    check("/not-http", Kind::HttpProtocolError, Retry::No).await;
    check("/huge-head", Kind::HttpResponseHeaderSectionSize, Retry::No).await;

    for path in ["/short", "/reset-body"] {
        let response = send(&upstream, get(path)).await.expect("a head");
        let error = response
            .into_body()
            .collect_bounded(1 << 20)
            .await
            .expect_err(path);
        assert!(matches!(error, BodyError::Incomplete(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_failing_upload_is_the_clients_fault() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(config(&[origin.port]));
    let broken = futures_util::stream::iter([
        Ok(Frame::data(Bytes::from_static(b"some"))),
        Err(BodyError::Incomplete("the client left".into())),
    ]);
    let mut request = post(Body::wrap_with(StreamBody::new(broken), |error| error));
    *request.uri_mut() = "/count".parse().expect("a path");
    let failed = send(&upstream, request)
        .await
        .expect_err("the upload broke");
    assert_eq!(
        (failed.error.kind, failed.error.side),
        (Kind::Request(RequestFault::Aborted), Side::Client)
    );
    assert!(
        upstream.stats().error_rate < f64::EPSILON,
        "the endpoint is not blamed"
    );
}

#[tokio::test]
async fn statistics_tell_what_happened() {
    let origin = Origin::start().await;
    let (all, upstream) = start(config(&[origin.port]));
    for _ in 0..8 {
        text(send(&upstream, get("/hello")).await.expect("an answer")).await;
    }
    for _ in 0..2 {
        let response = send(&upstream, get("/fail")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let held = send(&upstream, get("/endless")).await.expect("a head");
    use policy_host::UpstreamView;
    let stats = all.stats_of("app").expect("it is there");
    assert_eq!((stats.total, stats.healthy, stats.in_flight), (1, 1, 1));
    assert!((stats.error_rate - 2.0 / 11.0).abs() < 1e-9, "{stats:?}");
    assert!(
        stats.rate > 0.0 && stats.p50_us > 0 && stats.p99_us >= stats.p50_us,
        "{stats:?}"
    );
    let endpoint = &all.endpoints("app").expect("it is there")[0];
    assert_eq!(
        (endpoint.id, endpoint.weight, endpoint.in_flight),
        (0, 1, 1)
    );
    assert!(endpoint.ewma_us > 0 && endpoint.healthy);
    drop(held);
    assert_eq!(all.names(), ["app"]);
    assert!(all.stats_of("other").is_err());
}

#[tokio::test]
async fn requests_past_the_limit_are_refused_at_once() {
    let origin = Origin::start().await;
    let (_all, upstream) = start(UpstreamConfig {
        max_connections: 2,
        ..config(&[origin.port])
    });
    let first = send(&upstream, get("/endless")).await.expect("a head");
    let second = send(&upstream, get("/endless")).await.expect("a head");
    let failed = send(&upstream, get("/hello")).await.expect_err("full");
    assert_eq!(
        (failed.error.kind, failed.error.retry),
        (Kind::ConnectionLimitReached, Retry::Safe)
    );
    assert!(failed.unsent.is_some());
    drop((first, second));
    text(send(&upstream, get("/hello")).await.expect("room again")).await;
}

#[tokio::test]
async fn a_dead_endpoint_is_left_alone_and_a_policy_can_forbid_the_last() {
    let origin = Origin::start().await;
    let dead = unused_port().await;
    let (all, upstream) = start(config(&[dead, origin.port]));
    // Round robin: every other request meets the dead one, and no success of its own ever interrupts the row.
    for _ in 0..5 {
        assert_eq!(upstream.stats().healthy, 2);
        assert!(send(&upstream, get("/hello")).await.is_err());
        text(
            send(&upstream, get("/hello"))
                .await
                .expect("the other one works"),
        )
        .await;
    }
    assert_eq!(upstream.stats().healthy, 1, "five in a row eject");

    let tried = Wish {
        tried: &[1],
        ..Wish::default()
    };
    assert_eq!(
        upstream.pick(tried).map(|picked| picked.id()).ok(),
        Some(1),
        "a suspect is no elsewhere"
    );
    let pinned = Wish {
        endpoint: Some(0),
        ..Wish::default()
    };
    assert_eq!(
        upstream.pick(pinned).map(|picked| picked.id()).ok(),
        Some(0)
    );
    let nowhere = Wish {
        endpoint: Some(9),
        ..Wish::default()
    };
    assert_eq!(
        upstream.pick(nowhere).err().map(|error| error.kind),
        Some(Kind::DestinationNotFound)
    );

    use policy_host::UpstreamView;
    for id in 0..2 {
        all.eject("app", id, 60_000).expect("it is there");
    }
    assert!(all.eject("app", 2, 1).is_err());
    let refused = upstream
        .pick(Wish::default())
        .err()
        .expect("all are excluded");
    assert_eq!(refused.kind, Kind::DestinationUnavailable);
    assert!(!upstream.is_available());
    all.eject("app", 1, 0).expect("it is there");
    assert!(upstream.pick(Wish::default()).is_ok());
}

#[tokio::test]
async fn an_active_check_takes_an_endpoint_out_and_back() {
    let origin = Origin::start().await;
    let health = HealthConfig {
        path: "/health".into(),
        interval: Duration::from_millis(20),
        timeout: LONG,
        healthy_after: 2,
        unhealthy_after: 2,
    };
    let (_all, upstream) = start(UpstreamConfig {
        health: Some(health),
        ..config(&[origin.port])
    });
    origin.set_healthy(false);
    eventually("the endpoint is out", || !upstream.is_available()).await;
    origin.set_healthy(true);
    eventually("the endpoint is back", || upstream.is_available()).await;
}

#[tokio::test]
async fn tls_upstreams_are_verified_and_share_one_h2_connection() {
    let ca = origin::Ca::make();
    let origin = Origin::start_tls(&ca, "app.test").await;
    let mut settings = config(&[origin.port]);
    settings.endpoints[0].tls = true;
    settings.tls = UpstreamTls {
        ca: Some(ca.path()),
        server_name: Some("app.test".into()),
    };
    let (_all, upstream) = start(settings.clone());
    let burst = (0..20)
        .map(|_| async { text(send(&upstream, get("/head")).await.expect("an answer")).await });
    for answer in futures_util::future::join_all(burst).await {
        assert_eq!(answer, "GET /head HTTP/2.0 host=a.test x-hop=");
    }
    assert_eq!(origin.connections(), 1);

    settings.tls.server_name = Some("other.test".into());
    let (_all, upstream) = start(settings.clone());
    let failed = send(&upstream, get("/head"))
        .await
        .expect_err("the wrong name");
    assert_eq!(
        (failed.error.kind, failed.error.retry),
        (Kind::TlsCertificateError, Retry::Safe),
        "{}",
        failed.error
    );

    let stranger = origin::Ca::make();
    settings.tls.ca = Some(stranger.path());
    let (_all, upstream) = start(settings);
    let failed = send(&upstream, get("/head"))
        .await
        .expect_err("the wrong authority");
    assert_eq!(
        failed.error.kind,
        Kind::TlsCertificateError,
        "{}",
        failed.error
    );
}
