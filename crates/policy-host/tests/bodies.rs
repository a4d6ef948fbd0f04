//! Hooks on bodies, on the end of an exchange and on ticks: who is called with what, in which order, and what a fault does.

mod common;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::{Bench, ON_REQUEST, ON_RESPONSE, bare, component, exchange, granted};
use http::{HeaderMap, StatusCode};
use policy_host::{
    BodyNeed, Cause, Chain, Completed, ExchangeContext, FaultKind, OnFault, Outcome, Passed,
    PolicySpec, ResponseParts, Source, Unavailable,
};

/// Policies that cannot wait are through at the first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

const WHOLE: u8 = 1;
const WATCH: u8 = 2;
const IMPORTS: &str = r#"
  (import "veilgate:policy/llm@0.2.1" "model" (func $model (param i32)))
  (import "veilgate:policy/llm@0.2.1" "set-model" (func $set_model (param i32 i32) (result i32)))
  (import "veilgate:policy/llm@0.2.1" "usage-of" (func $usage_of (param i32)))
  (import "veilgate:policy/request@0.2.1" "set-header" (func $set (param i32 i32 i32 i32) (result i32)))
  (import "veilgate:policy/request@0.2.1" "set-attr" (func $set_attr (param i32 i32 i32 i32)))
  (import "veilgate:policy/response@0.2.1" "set-header" (func $set_response (param i32 i32 i32 i32) (result i32)))"#;

/// What a guest does in a hook on a body, by the first byte of what it is given.
const BY_FIRST_BYTE: &str = r#"
  (func $first (param $at i32) (param $len i32) (result i32)
    (if (result i32) (local.get $len) (then (i32.load8_u (local.get $at))) (else (i32.const 0))))"#;

/// A guest that asks for bodies and puts its letter after each that it gets (an answer at 2048). `t` traps, `l` answers one that is too long;
/// of pieces, `d` is dropped, `x` aborts, `s` stops the watch, `k` is kept. The letter `z` is done with its first decision; `t` traps in its tick.
fn letter(letter: char, asks: u8) -> Vec<u8> {
    let body = format!(
        r#"{BY_FIRST_BYTE} (data (i32.const 16) "x-seen") (data (i32.const 24) "{letter}")
        (func $append (param $at i32) (param $len i32) (param $answer i32) (param $some i32)
          (i32.store8 (i32.add (local.get $at) (local.get $len)) (i32.load8_u (i32.const 24)))
          (if (i32.eq (call $first (local.get $at) (local.get $len)) (i32.const 116)) (then (unreachable)))
          (i32.store8 (local.get $answer) (local.get $some))
          (i32.store offset=4 (local.get $answer) (local.get $at))
          (i32.store offset=8 (local.get $answer) (select (i32.const 1000) (i32.add (local.get $len) (i32.const 1))
            (i32.eq (call $first (local.get $at) (local.get $len)) (i32.const 108)))))
        (func $chunk (param $at i32) (param $len i32) (param $end i32) (result i32) (local $first i32)
          (call $reset)
          (local.set $first (call $first (local.get $at) (local.get $len)))
          (if (i32.eq (local.get $first) (i32.const 107)) (then (return (i32.const 4096))))
          (call $append (local.get $at) (local.get $len) (i32.const 2048) (i32.const 1))
          (if (i32.eq (local.get $first) (i32.const 100)) (then (i32.store8 (i32.const 2048) (i32.const 2))))
          (if (i32.eq (local.get $first) (i32.const 120)) (then (i32.store8 (i32.const 2048) (i32.const 3))))
          (if (i32.eq (local.get $first) (i32.const 115)) (then (i32.store8 (i32.const 2048) (i32.const 4))))
          (if (call $set (i32.const 16) (i32.const 6) (i32.const 24) (i32.const 1)) (then (unreachable)))
          (i32.const 2048))
        (func $ask (result i32) (i32.store8 (i32.const 1104) (i32.const {asks}))
          (i32.store8 (i32.const 1106) (i32.eq (i32.load8_u (i32.const 24)) (i32.const 122))) (i32.const 1024))
        (func (export "{ON_REQUEST}") (result i32) (call $ask))
        (func (export "{ON_RESPONSE}") (result i32) (call $ask))
        (func (export "veilgate:policy/request-body-hook@0.2.1#on-request-body") (param $at i32) (param $len i32) (result i32)
          (call $reset)
          (if (i32.eqz (call $set (i32.const 16) (i32.const 6) (i32.const 24) (i32.const 1))) (then (unreachable)))
          (call $append (local.get $at) (local.get $len) (i32.const 3176) (i32.const 1))
          (i32.const 3072))
        (func (export "veilgate:policy/request-stream-hook@0.2.1#on-request-chunk") (param i32 i32 i32) (result i32)
          (call $chunk (local.get 0) (local.get 1) (local.get 2)))
        (func (export "veilgate:policy/response-body-hook@0.2.1#on-response-body") (param $at i32) (param $len i32) (result i32)
          (call $reset)
          (if (i32.eqz (call $set_response (i32.const 16) (i32.const 6) (i32.const 24) (i32.const 1))) (then (unreachable)))
          (call $append (local.get $at) (local.get $len) (i32.const 2048) (i32.const 1))
          (i32.const 2048))
        (func (export "veilgate:policy/response-stream-hook@0.2.1#on-response-chunk") (param i32 i32 i32) (result i32)
          (call $chunk (local.get 0) (local.get 1) (local.get 2)))
        (func (export "veilgate:policy/complete-hook@0.2.1#on-complete")
          (param i32 i64 i32 i64 i32 i32 i32 i32 i64 i64 i32 i32 i32)
          (call $set_attr (i32.const 24) (i32.const 1) (i32.const 16) (i32.const 6))
          (if (i32.eq (local.get 0) (i32.const 418)) (then (unreachable))))
        (func (export "veilgate:policy/tick-hook@0.2.1#on-tick")
          (if (i32.eq (i32.load8_u (i32.const 24)) (i32.const 116)) (then (unreachable))))"#
    );
    component("bodied", IMPORTS, &body)
}

