//! The shared primitives through guests: right across threads, kept over a swap, given back by the host whatever the guest does.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::{
    AFTER, BEFORE, Bench, CONFIGURE, ON_REQUEST, component, configured, exchange, granted, now,
};
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, Chain, CircuitState, OnFault, Outcome, Verdict,
};

/// Takes 1 of a fixed window of 100 per minute; answers 429 when refused.
fn limiter() -> Vec<u8> {
    let imports = r#"
      (import "veilgate:policy/limits@0.2.1" "[static]limiter.define" (func $define (param i32 i32 i32 i64 i64 i64 i32)))
      (import "veilgate:policy/limits@0.2.1" "[method]limiter.take" (func $take (param i32 i32 i32 i64 i32)))"#;
    let body = format!(
        r#"(global $limiter (mut i32) (i32.const 0)) (data (i32.const 16) "minute") (data (i32.const 24) "everyone")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $define (i32.const 16) (i32.const 6) (i32.const 2) (i64.const 100) (i64.const 60000) (i64.const 0) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (global.set $limiter (i32.load (i32.const 1028)))
          (i32.const 0))
        (func (export "{ON_REQUEST}") (result i32)
          (call $take (global.get $limiter) (i32.const 24) (i32.const 8) (i64.const 1) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (return (i32.const 4096))))
          (i32.store8 (i32.const 2048) (i32.const 1)) (i32.store16 (i32.const 2052) (i32.const 429))
          (i32.const 2048))"#
    );
    component("limiting", imports, &body)
}

fn allowed(chain: &Chain) -> bool {
    match now(chain.on_request(&mut exchange(&[]))) {
        Outcome::Continue => true,
        Outcome::Respond(response) if response.status == 429 => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_is_exact_across_threads_and_kept_over_a_swap() {
    let bench = Bench::with_workers(3);
    let chain = bench.chain(limiter(), OnFault::Deny);
    let passed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..40 {
                    passed.fetch_add(u32::from(allowed(&chain)), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(passed.load(Ordering::SeqCst), 100);
    // Loaded again, as in a swap: what was taken still counts. Under another name it is another policy's.
    let swapped = bench.chain(limiter(), OnFault::Deny);
    assert!(!allowed(&swapped) && !allowed(&chain));
    let other = Chain::new(vec![
        bench
            .load(granted("other", limiter(), OnFault::Deny))
            .unwrap(),
    ]);
    assert!(allowed(&other));
    bench.clock.advance_ms(60_000);
    assert!(allowed(&swapped));
}

#[test]
fn policies_of_one_scope_share_and_others_do_not() {
    let bench = Bench::with_workers(1);
    let shared = |name: &str, scope: &str| {
        let mut spec = granted(name, limiter(), OnFault::Deny);
        spec.shared_scope = Some(scope.into());
        Chain::new(vec![bench.load(spec).unwrap()])
    };
    let (a, b, c) = (
        shared("a", "team"),
        shared("b", "team"),
        shared("c", "else"),
    );
    for _ in 0..50 {
        assert!(allowed(&a) && allowed(&b));
    }
    assert!(!allowed(&a) && !allowed(&b));
    assert!(allowed(&c));
}

#[test]
fn a_place_in_a_gate_is_left_when_the_exchange_ends_even_if_the_guest_trapped() {
    let imports = r#"
      (import "veilgate:policy/limits@0.2.1" "[static]gate.define" (func $define (param i32 i32 i32 i32)))
      (import "veilgate:policy/limits@0.2.1" "[method]gate.enter" (func $enter (param i32 i32 i32) (result i32)))"#;
    // Enters, then traps if there was room; a full gate is an answer of 429.
    let body = format!(
        r#"(global $gate (mut i32) (i32.const 0)) (data (i32.const 16) "g")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $define (i32.const 16) (i32.const 1) (i32.const 2) (i32.const 1024))
          (global.set $gate (i32.load (i32.const 1028)))
          (if (call $enter (global.get $gate) (i32.const 16) (i32.const 1)) (then (unreachable)))
          (i32.const 0))
        (func (export "{ON_REQUEST}") (result i32)
          (if (call $enter (global.get $gate) (i32.const 16) (i32.const 1)) (then (unreachable)))
          (i32.store8 (i32.const 2048) (i32.const 1)) (i32.store16 (i32.const 2052) (i32.const 429))
          (i32.const 2048))"#
    );
    let bench = Bench::new();
    let chain = bench.chain(component("limiting", imports, &body), OnFault::Skip);
    let enter = || {
        let mut exchange = exchange(&[]);
        let inside = matches!(now(chain.on_request(&mut exchange)), Outcome::Continue);
        (exchange, inside)
    };
    let (first, second) = (enter(), enter());
    assert!(first.1 && second.1);
    assert!(!enter().1);
    drop(first);
    assert!(enter().1);
    // What `into_exchange` returns still holds its place, until it is dropped.
    let parts = second.0.into_exchange();
    let third = enter();
    assert!(third.1 && !enter().1);
    drop((parts, third));
    assert!(enter().1);
}

/// Opens at 4 calls with half of them failed, for 1 s, then 1 probe. `after` is what the after hook does.
fn breaker(after: &str) -> Vec<u8> {
    let imports = r#"
      (import "veilgate:policy/breakers@0.2.1" "[static]breaker.define" (func $define (param i32 i32 i64 i32 f32 i64 f32 i64 i32 i32)))
      (import "veilgate:policy/breakers@0.2.1" "[method]breaker.admit" (func $admit (param i32 i32 i32 i32)))
      (import "veilgate:policy/breakers@0.2.1" "[method]breaker.count-as" (func $count_as (param i32 i32 i32 i32)))"#;
    let body = format!(
        r#"(global $breaker (mut i32) (i32.const 0)) (data (i32.const 16) "b") (data (i32.const 24) "blue")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $define (i32.const 16) (i32.const 1) (i64.const 10000) (i32.const 4) (f32.const 0.5) (i64.const 0) (f32.const 0)
            (i64.const 1000) (i32.const 1) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (global.set $breaker (i32.load (i32.const 1028)))
          (i32.const 0))
        (func (export "{BEFORE}") (param i32 i32 i32 i32 i32) (result i32)
          (call $admit (global.get $breaker) (i32.const 24) (i32.const 4) (i32.const 1024))
          ;; refuse is tag 2; give-up is tag 3
          (i32.store8 (i32.const 2048)
            (select (i32.const 3) (i32.const 0) (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 2))))
          (i32.const 2048))
        (func (export "{AFTER}") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32) {after})"#
    );
    component("breaking", imports, &body)
}

