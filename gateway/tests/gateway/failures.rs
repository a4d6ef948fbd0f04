//! What origins do wrong: told apart, retried where that is harmless, and never passed off as a whole answer.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use veilgate::body::Body;

use crate::client::{Connection, fetch};
use crate::origin::Origin;
use crate::site::{PATIENCE, ROUTE, Site, until};

/// An address where nothing listens.
async fn nobody() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    listener.local_addr().expect("bound")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_not_there_is_502_and_the_client_learns_no_address() {
    let addr = nobody().await;
    let site = Site::plain(addr, ROUTE).await;
    let reply = fetch(site.addr, "/").await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(
        !reply.text().contains(&addr.port().to_string()),
        "{}",
        reply.text()
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_says_nothing_is_504() {
    let (_, addr) = Origin::start().await;
    let site = Site::plain(addr, &format!("{ROUTE}timeout = \"300ms\"\n")).await;
    let reply = fetch(site.addr, "/silent").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(reply.json()["title"], "Gateway timeout");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_repeated_is_and_what_cannot_is_not() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    assert_eq!(
        fetch(site.addr, "/drop-once").await.status,
        StatusCode::OK,
        "a GET is sent again"
    );
    assert_eq!(origin.requests(), 2);
    let post = Request::post("/drop")
        .body(Body::empty())
        .expect("a request");
    let reply = Connection::plain(site.addr).await.send(post).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert_eq!(origin.requests(), 3, "a POST is sent once");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_is_broken_off() {
    let (_, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    let mut connection = Connection::plain(site.addr).await;
    let response = connection
        .head(
            Request::get("/broken-body")
                .body(Body::empty())
                .expect("a request"),
        )
        .await;
    let read = tokio::time::timeout(PATIENCE, response.into_body().collect())
        .await
        .expect("an end");
    assert!(read.is_err(), "a part is not passed off as the whole");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_is_told_when_the_client_leaves() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    let mut connection = Connection::plain(site.addr).await;
    let response = connection
        .head(
            Request::get("/endless")
                .body(Body::empty())
                .expect("a request"),
        )
        .await;
    drop(response);
    drop(connection);
    tokio::time::timeout(PATIENCE, origin.given_up.notified())
        .await
        .expect("the origin's body is dropped");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_metrics_and_status_are_on_the_admin_listener_alone() {
    let (_, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    assert_eq!(fetch(site.addr, "/").await.status, StatusCode::OK);
    assert_eq!(fetch(site.admin(), "/healthz").await.text(), "ok\n");
    assert_eq!(fetch(site.admin(), "/readyz").await.status, StatusCode::OK);
    let admin = site.admin();
    until("the exchange is in the metrics", async || {
        let text = fetch(admin, "/metrics").await.text().to_owned();
        text.contains(
            "gateway_http_requests_total{route=\"all\",proto=\"h1\",method=\"GET\",status=\"200\"}",
        ) && text.contains("gateway_http_request_duration_seconds_bucket")
            && text.contains("gateway_connections")
    })
    .await;
    let status = fetch(site.admin(), "/status").await.json();
    assert_eq!(status["ready"], true);
    assert_eq!(status["upstreams"][0]["name"], "origin");
    assert_eq!(
        fetch(site.addr, "/metrics").await.text(),
        "hello",
        "the traffic's listener has no admin pages"
    );
    assert_eq!(
        fetch(site.admin(), "/nothing").await.status,
        StatusCode::NOT_FOUND
    );
    site.stop().await;
}
