//! Policies that ask an upstream themselves, and leave records of their own.

use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::bodied::site;
use crate::bodies::{broken_off_early, pieces, request};
use crate::client::{Connection, fetch};
use crate::guests::roomy as guest;
use crate::origin::Origin;
use crate::records::{OUTBOX, records};
use crate::site::PATIENCE;

const WORLD: &str = "import veilgate:policy/http-call@0.2.1; import veilgate:policy/outbox@0.2.1;
    export veilgate:policy/request-hook@0.2.1;";

/// Answers with the reply's status, or with 500 and the number of the error.
pub fn asking(path: &str, timeout_ms: u64) -> Vec<u8> {
    let imports = r#"(import "veilgate:policy/http-call@0.2.1" "send"
        (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))"#;
    let length = path.len();
    let body = format!(
        r#"(data (i32.const 16) "origin") (data (i32.const 64) "GET") (data (i32.const 72) "{path}")
        (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (call $reset)
          (call $send (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 3) (i32.const 72) (i32.const {length})
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const {timeout_ms}) (i32.const 512))
          (i32.store8 (i32.const 1024) (i32.const 1))
          (i32.store16 (i32.const 1028) (if (result i32) (i32.load8_u (i32.const 512))
            (then (i32.add (i32.const 500) (i32.load8_u (i32.const 516))))
            (else (i32.load16_u (i32.const 516)))))
          (i32.const 1024))"#
    );
    guest(WORLD, imports, &body)
}

pub const CALLS: &str = "grants = [\"http-call\"]\ncalls = [\"origin\"]\nmax_wait = \"5s\"";