struct Story {
    bench: Bench,
    chain: Chain,
}

impl Story {
    fn new(after: &str) -> Self {
        let bench = Bench::new();
        let chain = bench.chain(breaker(after), OnFault::Skip);
        Self { bench, chain }
    }

    /// One attempt; false if it was refused.
    fn attempt(&self, status: u16) -> bool {
        let mut exchange = exchange(&[]);
        let attempt = Attempt {
            number: 1,
            upstream: "blue".into(),
            endpoint: None,
        };
        match now(self.chain.before_attempt(&mut exchange, &attempt)) {
            AttemptChoice::GiveUp => false,
            AttemptChoice::Default => {
                let outcome = AttemptOutcome {
                    status: Some(status),
                    error: None,
                    latency_us: 10,
                };
                let _ = now(self.chain.after_attempt(&mut exchange, &attempt, &outcome));
                true
            }
            other => panic!("{other:?}"),
        }
    }

    fn state(&self) -> (CircuitState, u32) {
        use policy_host::Clock;
        let snapshot = self
            .bench
            .primitives
            .snapshot(self.bench.clock.monotonic_ns());
        assert_eq!(
            (
                snapshot.len(),
                snapshot[0].scope.as_str(),
                snapshot[0].name.as_str()
            ),
            (1, "p", "b")
        );
        (snapshot[0].keys[0].state, snapshot[0].keys[0].calls)
    }
}

#[test]
fn a_breaker_opens_probes_and_closes_on_what_the_host_saw() {
    for after in ["(i32.const 0)", "(unreachable)"] {
        let story = Story::new(after);
        for status in [200, 200, 503, 502] {
            assert!(story.attempt(status));
        }
        assert_eq!(story.state().0, CircuitState::Open);
        assert!(!story.attempt(200));
        story.bench.clock.advance_ms(1000);
        assert!(story.attempt(500), "the probe");
        assert_eq!(story.state().0, CircuitState::Open);
        story.bench.clock.advance_ms(1000);
        assert!(story.attempt(200), "the next probe");
        assert_eq!(story.state(), (CircuitState::Closed, 0));
        assert!(story.attempt(200));
        assert_eq!(story.state(), (CircuitState::Closed, 1), "settled once");
    }
}