fn spec(name: &str, wasm: Vec<u8>, on_fault: OnFault) -> PolicySpec {
    let mut spec = granted(name, wasm, on_fault);
    spec.max_body_bytes = 100;
    spec
}

/// A chain of letters, each with what it asks for.
fn chain(bench: &Bench, letters: &[(char, u8)], on_fault: OnFault) -> Chain {
    let load = |(name, asks): &(char, u8)| {
        bench
            .load(spec(&name.to_string(), letter(*name, *asks), on_fault))
            .unwrap()
    };
    Chain::new(letters.iter().map(load).collect())
}

fn begun(chain: &Chain) -> ExchangeContext {
    let mut exchange = exchange(&[]);
    assert!(matches!(
        now(chain.on_request(&mut exchange)),
        Outcome::Continue
    ));
    exchange
}

fn answered(chain: &Chain) -> ExchangeContext {
    let mut exchange = exchange(&[]);
    exchange.response = Some(ResponseParts {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        source: Source::Upstream,
    });
    assert!(matches!(
        now(chain.on_response(&mut exchange)),
        Outcome::Continue
    ));
    exchange
}

fn on(passed: Passed) -> String {
    match passed {
        Passed::On(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_request_body_passes_those_that_asked_in_order() {
    let bench = Bench::new();
    let chain = chain(
        &bench,
        &[('a', WHOLE), ('b', 0), ('c', WHOLE)],
        OnFault::Deny,
    );
    let mut exchange = begun(&chain);
    let need = BodyNeed {
        whole: Some(100),
        watch: false,
    };
    assert_eq!(chain.request_need(&exchange), need);
    assert!(chain.response_need(&exchange).is_none());
    let (outcome, body) = now(chain.on_request_body(&mut exchange, Bytes::from_static(b"-")));
    assert!(matches!(outcome, Outcome::Continue));
    assert_eq!(body.as_deref(), Some(&b"-ac"[..]));
    assert_eq!(
        exchange.request.headers["x-seen"], "c",
        "the head can still be changed"
    );
    assert_eq!(chain.policies()[1].stats().calls, 1);
}

#[test]
fn a_whole_response_body_passes_in_reverse_with_its_head() {
    let bench = Bench::new();
    let chain = chain(&bench, &[('a', WHOLE), ('b', WHOLE)], OnFault::Deny);
    let mut exchange = answered(&chain);
    assert_eq!(chain.response_need(&exchange).whole, Some(100));
    let body = now(chain.on_response_body(&mut exchange, Bytes::from_static(b"-"))).unwrap();
    assert_eq!(body.as_deref(), Some(&b"-ba"[..]));
    assert_eq!(exchange.response.as_ref().unwrap().headers["x-seen"], "a");
}

#[test]
fn pieces_pass_in_order_and_back_in_reverse() {
    let bench = Bench::new();
    let chain = chain(
        &bench,
        &[('a', WATCH), ('b', 0), ('c', WATCH)],
        OnFault::Deny,
    );
    let mut exchange = begun(&chain);
    assert_eq!(
        chain.request_need(&exchange),
        BodyNeed {
            whole: None,
            watch: true
        }
    );
    let mut request = |text: &'static str, end| {
        now(chain.on_request_chunk(&mut exchange, Bytes::from_static(text.as_bytes()), end))
    };
    assert_eq!(on(request("-", false)), "-ac");
    assert_eq!(on(request("k", false)), "k", "both keep it");
    assert_eq!(
        on(request("d", false)),
        "",
        "the first drops it, the second is not asked"
    );
    assert_eq!(on(request("", true)), "ac", "the end comes to all");
    assert_eq!(
        on(request("d", true)),
        "c",
        "also where the last piece was dropped"
    );
    let mut exchange = answered(&chain);
    let mut response = |text: &'static str| {
        now(chain.on_response_chunk(&mut exchange, Bytes::from_static(text.as_bytes()), false))
    };
    assert_eq!(on(response("-")), "-ca");
    assert!(matches!(response("x"), Passed::BrokenOff(policy) if &*policy == "c"));
}

#[test]
fn who_stops_watching_is_asked_no_more() {
    let bench = Bench::new();
    let chain = chain(&bench, &[('a', WATCH)], OnFault::Deny);
    let mut exchange = begun(&chain);
    let mut pass = |text: &'static str| {
        let passed =
            chain.on_request_chunk(&mut exchange, Bytes::from_static(text.as_bytes()), false);
        on(now(passed))
    };
    assert_eq!(
        (pass("-"), pass("s"), pass("-")),
        ("-a".into(), "s".into(), "-".into())
    );
    assert!(chain.request_need(&exchange).is_none());
}

