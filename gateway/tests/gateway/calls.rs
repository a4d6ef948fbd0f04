//! Policies that ask an upstream themselves, and leave records of their own.

use http::StatusCode;

use crate::bodied::{guest, site};
use crate::client::fetch;
use crate::origin::Origin;
use crate::records::{OUTBOX, records};

const WORLD: &str = "import veilgate:policy/http-call@0.2.0; import veilgate:policy/outbox@0.2.0;
    export veilgate:policy/request-hook@0.2.0;";

/// Answers with the reply's status, or with 500 and the number of the error.
fn asking(path: &str, timeout_ms: u64) -> Vec<u8> {
    let imports = r#"(import "veilgate:policy/http-call@0.2.0" "send"
        (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))"#;
    let length = path.len();
    let body = format!(
        r#"(data (i32.const 16) "origin") (data (i32.const 64) "GET") (data (i32.const 72) "{path}")
        (func (export "veilgate:policy/request-hook@0.2.0#on-request") (result i32)
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

const CALLS: &str = "grants = [\"http-call\"]\ncalls = [\"origin\"]\nmax_wait = \"5s\"";

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
    let imports = r#"(import "veilgate:policy/outbox@0.2.0" "append" (func $append (param i32 i32 i32 i32 i32)))"#;
    let body = r#"(data (i32.const 16) "audit") (data (i32.const 32) "{\"a\": 1}")
        (func (export "veilgate:policy/request-hook@0.2.0#on-request") (result i32)
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