async fn check(path: &str, timeout_ms: u64, expected: u16) {
    let (_origin, addr) = Origin::start().await;
    let site = site(addr, &[("a", asking(path, timeout_ms), CALLS)], "").await;
    let status = fetch(site.addr, "/").await.status;
    assert_eq!(status.as_u16(), expected, "{path}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_gets_an_upstreams_reply_or_learns_why_not() {
    check("/teapot", 0, StatusCode::IM_A_TEAPOT.as_u16()).await;
    // Too long a reply, one that never comes, and one that breaks off.
    check("/endless", 0, 502).await;
    check("/silent", 200, 504).await;
    check("/drop", 0, 505).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policys_record_is_in_the_outbox_with_its_name_and_exchange() {
    let (_origin, addr) = Origin::start().await;
    let imports = r#"(import "veilgate:policy/outbox@0.2.1" "append" (func $append (param i32 i32 i32 i32 i32)))"#;
    let body = r#"(data (i32.const 16) "audit") (data (i32.const 32) "{\"a\": 1}")
        (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (call $reset)
          (call $append (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 8) (i32.const 512))
          (if (i32.load8_u (i32.const 512)) (then (unreachable)))
          (i32.const 4096))"#;
    let module = guest(WORLD, imports, body);
    let site = site(addr, &[("a", module, "grants = [\"outbox\"]")], OUTBOX).await;
    assert_eq!(fetch(site.addr, "/").await.status, StatusCode::OK);
    let outbox = site.running.outbox().expect("an outbox").clone();
    let found = records(&outbox).await;
    let (_, record) = found
        .iter()
        .find(|(_, record)| record["policy"] == "a")
        .expect("the policy's record");
    assert_eq!(
        (&record["kind"], &record["body"]["a"]),
        (&"audit".into(), &1.into())
    );
    assert_eq!(record["id"].as_str().map(str::len), Some(32));
    site.stop().await;
}

/// Asks the origin about each piece of a body, on either way, before it lets it pass with an `a` behind it. A piece that begins with `x` is
/// broken off after that.
fn asking_about_pieces() -> Vec<u8> {
    let world = "import veilgate:policy/http-call@0.2.1; export veilgate:policy/request-hook@0.2.1;
        export veilgate:policy/request-stream-hook@0.2.1; export veilgate:policy/response-hook@0.2.1;
        export veilgate:policy/response-stream-hook@0.2.1;";
    let imports = r#"(import "veilgate:policy/http-call@0.2.1" "send"
        (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))"#;
    let hook = |name: &str| {
        format!(
            "(func (export \"veilgate:policy/{name}-stream-hook@0.2.1#on-{name}-chunk\") (param i32 i32 i32) (result i32)
               (call $chunk (local.get 0) (local.get 1)))
             (func (export \"veilgate:policy/{name}-hook@0.2.1#on-{name}\") (result i32)
               (i32.store8 (i32.const 1104) (i32.const 2)) (i32.const 1024))"
        )
    };
    let body = format!(
        r#"(data (i32.const 16) "origin") (data (i32.const 64) "GET") (data (i32.const 72) "/teapot")
        (func $chunk (param $at i32) (param $len i32) (result i32)
          (if (i32.eqz (local.get $len)) (then (return (i32.const 4096))))
          ;; What the reply is made of goes behind the piece.
          (call $send (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 3) (i32.const 72) (i32.const 7)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 512))
          (call $reset)
          (if (i32.load8_u (i32.const 512)) (then (unreachable)))
          (if (i32.ne (i32.load16_u (i32.const 516)) (i32.const 418)) (then (unreachable)))
          (i32.store8 (i32.const 2048) (select (i32.const 3) (i32.const 1)
            (i32.eq (i32.load8_u (local.get $at)) (i32.const 120))))
          (i32.store8 (i32.add (local.get $at) (local.get $len)) (i32.const 97))
          (i32.store (i32.const 2052) (local.get $at))
          (i32.store (i32.const 2056) (i32.add (local.get $len) (i32.const 1)))
          (i32.const 2048))
        {} {}"#,
        hook("request"),
        hook("response")
    );
    guest(world, imports, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_waits_watches_bodies_on_their_way() {
    let (origin, addr) = Origin::start().await;
    let site = site(addr, &[("a", asking_about_pieces(), CALLS)], "").await;
    let (sender, body) = pieces();
    let mut connection = Connection::plain(site.addr).await;
    let mut echo = connection.head(request(Method::POST, "/echo", body)).await;
    for sent in ["1", "2", "3"] {
        sender.send(Ok(sent)).await.expect("room");
        let frame = tokio::time::timeout(PATIENCE, echo.body_mut().frame());
        let frame = frame.await.expect("in time").expect("a frame");
        let back = frame.expect("whole").into_data().expect("data");
        assert_eq!(back, format!("{sent}aa"));
    }
    drop(sender);
    let rest = tokio::time::timeout(PATIENCE, echo.into_body().collect());
    assert!(
        rest.await
            .expect("in time")
            .expect("whole")
            .to_bytes()
            .is_empty()
    );
    // Each piece once on either way, and the request itself.
    assert_eq!(origin.requests(), 7);

    broken_off_early(&site).await;
    site.stop().await;
}

/// Calls that wait go on by themselves: whoever comes after a client that went away meanwhile finds a free instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_meanwhile_leaves_nothing_behind() {
    let (_origin, addr) = Origin::start().await;
    let one = format!("{CALLS}\ninstances = 1");
    let site = site(addr, &[("a", asking_about_pieces(), &one)], "").await;
    for _ in 0..8 {
        let (sender, body) = pieces();
        sender.send(Ok("1")).await.expect("room");
        let mut connection = Connection::plain(site.addr).await;
        let upload = connection.head(request(Method::POST, "/upload", body));
        // Gone while the policy asks, or just after it.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), upload).await;
    }
    let (sender, body) = pieces();
    sender.send(Ok("1")).await.expect("room");
    drop(sender);
    let mut connection = Connection::plain(site.addr).await;
    let whole = connection.send(request(Method::POST, "/echo", body)).await;
    assert_eq!(whole.text(), "1aa");
    site.stop().await;
}