#[test]
fn a_long_piece_comes_in_pieces_that_a_guest_has_room_for() {
    let bench = Bench::new();
    let chain = chain(&bench, &[('a', WATCH)], OnFault::Deny);
    let mut exchange = begun(&chain);
    let calls = || chain.policies()[0].stats().calls;
    let before = calls();
    let long = Bytes::from(vec![b'k'; 3 * 64 * 1024 + 1]);
    let passed = now(chain.on_request_chunk(&mut exchange, long.clone(), true));
    assert!(matches!(passed, Passed::On(left) if left == long));
    assert_eq!(calls() - before, 4);
}

#[test]
fn a_body_without_a_hook_to_take_it_is_a_fault() {
    let bench = Bench::new();
    let asks = bare("(i32.store8 (i32.const 1104) (i32.const 1)) (i32.const 1024)");
    for (on_fault, denied) in [(OnFault::Deny, true), (OnFault::Skip, false)] {
        let chain = Chain::new(vec![bench.load(spec("p", asks.clone(), on_fault)).unwrap()]);
        let mut exchange = exchange(&[]);
        let outcome = now(chain.on_request(&mut exchange));
        match outcome {
            Outcome::Unavailable(unavailable) if denied => {
                assert_eq!(unavailable.cause, Cause::Fault(FaultKind::Decision));
            }
            Outcome::Continue if !denied => {}
            other => panic!("{other:?}"),
        }
        assert!(chain.request_need(&exchange).is_none());
    }
}

