//! Traps where no exchange is under way, or where one waits: in ticks, in what is told of queues, in answers to calls. Each costs the
//! VM that it happened on, and is counted once.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::filter::{Texts, filter, on_request};
use common::{exchange, granted, now};
use http::{HeaderMap, StatusCode};
use policy_host::{
    Cause, Chain, FaultKind, HostConfig, Later, ManualClock, OnFault, OutboundCall, OutboundCalls,
    OutboundReply, Outcome, Policy, PolicyHost, PrimitiveCaps, Primitives, Services,
};

struct Answering;

impl OutboundCalls for Answering {
    fn send(&self, _: OutboundCall) -> Later<OutboundReply> {
        Box::pin(async {
            tokio::task::yield_now().await;
            Ok(OutboundReply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Bytes::from_static(b"yes"),
            })
        })
    }
}

struct Bench {
    policy: Arc<Policy>,
    chain: Chain,
    clock: Arc<ManualClock>,
    _host: PolicyHost,
}

impl Bench {
    fn new(wasm: Vec<u8>, on_fault: OnFault) -> Self {
        let clock = Arc::new(ManualClock::starting_at_ms(1_000_000));
        let host = PolicyHost::new(HostConfig {
            workers: 1,
            max_policies: 1,
            clock: clock.clone(),
            services: Services {
                calls: Some(Arc::new(Answering)),
                ..Services::default()
            },
            ..HostConfig::default()
        })
        .unwrap();
        let mut spec = granted("p", wasm, on_fault);
        spec.calls = vec!["u".to_owned()];
        let primitives = Primitives::new(PrimitiveCaps::default());
        let policy = host.load(spec, &primitives).unwrap();
        Self {
            chain: Chain::new(vec![policy.clone()]),
            policy,
            clock,
            _host: host,
        }
    }

    /// The first tick sets the time; this one's has come.
    async fn tick(&self) {
        self.policy.on_tick().await;
        self.clock.advance_ms(100);
        self.policy.on_tick().await;
    }

    fn traps(&self) -> u64 {
        let faults = self.policy.stats().faults;
        let others = faults
            .iter()
            .filter(|(kind, count)| *kind != FaultKind::Trap && *count > 0);
        assert_eq!(others.count(), 0, "{faults:?}");
        let traps = faults.iter().find(|(kind, _)| *kind == FaultKind::Trap);
        traps.map_or(0, |(_, count)| *count)
    }

    async fn goes_on(&self) {
        let outcome = self.chain.on_request(&mut exchange(&[])).await;
        assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    }
}

const EVERY_100_MS: &str = "(func (export \"proxy_on_vm_start\") (param i32 i32) (result i32)
    (call $expect (call $set_tick_period_milliseconds (i32.const 100)) (i32.const 0)) (i32.const 1))";

#[tokio::test]
async fn a_trap_in_a_tick_costs_its_vm_and_no_exchange_after_it() {
    let body = format!(
        "{EVERY_100_MS} {} (func (export \"proxy_on_tick\") (param i32) unreachable)",
        on_request("")
    );
    let bench = Bench::new(filter(&body), OnFault::Deny);
    for trapped in 1..=3 {
        bench.goes_on().await;
        bench.tick().await;
        assert_eq!(bench.traps(), trapped);
        // There is nothing to call before an exchange has brought another VM.
        bench.tick().await;
        assert_eq!(bench.traps(), trapped);
        assert_eq!(bench.policy.tick_period(), None);
    }
    bench.goes_on().await;
    assert_eq!(bench.policy.tick_period(), Some(Duration::from_millis(100)));
}

