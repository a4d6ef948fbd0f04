//! The host's primitives as a proxy-wasm module reaches them: by foreign functions, in JSON.

mod common;

use common::filter::{Texts, filter, on_request};
use common::{Bench, exchange, granted, now};
use policy_host::{Chain, OnFault, Outcome};

/// The function's name without `veilgate.`, its arguments, the status, and what the result must be.
type Call = (&'static str, &'static str, u32, &'static str);

/// Calls foreign functions in the request callback of a filter that traps where an answer is another.
fn check(calls: &[Call]) {
    let mut texts = Texts::default();
    let mut code = String::new();
    for &(name, arguments, status, result) in calls {
        let (name, arguments) = (texts.put(format!("veilgate.{name}")), texts.put(arguments));
        code += &format!(
            "(call $expect (call $call_foreign_function {name} {arguments} (i32.const 8) (i32.const 12)) (i32.const {status}))"
        );
        if status == 0 {
            let result = texts.put(result);
            code += &format!("(call $same {result})");
        }
    }
    // What was given is these bytes.
    let same = r#"(func $same (param $at i32) (param $len i32)
      (local $n i32)
      (call $expect (i32.load (i32.const 12)) (local.get $len))
      (block $out (loop $on
        (br_if $out (i32.eq (local.get $n) (local.get $len)))
        (call $expect
          (i32.load8_u (i32.add (local.get $at) (local.get $n)))
          (i32.load8_u (i32.add (i32.load (i32.const 8)) (local.get $n))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $on))))"#;
    let wasm = filter(&format!("{} {same} {}", texts.data(), on_request(&code)));
    let bench = Bench::with_workers(1);
    let policy = bench.load(granted("p", wasm, OnFault::Deny)).unwrap();
    let chain = Chain::new(vec![policy.clone()]);
    let outcome = now(chain.on_request(&mut exchange(&[])));
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    let faults = policy.stats().faults;
    assert!(faults.iter().all(|(_, count)| *count == 0), "{faults:?}");
}

#[test]
fn limiters_gates_and_entries_are_the_host_s() {
    check(&[
        ("limiter.take", r#"{"limiter":"l","key":"k"}"#, 1, ""),
        ("limiter.define", r#"{"name":"l","limit":1}"#, 2, ""),
        (
            "limiter.define",
            r#"{"name":"l","limit":1,"per_ms":60000,"other":1}"#,
            2,
            "",
        ),
        (
            "limiter.define",
            r#"{"name":"l","limit":1,"per_ms":60000,"algorithm":"fixed-window"}"#,
            0,
            "{}",
        ),
        (
            "limiter.take",
            r#"{"limiter":"l","key":"k"}"#,
            0,
            r#"{"allowed":true,"remaining":0,"limit":1,"retry_after_ms":0,"reset_ms":20000,"degraded":false}"#,
        ),
        (
            "limiter.take",
            r#"{"limiter":"l","key":"k"}"#,
            0,
            r#"{"allowed":false,"remaining":0,"limit":1,"retry_after_ms":20000,"reset_ms":20000,"degraded":false}"#,
        ),
        ("gate.define", r#"{"name":"g","limit":1}"#, 0, "{}"),
        (
            "gate.enter",
            r#"{"gate":"g","key":"k"}"#,
            0,
            r#"{"entered":true}"#,
        ),
        (
            "gate.enter",
            r#"{"gate":"g","key":"k"}"#,
            0,
            r#"{"entered":false}"#,
        ),
        ("kv.get", r#"{"key":"a"}"#, 0, r#"{"found":false}"#),
        (
            "kv.set",
            r#"{"key":"a","value_base64":"/w=="}"#,
            0,
            r#"{"version":1}"#,
        ),
        (
            "kv.get",
            r#"{"key":"a"}"#,
            0,
            r#"{"found":true,"value_base64":"/w==","version":1}"#,
        ),
        (
            "kv.cas",
            r#"{"key":"a","version":9,"value":"x"}"#,
            0,
            r#"{"conflict":true}"#,
        ),
        (
            "kv.incr",
            r#"{"key":"n","delta":-2,"ttl_ms":1000}"#,
            0,
            r#"{"value":-2}"#,
        ),
        ("kv.delete", r#"{"key":"a"}"#, 0, r#"{"deleted":true}"#),
        ("kv.set", "not json", 2, ""),
    ]);
}

const VERDICT_OF_FIVE: &str =
    r#"{"allowed":true,"remaining":5,"limit":5,"retry_after_ms":0,"reset_ms":0,"degraded":false}"#;

#[test]
fn a_limiter_is_looked_at_settled_and_taken_with_others() {
    check(&[
        ("limiter.peek", r#"{"limiter":"a","key":"k"}"#, 1, ""),
        (
            "limiter.settle",
            r#"{"limiter":"a","key":"k","delta":1}"#,
            1,
            "",
        ),
        (
            "limiter.take_all",
            r#"{"shares":[{"limiter":"a","key":"k"}]}"#,
            1,
            "",
        ),
        (
            "limiter.define",
            r#"{"name":"a","limit":5,"per_ms":60000,"algorithm":"fixed-window"}"#,
            0,
            "{}",
        ),
        (
            "limiter.define",
            r#"{"name":"b","limit":2,"per_ms":60000,"algorithm":"fixed-window"}"#,
            0,
            "{}",
        ),
        // Looking takes nothing.
        (
            "limiter.peek",
            r#"{"limiter":"a","key":"k"}"#,
            0,
            VERDICT_OF_FIVE,
        ),
        (
            "limiter.peek",
            r#"{"limiter":"a","key":"k"}"#,
            0,
            VERDICT_OF_FIVE,
        ),
        (
            "limiter.peek",
            r#"{"limiter":"a","key":"k","cost":1}"#,
            2,
            "",
        ),
        // What a call turned out to cost, and what it did not.
        (
            "limiter.settle",
            r#"{"limiter":"a","key":"k","delta":4}"#,
            0,
            "{}",
        ),
        (
            "limiter.peek",
            r#"{"limiter":"a","key":"k"}"#,
            0,
            r#"{"allowed":true,"remaining":1,"limit":5,"retry_after_ms":0,"reset_ms":20000,"degraded":false}"#,
        ),
        (
            "limiter.settle",
            r#"{"limiter":"a","key":"k","delta":-1}"#,
            0,
            "{}",
        ),
        (
            "limiter.settle",
            r#"{"limiter":"a","key":"k","delta":1.5}"#,
            2,
            "",
        ),
        // All or none: where `a` refuses, `b` keeps what it has.
        (
            "limiter.take_all",
            r#"{"shares":[{"limiter":"a","key":"k"},{"limiter":"b","key":"k"}]}"#,
            0,
            r#"{"allowed":true,"remaining":1,"limit":5,"retry_after_ms":0,"reset_ms":20000,"degraded":false}"#,
        ),
        (
            "limiter.take_all",
            r#"{"shares":[{"limiter":"a","key":"k","cost":2},{"limiter":"b","key":"k"}]}"#,
            0,
            r#"{"allowed":false,"remaining":1,"limit":5,"retry_after_ms":20000,"reset_ms":20000,"degraded":false}"#,
        ),
        (
            "limiter.peek",
            r#"{"limiter":"b","key":"k"}"#,
            0,
            r#"{"allowed":true,"remaining":1,"limit":2,"retry_after_ms":0,"reset_ms":20000,"degraded":false}"#,
        ),
        ("limiter.take_all", r#"{"shares":[]}"#, 2, ""),
        (
            "limiter.take_all",
            r#"{"shares":[{"limiter":"a","key":"k"},{"limiter":"unknown","key":"k"}]}"#,
            1,
            "",
        ),
        ("gate.define", r#"{"name":"g","limit":2}"#, 0, "{}"),
        (
            "gate.in_flight",
            r#"{"gate":"g","key":"k"}"#,
            0,
            r#"{"in_flight":0}"#,
        ),
        (
            "gate.enter",
            r#"{"gate":"g","key":"k"}"#,
            0,
            r#"{"entered":true}"#,
        ),
        (
            "gate.in_flight",
            r#"{"gate":"g","key":"k"}"#,
            0,
            r#"{"in_flight":1}"#,
        ),
        ("gate.in_flight", r#"{"gate":"none","key":"k"}"#, 1, ""),
    ]);
}

#[test]
fn more_shares_than_a_request_can_be_under_are_refused() {
    let share = r#"{"limiter":"a","key":"k"}"#;
    let shares = |count| format!("{{\"shares\":[{}]}}", vec![share; count].join(","));
    let define = r#"{"name":"a","limit":100,"per_ms":60000,"algorithm":"fixed-window"}"#;
    let sixteen: &'static str = shares(16).leak();
    let seventeen: &'static str = shares(17).leak();
    check(&[
        ("limiter.define", define, 0, "{}"),
        ("limiter.take_all", seventeen, 2, ""),
        (
            "limiter.take_all",
            sixteen,
            0,
            r#"{"allowed":true,"remaining":84,"limit":100,"retry_after_ms":0,"reset_ms":20000,"degraded":false}"#,
        ),
    ]);
}

#[test]
fn breakers_are_defined_asked_and_forced() {
    const AT: &str = r#"{"breaker":"b","key":"k"}"#;
    check(&[
        ("breaker.admit", AT, 1, ""),
        ("breaker.state", AT, 1, ""),
        (
            "breaker.force",
            r#"{"breaker":"b","key":"k","state":"open","for_ms":1}"#,
            1,
            "",
        ),
        ("breaker.define", r#"{"name":"b"}"#, 2, ""),
        (
            "breaker.define",
            r#"{"name":"b","window_ms":10000,"min_calls":5,"failure_rate":1.5,"slow_call_ms":1000,"slow_rate":1,"open_for_ms":500,"probes":1}"#,
            2,
            "",
        ),
        (
            "breaker.define",
            r#"{"name":"b","window_ms":10000,"min_calls":5,"failure_rate":0.5,"slow_call_ms":1000,"slow_rate":1,"open_for_ms":500,"probes":1}"#,
            0,
            "{}",
        ),
        ("breaker.state", AT, 0, r#"{"state":"closed"}"#),
        ("breaker.admit", AT, 0, r#"{"admission":"pass"}"#),
        (
            "breaker.force",
            r#"{"breaker":"b","key":"k","state":"ajar","for_ms":1}"#,
            2,
            "",
        ),
        (
            "breaker.force",
            r#"{"breaker":"b","key":"k","state":"open","for_ms":700}"#,
            0,
            "{}",
        ),
        ("breaker.state", AT, 0, r#"{"state":"open"}"#),
        (
            "breaker.admit",
            AT,
            0,
            r#"{"admission":"refuse","retry_after_ms":700}"#,
        ),
        // Keys know nothing of each other.
        (
            "breaker.admit",
            r#"{"breaker":"b","key":"other"}"#,
            0,
            r#"{"admission":"pass"}"#,
        ),
        (
            "breaker.force",
            r#"{"breaker":"b","key":"k","state":"half-open","for_ms":700}"#,
            0,
            "{}",
        ),
        ("breaker.state", AT, 0, r#"{"state":"half-open"}"#),
        ("breaker.admit", AT, 0, r#"{"admission":"probe"}"#),
        (
            "breaker.force",
            r#"{"breaker":"b","key":"k","state":"closed","for_ms":0}"#,
            0,
            "{}",
        ),
        ("breaker.admit", AT, 0, r#"{"admission":"pass"}"#),
    ]);
}
