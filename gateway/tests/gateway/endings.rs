//! What policies are told of an exchange once it is over, and what they do by the clock.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use veilgate::body::Body;

use crate::bodied::site;
use crate::client::{Connection, fetch};
use crate::guests::roomy as guest;
use crate::origin::Origin;
use crate::site::{Site, until};

const COMPLETE: &str = "veilgate:policy/complete-hook@0.2.1#on-complete";
const COMPLETE_PARAMS: &str = "(param i32 i64 i32 i64 i32 i32 i32 i32 i64 i64 i32 i32 i32)";

/// Calls and faults of the one policy.
async fn counted(site: &Site) -> (u64, u64) {
    let status = fetch(site.admin(), "/status").await.json();
    let policy = &status["policies"][0];
    let faults = policy["faults"].as_object().map_or(0, |faults| {
        faults.values().filter_map(|count| count.as_u64()).sum()
    });
    (policy["calls"].as_u64().unwrap_or(0), faults)
}

async fn is_called(site: &Site, times: u64) {
    until("the end is told", async || counted(site).await.0 >= times).await;
    assert_eq!(counted(site).await, (times, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_told_once_after_success_error_and_abort() {
    let (origin, addr) = Origin::start().await;
    // Traps unless: an attempt was made; there is an upstream time exactly for what is no error of the gateway's (and no abort
    // without an upstream's head); a client's abort comes with the response's bytes so far.
    let body = format!(
        r#"(func (export "{COMPLETE}") {COMPLETE_PARAMS}
          (call $reset)
          (if (i32.ne (local.get 2) (i32.ne (local.get 0) (i32.const 502))) (then (unreachable)))
          (if (i32.eqz (local.get 4)) (then (unreachable)))
          (if (i32.eqz (local.get 7)) (then (unreachable)))
          (if (i32.and (local.get 12) (i64.eqz (local.get 9))) (then (unreachable))))"#
    );
    let module = guest("export veilgate:policy/complete-hook@0.2.1;", "", &body);
    let site = site(addr, &[("a", module, "")], "").await;
    assert_eq!(fetch(site.addr, "/").await.text(), "hello");
    is_called(&site, 1).await;
    assert_eq!(
        fetch(site.addr, "/drop").await.status,
        StatusCode::BAD_GATEWAY
    );
    is_called(&site, 2).await;
    let mut connection = Connection::plain(site.addr).await;
    let endless = Request::get("/endless")
        .body(Body::empty())
        .expect("a request");
    let mut response = connection.head(endless).await;
    response
        .body_mut()
        .frame()
        .await
        .expect("a frame")
        .expect("data");
    drop(response);
    drop(connection);
    origin.given_up.notified().await;
    is_called(&site, 3).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_at_the_end_concerns_nobody() {
    let (_, addr) = Origin::start().await;
    let body = format!(r#"(func (export "{COMPLETE}") {COMPLETE_PARAMS} (unreachable))"#);
    let module = guest("export veilgate:policy/complete-hook@0.2.1;", "", &body);
    for rule in ["deny", "skip"] {
        let on_fault = format!("on_fault = \"{rule}\"");
        let site = site(addr, &[("a", module.clone(), &on_fault)], "").await;
        assert_eq!(fetch(site.addr, "/").await.text(), "hello", "{rule}");
        until("the fault is counted", async || {
            counted(&site).await == (1, 1)
        })
        .await;
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usage_of_a_streamed_chat_is_known_at_its_end() {
    let (_, addr) = Origin::start().await;
    let imports = r#"(import "veilgate:policy/llm@0.2.1" "usage-of" (func $usage_of (param i32)))"#;
    // Some; prompt 30, completion 4, measured.
    let body = format!(
        r#"(func (export "{COMPLETE}") {COMPLETE_PARAMS}
          (call $usage_of (i32.const 2048))
          (if (i32.ne (i32.load8_u (i32.const 2048)) (i32.const 1)) (then (unreachable)))
          (if (i64.ne (i64.load (i32.const 2056)) (i64.const 30)) (then (unreachable)))
          (if (i64.ne (i64.load (i32.const 2064)) (i64.const 4)) (then (unreachable)))
          (if (i32.load8_u (i32.const 2072)) (then (unreachable))))"#
    );
    let world = "import veilgate:policy/llm@0.2.1; export veilgate:policy/complete-hook@0.2.1;";
    let module = guest(world, imports, &body);
    let site = site(addr, &[("a", module, "grants = [\"llm\"]")], "").await;
    let chat = fetch(site.addr, "/chat").await;
    assert!(chat.text().contains("usage"), "{}", chat.text());
    is_called(&site, 1).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_ticks_until_the_gateway_drains() {
    let (_, addr) = Origin::start().await;
    let body = r#"(func (export "veilgate:policy/tick-hook@0.2.1#on-tick"))"#;
    let module = guest("export veilgate:policy/tick-hook@0.2.1;", "", body);
    let site = site(addr, &[("a", module, "tick = \"100ms\"")], "").await;
    until("it ticked three times", async || {
        counted(&site).await.0 >= 3
    })
    .await;
    assert_eq!(counted(&site).await.1, 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_that_nobody_hears_stops_the_start() {
    let body = format!(r#"(func (export "{COMPLETE}") {COMPLETE_PARAMS})"#);
    let module = guest("export veilgate:policy/complete-hook@0.2.1;", "", &body);
    let (dir, text) = crate::bodied::policies(&[("a", module, "tick = \"1s\"")]);
    let text = format!(
        "[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:9\"]\n{text}"
    );
    let config = veilgate::config::parse(&text, "test.toml", dir.path()).expect("a config");
    let error = veilgate::app::start(config, None)
        .await
        .err()
        .expect("it cannot start");
    assert!(error.to_string().contains("tick-hook"), "{error}");
}