/// The head is held back until a tick resumes it, which traps instead.
#[tokio::test]
async fn a_held_back_exchange_whose_vm_traps_in_a_tick_is_let_go_at_once() {
    let body = format!(
        "{EVERY_100_MS}
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (i32.const 1))
         (func (export \"proxy_on_tick\") (param i32) unreachable)"
    );
    let wasm = filter(&body);
    for on_fault in [OnFault::Deny, OnFault::Skip] {
        let bench = Bench::new(wasm.clone(), on_fault);
        let began = Instant::now();
        let mut held = exchange(&[]);
        let (outcome, ()) = tokio::join!(bench.chain.on_request(&mut held), async {
            tokio::task::yield_now().await;
            bench.tick().await;
        });
        match on_fault {
            OnFault::Deny => assert!(matches!(outcome, Outcome::Unavailable(_)), "{outcome:?}"),
            OnFault::Skip => assert!(matches!(outcome, Outcome::Continue), "{outcome:?}"),
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "not by `max_wait`"
        );
        assert_eq!(bench.traps(), 1);
    }
}

#[tokio::test]
async fn a_trap_in_what_is_told_of_a_queue_leaves_the_queue() {
    let mut texts = Texts::default();
    let (name, entry) = (texts.put("q"), texts.put("1"));
    // Takes one out and puts one in. Who sends the field `1` says that there is one.
    let pass = format!(
        "(call $expect (call $register_shared_queue {name} (i32.const 20)) (i32.const 0))
         (call $expect
           (call $dequeue_shared_queue (i32.load (i32.const 20)) (i32.const 8) (i32.const 12))
           (select (i32.const 7) (i32.const 0)
             (call $get_header_map_value (i32.const 0) {entry} (i32.const 24) (i32.const 28))))
         (call $expect (call $enqueue_shared_queue (i32.load (i32.const 20)) {entry}) (i32.const 0))"
    );
    let body = format!(
        "{} {} (func (export \"proxy_on_queue_ready\") (param i32 i32) unreachable)",
        texts.data(),
        on_request(&pass),
    );
    let bench = Bench::new(filter(&body), OnFault::Deny);
    bench.goes_on().await;
    bench.policy.on_tick().await;
    assert_eq!(bench.traps(), 1);
    // Told once: the arrival is not told again to the next VM.
    bench.policy.on_tick().await;
    assert_eq!(bench.traps(), 1);
    let outcome = bench.chain.on_request(&mut exchange(&[("1", "")])).await;
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    assert_eq!(bench.traps(), 1);
}

/// Asks another service for who sends `x-ask`, and traps when it is told the answer.
fn asking() -> Vec<u8> {
    let mut texts = Texts::default();
    let (name, upstream) = (texts.put("x-ask"), texts.put("u"));
    let head =
        texts.put(b"\x02\0\0\0\x07\0\0\0\x03\0\0\0\x05\0\0\0\x01\0\0\0:method\0GET\0:path\0/\0");
    let call = format!(
        "(call $expect
           (call $http_call {upstream} {head} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 16))
           (i32.const 0))"
    );
    filter(&format!(
        "{} {EVERY_100_MS}
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
           (if (call $get_header_map_value (i32.const 0) {name} (i32.const 8) (i32.const 12)) (then (return (i32.const 0))))
           {call} (i32.const 1))
         (func (export \"proxy_on_tick\") (param i32) {call})
         (func (export \"proxy_on_http_call_response\") (param i32 i32 i32 i32 i32) unreachable)",
        texts.data()
    ))
}

#[tokio::test]
async fn a_trap_in_the_answer_to_an_exchange_s_call_is_that_exchange_s() {
    let wasm = asking();
    for on_fault in [OnFault::Deny, OnFault::Skip] {
        let bench = Bench::new(wasm.clone(), on_fault);
        for trapped in 1..=2 {
            let outcome = bench
                .chain
                .on_request(&mut exchange(&[("x-ask", "1")]))
                .await;
            match (&outcome, on_fault) {
                (Outcome::Unavailable(unavailable), OnFault::Deny) => {
                    assert_eq!(unavailable.cause, Cause::Fault(FaultKind::Trap));
                }
                (Outcome::Continue, OnFault::Skip) => {}
                _ => panic!("{outcome:?}"),
            }
            assert_eq!(bench.traps(), trapped);
            assert!(matches!(
                now(bench.chain.on_request(&mut exchange(&[]))),
                Outcome::Continue
            ));
        }
    }
}

#[tokio::test]
async fn a_trap_in_the_answer_to_a_tick_s_call_is_nobody_s() {
    let bench = Bench::new(asking(), OnFault::Deny);
    bench.tick().await;
    // The answer comes, and is told with the next tick.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    bench.policy.on_tick().await;
    assert_eq!(bench.traps(), 1);
    bench.goes_on().await;
    assert_eq!(bench.traps(), 1);
}
