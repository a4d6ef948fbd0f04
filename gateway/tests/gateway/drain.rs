//! A stop: what is in flight finishes, nothing new begins.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use transport::tls::Protocol;
use veilgate::body::Body;

use crate::client::{Connection, fetch};
use crate::origin::Origin;
use crate::site::{PATIENCE, ROUTE, Site, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_exchanges_in_flight_finish() {
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Http3] {
        let (origin, addr) = Origin::start().await;
        let site = Site::encrypted(addr, ROUTE).await;
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let request = Request::get("/stream")
            .body(Body::empty())
            .expect("a request");
        let mut body = connection.head(request).await.into_body();
        body.frame().await.expect("a chunk").expect("no error");
        let gateway = site.addr;
        let stopping = tokio::spawn(site.stop());
        until("the gateway accepts nothing new", async || {
            tokio::net::TcpStream::connect(gateway).await.is_err()
        })
        .await;
        assert!(!stopping.is_finished(), "{protocol:?}");
        origin.go_on.notify_one();
        let rest = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .expect("in time")
            .expect("the whole body");
        assert_eq!(rest.to_bytes(), "second", "{protocol:?}");
        drop(connection);
        tokio::time::timeout(PATIENCE, stopping)
            .await
            .expect("the stop ends")
            .expect("in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_seen_by_probes_before_it_ends() {
    let (origin, addr) = Origin::start().await;
    let site = Site::plain(addr, ROUTE).await;
    let mut connection = Connection::plain(site.addr).await;
    let request = Request::get("/stream")
        .body(Body::empty())
        .expect("a request");
    let mut body = connection.head(request).await.into_body();
    body.frame().await.expect("a chunk").expect("no error");
    let admin = site.admin();
    let stopping = tokio::spawn(site.stop());
    until("the gateway is not ready", async || {
        fetch(admin, "/readyz").await.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(
        fetch(admin, "/healthz").await.status,
        StatusCode::OK,
        "draining is healthy"
    );
    origin.go_on.notify_one();
    body.collect().await.expect("the whole body");
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .expect("the stop ends")
        .expect("in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_finish_is_cut_at_the_deadline() {
    let (_, addr) = Origin::start().await;
    let text = format!(
        "[server]\naccess_log = false\ndrain_timeout = \"200ms\"\n[[listener]]\naddr = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\n{ROUTE}"
    );
    let site = Site::start(tempfile::tempdir().expect("a folder"), &text).await;
    let mut connection = Connection::plain(site.addr).await;
    let request = Request::get("/stream")
        .body(Body::empty())
        .expect("a request");
    let mut body = connection.head(request).await.into_body();
    body.frame().await.expect("a chunk").expect("no error");
    let in_time = tokio::time::timeout(PATIENCE, site.running.stop())
        .await
        .expect("the stop ends");
    assert!(!in_time);
    let rest = tokio::time::timeout(Duration::from_secs(5), body.collect())
        .await
        .expect("an end");
    assert!(rest.is_err(), "a part is not passed off as the whole");
}
