//! `veilgate policy test` with what stands in for the gateway's services, and with every kind of step: bodies whole and in pieces, the
//! end, ticks.

use serde_json::Value;

use crate::guests::roomy as guest;
use crate::site::{Folder, Said};

/// Posts `key` to `/check` of the upstream `auth`. After a 200 it leaves a record and goes on; else it answers with the reply's status, or
/// with 500 and the number of the error, the record's too.
fn asking() -> Vec<u8> {
    let world = "import veilgate:policy/http-call@0.2.1; import veilgate:policy/outbox@0.2.1;
        export veilgate:policy/request-hook@0.2.1;";
    let imports = r#"(import "veilgate:policy/http-call@0.2.1" "send"
          (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
        (import "veilgate:policy/outbox@0.2.1" "append" (func $append (param i32 i32 i32 i32 i32)))"#;
    let body = r#"(data (i32.const 16) "auth") (data (i32.const 24) "POST") (data (i32.const 32) "/check") (data (i32.const 40) "key")
        (data (i32.const 48) "audit") (data (i32.const 56) "{\"a\": 1}")
        (func $answer (param $status i32) (result i32)
          (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (local.get $status)) (i32.const 1024))
        (func $failed (param $at i32) (result i32)
          (call $answer (i32.add (i32.const 500) (i32.load8_u (local.get $at)))))
        (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (call $reset)
          (call $send (i32.const 16) (i32.const 4) (i32.const 24) (i32.const 4) (i32.const 32) (i32.const 6)
            (i32.const 0) (i32.const 0) (i32.const 40) (i32.const 3) (i64.const 500) (i32.const 512))
          (if (i32.load8_u (i32.const 512)) (then (return (call $failed (i32.const 516)))))
          (if (i32.ne (i32.load16_u (i32.const 516)) (i32.const 200))
            (then (return (call $answer (i32.load16_u (i32.const 516))))))
          (call $append (i32.const 48) (i32.const 5) (i32.const 56) (i32.const 8) (i32.const 640))
          (if (i32.load8_u (i32.const 640)) (then (return (call $failed (i32.const 648)))))
          (i32.const 4096))"#;
    guest(world, imports, body)
}

fn test(module: Vec<u8>, text: &str, args: &[&str]) -> Said {
    let folder = Folder::new();
    folder.write("guest.wasm", module);
    folder.write("guest.toml", text);
    let all = [
        &["policy", "test", "guest.toml", "--module", "guest.wasm"],
        args,
    ];
    folder.veilgate(&all.concat())
}

const GRANTS: &str = "[policy]\ngrants = [\"http-call\", \"outbox\"]\n";

#[test]
fn upstreams_answer_as_the_file_says_and_records_are_looked_at() {
    let text = format!(
        r#"{GRANTS}
[[call]]
upstream = "auth"
request = {{ method = "POST", path = "/check", body = "key" }}
[[call]]
upstream = "auth"
status = 403

[[exchange]]
name = "the file's first answer goes for it"
repeat = 2
expect = {{ decision = "continue", calls = 1, outbox = [{{ kind = "audit", body = {{ json = {{ a = 1 }} }} }}] }}

[[exchange]]
name = "its own answer comes first"
call = [{{ upstream = "auth", status = 418, times = 1 }}]
expect = {{ decision = "respond", status = 418, outbox = [] }}

[[exchange]]
name = "one for another request does not"
call = [{{ upstream = "auth", request = {{ path = "/other" }}, status = 418, times = 0 }}]
expect = {{ decision = "continue" }}

[[exchange]]
name = "an answer that takes longer than the policy waits"
call = [{{ upstream = "auth", delay = "501ms" }}]
expect = {{ status = 504 }}

[[exchange]]
name = "one that just comes"
call = [{{ upstream = "auth", delay = "500ms" }}]
expect = {{ decision = "continue" }}

[[exchange]]
name = "an upstream that is down"
call = [{{ upstream = "auth", error = "unavailable" }}]
expect = {{ status = 505 }}

[[exchange]]
name = "an outbox that takes nothing"
outbox = "unavailable"
expect = {{ status = 505, outbox = [] }}
"#
    );
    let said = test(asking(), &text, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn calls_and_records_that_are_not_as_expected_are_shown() {
    let text = format!(
        r#"{GRANTS}
[[exchange]]
call = [{{ upstream = "auth", request = {{ method = "GET" }}, times = 2 }}]
expect = {{ calls = 3 }}

[[exchange]]
call = [{{ upstream = "auth" }}]
expect = {{ outbox = [] }}

[[exchange]]
call = [{{ upstream = "auth" }}]
expect = {{ outbox = [{{ kind = "audit", body = {{ json_has = {{ a = 2 }} }} }}] }}
"#
    );
    let said = test(asking(), &text, &["--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let mismatches = |exchange: usize| -> Vec<(String, String, String)> {
        let failed = &report["files"][0]["exchanges"][exchange]["failed"];
        let list = failed["mismatches"].as_array().expect("mismatches");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        list.iter()
            .map(|one| {
                (
                    text(&one["what"]),
                    text(&one["expected"]),
                    text(&one["got"]),
                )
            })
            .collect()
    };
    let expected = |list: &[(&str, &str, &str)]| -> Vec<(String, String, String)> {
        list.iter()
            .map(|(what, expected, got)| {
                (
                    (*what).to_owned(),
                    (*expected).to_owned(),
                    (*got).to_owned(),
                )
            })
            .collect()
    };
    assert_eq!(
        mismatches(0),
        expected(&[
            (
                "call",
                "an answer for it in the file",
                "POST /check of upstream \"auth\""
            ),
            ("call 1 (auth)", "2 calls", "0 calls"),
            ("calls", "3", "1"),
        ])
    );
    assert_eq!(mismatches(1), expected(&[("outbox", "[]", "[\"audit\"]")]));
    assert_eq!(mismatches(2), expected(&[("outbox 1 (audit).a", "2", "1")]));
}

#[test]
fn what_cannot_be_of_a_call_is_shown_with_its_place() {
    for (call, words) in [
        (
            "[[call]]\nupstream = \"a\"\ntimes = 1\n",
            "[[exchange.call]]",
        ),
        ("[[call]]\nupstream = \"a\"\nerror = \"gone\"\n", "gone"),
        (
            "[[call]]\nupstream = \"a\"\nstatus = 200\nerror = \"timeout\"\n",
            "not both",
        ),
        ("[[exchange]]\noutbox = \"full\"\n", "full"),
    ] {
        let said = test(asking(), &format!("{GRANTS}{call}"), &[]);
        said.refused(2, &[words]);
    }
}

/// Watches requests and puts an `a` after each piece; has responses whole and puts a `b` after them; logs when all is over, and ticks.
fn every_step() -> Vec<u8> {
    let world = "import veilgate:policy/log@0.2.1; export veilgate:policy/request-hook@0.2.1;
        export veilgate:policy/request-stream-hook@0.2.1; export veilgate:policy/response-hook@0.2.1;
        export veilgate:policy/response-body-hook@0.2.1; export veilgate:policy/complete-hook@0.2.1;
        export veilgate:policy/tick-hook@0.2.1;";
    let imports =
        r#"(import "veilgate:policy/log@0.2.1" "write" (func $write (param i32 i32 i32)))"#;
    let body = r#"(data (i32.const 16) "over") (data (i32.const 24) "tick")
        (func $append (param $at i32) (param $len i32) (param $letter i32) (result i32)
          (call $reset)
          (i32.store8 (i32.add (local.get $at) (local.get $len)) (local.get $letter))
          (i32.store8 (i32.const 2048) (i32.const 1))
          (i32.store (i32.const 2052) (local.get $at))
          (i32.store (i32.const 2056) (i32.add (local.get $len) (i32.const 1)))
          (i32.const 2048))
        (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (i32.store8 (i32.const 1104) (i32.const 2)) (i32.const 1024))
        (func (export "veilgate:policy/response-hook@0.2.1#on-response") (result i32)
          (i32.store8 (i32.const 1104) (i32.const 1)) (i32.const 1024))
        (func (export "veilgate:policy/request-stream-hook@0.2.1#on-request-chunk") (param i32 i32 i32) (result i32)
          (call $append (local.get 0) (local.get 1) (i32.const 97)))
        (func (export "veilgate:policy/response-body-hook@0.2.1#on-response-body") (param i32 i32) (result i32)
          (call $append (local.get 0) (local.get 1) (i32.const 98)))
        (func (export "veilgate:policy/complete-hook@0.2.1#on-complete")
          (param $status i32) (param i64 i32 i64 i32 i32 i32 i32 i64 i64 i32 i32 i32)
          (call $reset)
          (if (i32.eq (local.get $status) (i32.const 204)) (then (unreachable)))
          (call $write (i32.const 2) (i32.const 16) (i32.const 4)))
        (func (export "veilgate:policy/tick-hook@0.2.1#on-tick")
          (call $write (i32.const 2) (i32.const 24) (i32.const 4)))"#;
    guest(world, imports, body)
}

#[test]
fn bodies_the_end_and_ticks_are_steps_of_a_test() {
    let text = r#"
[[exchange]]
request = { method = "POST", headers = { "content-length" = "4" }, chunks = ["12", "34"] }
response = { chunks = ["x", "y"] }
[exchange.expect]
decision = "continue"
request = { body = "12a34a" }
body = "xyb"
log = ["over"]

[[exchange]]
name = "a fault in what is told of the end"
response = { status = 204 }
expect = { decision = "continue", fault = "trap" }

[[exchange]]
tick = true
expect = { log = ["tick"] }
"#;
    let said = test(every_step(), text, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let wrong = text
        .replace("[\"tick\"]", "[\"over\"]")
        .replace("xyb", "xy");
    let said = test(every_step(), &wrong, &[]);
    assert!(said.out.contains("xyb"), "{said:?}");
    said.refused(1, &["2 of 3 exchanges"]);
}
