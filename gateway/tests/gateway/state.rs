//! What policies keep and tell through the gateway: their metrics at /metrics, stores that they share, responses that they tag.

use http::{Request, StatusCode};
use veilgate::body::Body;

use crate::client::{Connection, Reply, fetch};
use crate::guests::guest;
use crate::origin::Origin;
use crate::site::Site;

const CONFIGURE: &str = "veilgate:policy/lifecycle@0.2.1#configure";
const ON_REQUEST: &str = "veilgate:policy/request-hook@0.2.1#on-request";
const BEFORE: &str = "veilgate:policy/attempt-hook@0.2.1#before";

async fn site(policies: &[(&str, Vec<u8>, &str)], addr: std::net::SocketAddr) -> Site {
    let dir = tempfile::tempdir().expect("a folder");
    let mut text = format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [cache]\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\n"
    );
    for (name, wasm, settings) in policies {
        std::fs::write(dir.path().join(format!("{name}.wasm")), wasm).expect("written");
        text += &format!(
            "[[policy]]\nname = \"{name}\"\nmodule = \"{name}.wasm\"\n{settings}\n\
             [[route]]\nname = \"{name}\"\npath_prefix = \"/{name}\"\nupstream = \"origin\"\npolicies = [\"{name}\"]\n"
        );
    }
    Site::start(dir, &text).await
}