#[test]
fn a_body_that_is_too_long_and_a_trap_are_denied_or_skipped_in_every_hook() {
    let bench = Bench::new();
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    for (text, kind) in [("trap", FaultKind::Trap), ("long", FaultKind::Decision)] {
        let denies = |unavailable: &Unavailable| unavailable.cause == Cause::Fault(kind);
        let whole = chain(&bench, &[('a', WHOLE)], OnFault::Deny);
        let (outcome, _) = now(whole.on_request_body(&mut begun(&whole), bytes(text)));
        assert!(
            matches!(outcome, Outcome::Unavailable(u) if denies(&u)),
            "{text}"
        );
        let denied = now(whole.on_response_body(&mut answered(&whole), bytes(text)));
        assert!(denied.is_err_and(|u| denies(&u)), "{text}");
        let watch = chain(&bench, &[('a', WATCH)], OnFault::Deny);
        let passed = now(watch.on_request_chunk(&mut begun(&watch), bytes(text), false));
        assert!(
            matches!(passed, Passed::Unavailable(u) if denies(&u)),
            "{text}"
        );
        let passed = now(watch.on_response_chunk(&mut answered(&watch), bytes(text), false));
        assert!(
            matches!(passed, Passed::Unavailable(u) if denies(&u)),
            "{text}"
        );

        let whole = chain(&bench, &[('a', WHOLE)], OnFault::Skip);
        let (outcome, body) = now(whole.on_request_body(&mut begun(&whole), bytes(text)));
        assert!(
            matches!((outcome, body), (Outcome::Continue, None)),
            "{text}"
        );
        assert!(matches!(
            now(whole.on_response_body(&mut answered(&whole), bytes(text))),
            Ok(None)
        ));
        let watch = chain(&bench, &[('a', WATCH)], OnFault::Skip);
        let mut exchange = begun(&watch);
        assert_eq!(
            on(now(watch.on_request_chunk(
                &mut exchange,
                bytes(text),
                false
            ))),
            text
        );
        assert!(
            watch.request_need(&exchange).is_none(),
            "it is asked no more"
        );
        let passed = now(watch.on_response_chunk(&mut answered(&watch), bytes(text), false));
        assert_eq!(on(passed), text);
    }
}

#[test]
fn a_response_in_place_of_another_is_not_the_one_whose_body_was_asked_for() {
    let bench = Bench::new();
    let answers = component(
        "responder",
        r#"(import "veilgate:policy/response@0.2.1" "set-status" (func (param i32) (result i32)))"#,
        &format!(
            r#"(func (export "{ON_RESPONSE}") (result i32)
              (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const 403)) (i32.const 1024))"#
        ),
    );
    let chain = Chain::new(vec![
        bench.load(spec("first", answers, OnFault::Deny)).unwrap(),
        bench
            .load(spec("a", letter('a', WHOLE), OnFault::Deny))
            .unwrap(),
    ]);
    let mut exchange = exchange(&[]);
    let outcome = now(chain.on_response(&mut exchange));
    assert!(matches!(outcome, Outcome::Respond(_)));
    assert!(chain.response_need(&exchange).is_none());
}