#[test]
fn a_policy_can_count_an_outcome_otherwise() {
    // Everything counts as a success, whatever came.
    let story = Story::new(
        "(call $count_as (global.get $breaker) (i32.const 24) (i32.const 4) (i32.const 0)) (i32.const 0)",
    );
    for _ in 0..10 {
        assert!(story.attempt(503));
    }
    assert_eq!(story.state(), (CircuitState::Closed, 10));
}

#[test]
fn an_attempt_that_never_ended_gives_its_probe_back_uncounted() {
    let story = Story::new("(i32.const 0)");
    for _ in 0..4 {
        story.attempt(503);
    }
    story.bench.clock.advance_ms(1000);
    let mut held = exchange(&[]);
    let attempt = Attempt {
        number: 1,
        upstream: "blue".into(),
        endpoint: None,
    };
    assert!(matches!(
        now(story.chain.before_attempt(&mut held, &attempt)),
        AttemptChoice::Default
    ));
    assert!(!story.attempt(200), "the only probe is out");
    held.settle_abandoned();
    assert!(matches!(
        now(story.chain.before_attempt(&mut held, &attempt)),
        AttemptChoice::Default
    ));
    assert!(!story.attempt(200));
    drop(held);
    assert!(story.attempt(200));
    assert_eq!(story.state(), (CircuitState::Closed, 0));
}

/// An attempt policy that always answers `choice` before (a tag of the variant) and `verdict` after.
fn fixed(choice: u32, verdict: u32) -> Vec<u8> {
    let body = format!(
        r#"{}
        (func (export "{BEFORE}") (param i32 i32 i32 i32 i32) (result i32)
          (i32.store8 (i32.const 2048) (i32.const {choice})) (i32.const 2048))
        (func (export "{AFTER}") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32) (i32.const {verdict}))"#,
        configured()
    );
    component("breaking", "", &body)
}

#[test]
fn an_attempt_that_another_policy_stopped_gives_its_permit_back() {
    let bench = Bench::new();
    let load = |name: &str, wasm| bench.load(granted(name, wasm, OnFault::Deny)).unwrap();
    let opening = load("p", breaker("(i32.const 0)"));
    let open = Chain::new(vec![opening.clone()]);
    let attempt = Attempt {
        number: 1,
        upstream: "blue".into(),
        endpoint: None,
    };
    for _ in 0..4 {
        let mut exchange = exchange(&[]);
        let _ = now(open.before_attempt(&mut exchange, &attempt));
        let failed = AttemptOutcome {
            status: None,
            error: Some("connection_refused".into()),
            latency_us: 1,
        };
        let _ = now(open.after_attempt(&mut exchange, &attempt, &failed));
    }
    bench.clock.advance_ms(1000);
    let stopped = Chain::new(vec![opening, load("stop", fixed(3, 0))]);
    let mut held = exchange(&[]);
    assert!(matches!(
        now(stopped.before_attempt(&mut held, &attempt)),
        AttemptChoice::GiveUp
    ));
    // `held` is still there, and the probe is free all the same.
    assert!(matches!(
        now(open.before_attempt(&mut exchange(&[]), &attempt)),
        AttemptChoice::Default
    ));
}

#[test]
fn verdicts_join_give_up_before_retry_before_accept() {
    let bench = Bench::with_workers(1);
    let check = |verdicts: &[u32], want: &str| {
        let policies = verdicts.iter().map(|verdict| {
            bench
                .load(granted("p", fixed(0, *verdict), OnFault::Deny))
                .unwrap()
        });
        let chain = Chain::new(policies.collect());
        let attempt = Attempt {
            number: 2,
            upstream: "blue".into(),
            endpoint: Some(1),
        };
        let verdict = match now(chain.after_attempt(
            &mut exchange(&[]),
            &attempt,
            &AttemptOutcome::default(),
        )) {
            Verdict::Accept => "accept",
            Verdict::Retry => "retry",
            Verdict::GiveUp => "give up",
            Verdict::Unavailable(_) => "unavailable",
        };
        assert_eq!(verdict, want, "{verdicts:?}");
    };
    check(&[0, 0], "accept");
    check(&[0, 1], "retry");
    check(&[1, 0], "retry");
    check(&[2, 1], "give up");
    check(&[1, 2, 0], "give up");
}