/// Counts requests by a label, observes 7.5, and sets a gauge to 1.5.
fn teller() -> Vec<u8> {
    let world = "import veilgate:policy/metrics@0.2.1; export veilgate:policy/lifecycle@0.2.1; export veilgate:policy/request-hook@0.2.1;";
    let imports = r#"
      (import "veilgate:policy/metrics@0.2.1" "define" (func $define (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "veilgate:policy/metrics@0.2.1" "add" (func $add (param i32 i64 i32 i32)))
      (import "veilgate:policy/metrics@0.2.1" "set" (func $set (param i32 f64 i32 i32)))
      (import "veilgate:policy/metrics@0.2.1" "observe" (func $observe (param i32 f64 i32 i32)))"#;
    let body = format!(
        r#"(data (i32.const 16) "seen_total") (data (i32.const 32) "cost") (data (i32.const 40) "level") (data (i32.const 48) "who") (data (i32.const 56) "a \"b\"")
        (data (i32.const 64) "What was seen")
        (data (i32.const 80) "\30\00\00\00\03\00\00\00\38\00\00\00\05\00\00\00")
        (func $defined (if (i32.load8_u (i32.const 1024)) (then (unreachable))))
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $define (i32.const 0) (i32.const 16) (i32.const 10) (i32.const 64) (i32.const 13) (i32.const 80) (i32.const 1) (i32.const 1024)) (call $defined)
          (call $define (i32.const 2) (i32.const 32) (i32.const 4) (i32.const 64) (i32.const 0) (i32.const 80) (i32.const 0) (i32.const 1024)) (call $defined)
          (call $define (i32.const 1) (i32.const 40) (i32.const 5) (i32.const 64) (i32.const 0) (i32.const 80) (i32.const 0) (i32.const 1024)) (call $defined)
          (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32)
          (call $add (i32.const 0) (i64.const 2) (i32.const 88) (i32.const 1))
          (call $observe (i32.const 1) (f64.const 7.5) (i32.const 80) (i32.const 0))
          (call $set (i32.const 2) (f64.const 1.5) (i32.const 80) (i32.const 0))
          (i32.const 4096))"#
    );
    guest(world, imports, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_a_policy_are_shown_under_its_name() {
    let (_, addr) = Origin::start().await;
    let site = site(&[("metering-test", teller(), "")], addr).await;
    for _ in 0..3 {
        assert_eq!(
            fetch(site.addr, "/metering-test").await.status,
            StatusCode::OK
        );
    }
    let metrics = fetch(site.admin(), "/metrics").await;
    for line in [
        "# HELP policy_metering_test_seen_total What was seen\n",
        "# TYPE policy_metering_test_seen_total counter\n",
        "policy_metering_test_seen_total{who=\"a \\\"b\\\"\"} 6\n",
        "policy_metering_test_cost_bucket{le=\"5\"} 0\n",
        "policy_metering_test_cost_bucket{le=\"10\"} 3\n",
        "policy_metering_test_cost_count 3\n",
        "policy_metering_test_level 1.5\n",
    ] {
        assert!(metrics.text().contains(line), "{line}{}", metrics.text());
    }
    site.stop().await;
}

/// Counts requests in the store `s`; answers 200 and the count.
fn counter() -> Vec<u8> {
    let world = "import veilgate:policy/kv@0.2.1; export veilgate:policy/lifecycle@0.2.1; export veilgate:policy/request-hook@0.2.1;";
    let imports = r#"
      (import "veilgate:policy/kv@0.2.1" "[static]store.open" (func $open (param i32 i32 i32)))
      (import "veilgate:policy/kv@0.2.1" "[method]store.incr" (func $incr (param i32 i32 i32 i64 i32 i64 i32)))"#;
    let body = format!(
        r#"(global $store (mut i32) (i32.const 0)) (data (i32.const 16) "s") (data (i32.const 24) "hits")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $open (i32.const 16) (i32.const 1) (i32.const 1024))
          (global.set $store (i32.load (i32.const 1028)))
          (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32)
          (call $incr (global.get $store) (i32.const 24) (i32.const 4) (i64.const 1) (i32.const 0) (i64.const 0) (i32.const 1024))
          (i32.store8 (i32.const 2048) (i32.const 1))
          (i32.store16 (i32.const 2052) (i32.add (i32.const 200) (i32.wrap_i64 (i64.load (i32.const 1032)))))
          (i32.const 2048))"#
    );
    guest(world, imports, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_share_the_stores_that_the_operator_lists() {
    let (_, addr) = Origin::start().await;
    let shared = "grants = [\"kv\"]\nkv_shared = [\"s\"]";
    let site = site(
        &[
            ("one", counter(), shared),
            ("two", counter(), shared),
            ("own", counter(), "grants = [\"kv\"]"),
        ],
        addr,
    )
    .await;
    for (path, count) in [("/one", 1), ("/two", 2), ("/own", 1), ("/one", 3)] {
        assert_eq!(fetch(site.addr, path).await.status, 200 + count, "{path}");
    }
    let metrics = fetch(site.admin(), "/metrics").await;
    for line in [
        "gateway_policy_kv_entries{policy=\"*\",store=\"s\"} 1\n",
        "gateway_policy_kv_entries{policy=\"own\",store=\"s\"} 1\n",
    ] {
        assert!(metrics.text().contains(line), "{line}{}", metrics.text());
    }
    site.stop().await;
}

/// Stores for so many milliseconds under the tag `t&t`, lets a stale answer stand in for an error for a minute, and gives up on
/// requests with the field `x-give-up`.
fn cacher(ttl_ms: u64) -> Vec<u8> {
    let world = "import veilgate:policy/request@0.2.1; import veilgate:policy/cache@0.2.1; export veilgate:policy/request-hook@0.2.1; export veilgate:policy/attempt-hook@0.2.1;";
    let imports = r#"
      (import "veilgate:policy/request@0.2.1" "header" (func $header (param i32 i32 i32)))
      (import "veilgate:policy/cache@0.2.1" "store" (func $store (param i64 i64 i64)))
      (import "veilgate:policy/cache@0.2.1" "tag" (func $tag (param i32 i32)))
      (import "veilgate:policy/cache@0.2.1" "stale-if-error" (func $stale_if_error (param i64)))"#;
    let body = format!(
        r#"(data (i32.const 16) "t&t") (data (i32.const 24) "x-give-up") (data (i32.const 40) "\10\00\00\00\03\00\00\00")
        (func (export "{ON_REQUEST}") (result i32)
          (call $store (i64.const {ttl_ms}) (i64.const 0) (i64.const 0))
          (call $tag (i32.const 40) (i32.const 1))
          (i32.const 4096))
        (func (export "{BEFORE}") (param i32 i32 i32 i32 i32) (result i32)
          (call $stale_if_error (i64.const 60000))
          (call $header (i32.const 24) (i32.const 9) (i32.const 1024))
          (i32.store8 (i32.const 2048) (select (i32.const 3) (i32.const 0) (i32.load8_u (i32.const 1024))))
          (i32.const 2048))"#
    );
    guest(world, imports, &body)
}

async fn purge(site: &Site, request: http::request::Builder, query: &str) -> Reply {
    let request = request
        .uri(format!("/cache/purge{query}"))
        .body(Body::empty())
        .expect("a request");
    Connection::plain(site.admin()).await.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_purges_by_tag_and_no_web_page_does() {
    let (origin, addr) = Origin::start().await;
    let site = site(&[("tagged", cacher(60_000), "grants = [\"cache\"]")], addr).await;
    for path in ["/tagged/a", "/tagged/b", "/tagged/a"] {
        assert_eq!(fetch(site.addr, path).await.text(), "hello");
    }
    assert_eq!(origin.requests(), 2);
    let post = || Request::post("/");
    for (request, query, status) in [
        (Request::get("/"), "?tag=t%26t", 405),
        (
            post().header("origin", "http://evil.test"),
            "?tag=t%26t",
            403,
        ),
        (post(), "", 400),
        (post(), "?tag=", 400),
        (post(), "?tag=t%26t&all=1", 400),
    ] {
        let refused = purge(&site, request, query).await;
        assert_eq!(refused.status, status, "{query}");
    }
    let none = purge(&site, post(), "?tag=unknown").await;
    assert_eq!(none.json()["purged"], 0);
    let two = purge(&site, post(), "?tag=unknown&tag=t%26t").await;
    assert_eq!(two.json()["purged"], 2);
    fetch(site.addr, "/tagged/a").await;
    assert_eq!(origin.requests(), 3);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_gives_up_leaves_the_stale_answer_if_there_is_one() {
    let (origin, addr) = Origin::start().await;
    let site = site(&[("stale", cacher(1), "grants = [\"cache\"]")], addr).await;
    assert_eq!(fetch(site.addr, "/stale/a").await.text(), "hello");
    // The lifetime is one millisecond.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let give_up = async |path: &str| {
        let request = Request::get(path)
            .header("x-give-up", "1")
            .body(Body::empty())
            .expect("a request");
        Connection::plain(site.addr).await.send(request).await
    };
    let stale = give_up("/stale/a").await;
    assert_eq!((stale.status, stale.text()), (StatusCode::OK, "hello"));
    let status = stale.header("cache-status").expect("it says so");
    assert!(status.contains("stale-if-error"), "{status}");
    assert_eq!(
        give_up("/stale/b").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(origin.requests(), 1);
    site.stop().await;
}

/// What `cargo xtask policies` built.
fn shipped(name: &str) -> std::path::PathBuf {
    let folder = std::env::var_os("VEILGATE_POLICIES_DIR")
        .expect("VEILGATE_POLICIES_DIR is not set: run `cargo xtask test`, which builds the policies and sets it");
    std::path::Path::new(&folder).join(format!("{name}.wasm"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_leaves_what_is_stored_and_else_a_503() {
    let (origin, addr) = Origin::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[cache]\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\nretries = 0\n\
         [[policy]]\nname = \"caching\"\nmodule = {:?}\ngrants = [\"cache\"]\n\
         [[policy.config.rules]]\nttl = \"1ms\"\nstale-if-error = \"1h\"\n\
         [[policy]]\nname = \"breaker\"\nmodule = {:?}\ngrants = [\"breakers\"]\n\
         [[policy.config.breakers]]\nmin-calls = 3\nfailure-rate = 0.5\nopen-for = \"1h\"\nwhen-open = \"stale\"\n\
         [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"caching\", \"breaker\"]\n",
        shipped("caching"),
        shipped("circuit-breaker"),
    );
    let site = Site::start(dir, &text).await;
    assert_eq!(fetch(site.addr, "/kept").await.text(), "hello");
    for _ in 0..2 {
        assert_eq!(
            fetch(site.addr, "/drop").await.status,
            StatusCode::BAD_GATEWAY
        );
    }
    assert_eq!(origin.requests(), 3);
    // Two of three failed. Nothing of `/other` is stored, and the origin is not asked.
    for path in ["/other", "/drop"] {
        let refused = fetch(site.addr, path).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        let kind = refused.json()["type"].clone();
        assert_eq!(kind, "urn:veilgate:gateway:unavailable", "{path}");
    }
    let kept = fetch(site.addr, "/kept").await;
    assert_eq!((kept.status, kept.text()), (StatusCode::OK, "hello"));
    let status = kept.header("cache-status").expect("it says so");
    assert!(status.contains("stale-if-error"), "{status}");
    assert_eq!(origin.requests(), 3);
    site.stop().await;
}