#[test]
fn a_guest_reads_and_changes_the_model_and_later_sees_the_usage() {
    // Sets x-model to what the body names; then asks for "new", which the answer in place of the body must name, too.
    let body = format!(
        r#"(data (i32.const 16) "x-model") (data (i32.const 24) "new") (data (i32.const 32) "early")
        (func (export "{ON_REQUEST}") (result i32)
          (call $model (i32.const 2048)) (if (i32.load8_u (i32.const 2048)) (then (unreachable)))
          (if (call $set_model (i32.const 32) (i32.const 5)) (then (unreachable)))
          (i32.store8 (i32.const 1104) (i32.const 1)) (i32.const 1024))
        (func (export "{ON_RESPONSE}") (result i32) (i32.const 4096))
        (func (export "veilgate:policy/request-body-hook@0.2.1#on-request-body") (param i32 i32) (result i32)
          (call $model (i32.const 2048)) (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (unreachable)))
          (drop (call $set (i32.const 16) (i32.const 7) (i32.load (i32.const 2052)) (i32.load (i32.const 2056))))
          (if (i32.eqz (call $set_model (i32.const 24) (i32.const 3))) (then (unreachable)))
          (call $usage_of (i32.const 2048))
          (if (i64.ne (i64.load (i32.const 2056)) (i64.const 2)) (then (unreachable)))
          (i32.const 4096))
        (func (export "veilgate:policy/request-stream-hook@0.2.1#on-request-chunk") (param i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "veilgate:policy/response-body-hook@0.2.1#on-response-body") (param i32 i32) (result i32) (i32.const 4096))
        (func (export "veilgate:policy/response-stream-hook@0.2.1#on-response-chunk") (param i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "veilgate:policy/complete-hook@0.2.1#on-complete") (param i32 i64 i32 i64 i32 i32 i32 i32 i64 i64 i32 i32 i32)
          (call $usage_of (i32.const 2048))
          (if (i64.ne (i64.load (i32.const 2056)) (i64.const 30)) (then (unreachable)))
          (call $set_attr (i32.const 24) (i32.const 3) (i32.const 24) (i32.const 3)))
        (func (export "veilgate:policy/tick-hook@0.2.1#on-tick"))"#
    );
    let bench = Bench::new();
    let chain = bench.chain(component("bodied", IMPORTS, &body), OnFault::Deny);
    let mut exchange = begun(&chain);
    let sent = Bytes::from_static(br#"{"model": "old","prompt":"12345678"}"#);
    let (outcome, body) = now(chain.on_request_body(&mut exchange, sent));
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    assert_eq!(exchange.request.headers["x-model"], "old");
    assert_eq!(
        body.as_deref(),
        Some(&br#"{"model": "new","prompt":"12345678"}"#[..])
    );
    assert_eq!(exchange.llm_prompt(), Some(2));
    exchange.llm_is_over(Some(policy_host::llm::Usage {
        prompt: 30,
        completion: 4,
        estimated: false,
    }));
    now(chain.on_complete(&mut exchange, &Completed::default()));
    assert_eq!(exchange.attrs.read("new"), Some("new"));
}

#[test]
fn the_end_is_told_to_each_that_is_not_done_whatever_the_others_do() {
    let bench = Bench::new();
    let chain = Chain::new(vec![
        bench
            .load(spec("a", letter('a', 0), OnFault::Deny))
            .unwrap(),
        bench
            .load(spec("z", letter('z', 0), OnFault::Deny))
            .unwrap(),
        bench
            .load(spec("b", letter('b', 0), OnFault::Deny))
            .unwrap(),
    ]);
    assert!(chain.has_complete_hook());
    let mut exchange = begun(&chain);
    assert!(chain.tells_the_end(&exchange));
    let only_done = Chain::new(vec![chain.policies()[1].clone()]);
    assert!(!only_done.tells_the_end(&begun(&only_done)));
    let teapot = Completed {
        status: 418,
        upstream: Some("u".into()),
        ..Completed::default()
    };
    // Both trap after they have noted it.
    now(chain.on_complete(&mut exchange, &teapot));
    assert_eq!(
        (exchange.attrs.read("a"), exchange.attrs.read("b")),
        (Some("x-seen"), Some("x-seen"))
    );
    assert_eq!(exchange.attrs.read("z"), None);
    let faults: u64 = chain.policies()[0]
        .stats()
        .faults
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(faults, 1);
}

#[test]
fn a_tick_is_a_call_without_an_exchange() {
    let bench = Bench::new();
    let policy = bench
        .load(spec("a", letter('a', 0), OnFault::Deny))
        .unwrap();
    assert!(policy.has_tick_hook());
    now(policy.on_tick());
    now(policy.on_tick());
    assert_eq!(policy.stats().calls, 2);
    for on_fault in [OnFault::Deny, OnFault::Skip] {
        let traps = bench.load(spec("t", letter('t', 0), on_fault)).unwrap();
        now(traps.on_tick());
        now(traps.on_tick());
        let faults: u64 = traps.stats().faults.iter().map(|(_, count)| count).sum();
        assert_eq!(
            (traps.stats().calls, faults),
            (2, 2),
            "each on an instance of its own"
        );
    }
}
