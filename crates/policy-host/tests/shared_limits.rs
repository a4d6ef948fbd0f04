//! Limits that are kept in a store outside: every function asks it once, and the operator's rule decides without it. The store here is
//! the definition of one; the gateway's tests have a real one.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{CONFIGURE, ON_REQUEST, component, exchange, granted};
use parking_lot::Mutex;
use policy_host::{
    Cause, Chain, FaultKind, HostConfig, Later, LimitAnswer, LimitState, LimitStep, LimitStore,
    LoadError, ManualClock, OnFault, Outcome, Policy, PolicyHost, PrimitiveCaps, Primitives,
    ServiceError, Services, SharedLimits, WithoutStore,
};

const NOW_US: u64 = 1_700_000_000_000_000;

#[derive(Default)]
struct Store {
    kept: Mutex<HashMap<String, LimitState>>,
    away: AtomicBool,
    /// Says that it took what it refused, and the other way round.
    lies: AtomicBool,
    steps: AtomicUsize,
}

impl LimitStore for Store {
    fn step(&self, step: &LimitStep, within: Duration) -> Later<LimitAnswer> {
        assert!(within <= Duration::from_secs(30));
        self.steps.fetch_add(1, Ordering::SeqCst);
        let mut answer = step.apply(&mut self.kept.lock(), NOW_US);
        if let Some(answer) = &mut answer {
            answer.taken ^= self.lies.load(Ordering::SeqCst);
        }
        let away = self.away.load(Ordering::SeqCst);
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer.filter(|_| !away).ok_or(ServiceError::Unavailable)
        })
    }
}

const IMPORTS: &str = r#"
  (import "veilgate:policy/limits@0.2.1" "[static]limiter.define" (func $define (param i32 i32 i32 i64 i64 i64 i32)))
  (import "veilgate:policy/limits@0.2.1" "[method]limiter.take" (func $take (param i32 i32 i32 i64 i32)))
  (import "veilgate:policy/limits@0.2.1" "[method]limiter.peek" (func $peek (param i32 i32 i32 i32)))
  (import "veilgate:policy/limits@0.2.1" "[method]limiter.settle" (func $settle (param i32 i32 i32 i64)))
  (import "veilgate:policy/limits@0.2.1" "take-all" (func $take_all (param i32 i32 i32)))
  (import "veilgate:policy/limits@0.2.1" "take-each" (func $take_each (param i32 i32 i32)))
"#;

/// The key of every call.
const KEY: &str = "(global.get $small) (i32.const 24) (i32.const 3)";
const TAKE: &str = "(call $take KEY (i64.const 1) (i32.const 512))";
const PEEK: &str = "(call $peek KEY (i32.const 512))";

/// Two buckets, of 5 and of 9 an hour. `body` leaves a verdict at 512, which becomes the status: 200 if it allows, else 400, what
/// remains, and 50 if it is degraded. At 1536 there are two shares, of 1 of the small one and of 2 of the large one.
fn guest(burst: u64, body: &str) -> Vec<u8> {
    let body = body.replace("KEY", KEY);
    let text = format!(
        r#"(global $small (mut i32) (i32.const 0)) (global $large (mut i32) (i32.const 0))
        (data (i32.const 16) "small") (data (i32.const 24) "ann") (data (i32.const 32) "large")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $define (i32.const 16) (i32.const 5) (i32.const 0) (i64.const 5) (i64.const 3600000) (i64.const {burst}) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (global.set $small (i32.load (i32.const 1028)))
          (call $define (i32.const 32) (i32.const 5) (i32.const 0) (i64.const 9) (i64.const 3600000) (i64.const 0) (i32.const 1024))
          (global.set $large (i32.load (i32.const 1028)))
          (i32.store (i32.const 1536) (global.get $small)) (i32.store (i32.const 1560) (global.get $large))
          (i32.store (i32.const 1540) (i32.const 24)) (i32.store (i32.const 1564) (i32.const 24))
          (i32.store (i32.const 1544) (i32.const 3)) (i32.store (i32.const 1568) (i32.const 3))
          (i64.store (i32.const 1552) (i64.const 1)) (i64.store (i32.const 1576) (i64.const 2))
          (i32.const 0))
        (func $status (param $verdict i32) (result i32)
          (i32.add
            (i32.add (select (i32.const 200) (i32.const 400) (i32.load8_u (local.get $verdict)))
              (i32.wrap_i64 (i64.load offset=8 (local.get $verdict))))
            (i32.mul (i32.const 50) (i32.load8_u offset=40 (local.get $verdict)))))
        (func (export "{ON_REQUEST}") (result i32) (local $at i32) (local $n i32)
          (call $reset)
          (local.set $at (i32.const 512))
          {body}
          (i32.store8 (i32.const 2048) (i32.const 1))
          (i32.store16 (i32.const 2052) (call $status (local.get $at)))
          (i32.const 2048))"#
    );
    component("limiting", IMPORTS, &text)
}

struct Gateway {
    host: PolicyHost,
    primitives: Arc<Primitives>,
}

impl Gateway {
    fn new(store: &Arc<Store>, without: WithoutStore) -> Self {
        let limits = SharedLimits {
            store: store.clone(),
            without,
        };
        let host = PolicyHost::new(HostConfig {
            workers: 1,
            max_policies: 4,
            clock: Arc::new(ManualClock::starting_at_ms(1000)),
            services: Services {
                limits: Some(limits),
                ..Services::default()
            },
            ..HostConfig::default()
        });
        Self {
            host: host.unwrap(),
            primitives: Primitives::new(PrimitiveCaps::default()),
        }
    }

    fn load(&self, wasm: Vec<u8>, shared: bool) -> Result<Arc<Policy>, LoadError> {
        let mut spec = granted("p", wasm, OnFault::Deny);
        spec.shared_limits = shared;
        self.host.load(spec, &self.primitives)
    }

    fn chain(&self, body: &str) -> Chain {
        let policy = self.load(guest(0, body), true);
        Chain::new(vec![policy.unwrap_or_else(|error| panic!("{error}"))])
    }
}

async fn status(chain: &Chain) -> u16 {
    match chain.on_request(&mut exchange(&[])).await {
        Outcome::Respond(response) => response.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_function_asks_the_store_once_and_gateways_share_what_it_keeps() {
    let store = Arc::new(Store::default());
    let gateways = [0, 1].map(|_| Gateway::new(&store, WithoutStore::Local));
    let [take, peek] = [gateways[0].chain(TAKE), gateways[1].chain(PEEK)];
    assert_eq!(status(&take).await, 204);
    assert_eq!(status(&peek).await, 204);
    let all = gateways[1].chain("(call $take_all (i32.const 1536) (i32.const 2) (i32.const 512))");
    assert_eq!(status(&all).await, 203);
    // The second verdict of a list.
    let each = gateways[0].chain(
        "(call $take_each (i32.const 1536) (i32.const 2) (i32.const 512))
         (local.set $at (i32.add (i32.load (i32.const 512)) (i32.const 48)))",
    );
    assert_eq!(status(&each).await, 205);
    let settle =
        |delta: i64| gateways[1].chain(&format!("(call $settle KEY (i64.const {delta})) {PEEK}"));
    assert_eq!(status(&settle(-2)).await, 204);
    assert_eq!(status(&settle(4)).await, 400);
    assert_eq!(status(&take).await, 400);
    assert_eq!(status(&all).await, 400);
    // Once for each; a settlement and a look are two.
    assert_eq!(store.steps.load(Ordering::SeqCst), 10);
    let kept = store.kept.lock();
    assert_eq!(kept.len(), 2);
    assert!(
        kept.keys()
            .all(|key| key.starts_with("p:small:") || key.starts_with("p:large:"))
    );
}

#[tokio::test]
async fn without_the_store_the_rule_decides_and_says_so() {
    let store = Arc::new(Store::default());
    store.away.store(true, Ordering::SeqCst);
    let settle = format!("(call $settle KEY (i64.const 3)) {PEEK}");
    let all = "(call $take_all (i32.const 1536) (i32.const 2) (i32.const 512))";
    for (without, expected) in [
        // Counts here, beginning with nothing: 5, then one, then the correction, then one of each.
        (WithoutStore::Local, [254, 254, 251, 250]),
        (WithoutStore::Allow, [254, 254, 254, 254]),
        (WithoutStore::Deny, [450, 450, 450, 450]),
    ] {
        let gateway = Gateway::new(&store, without);
        for (body, expected) in [TAKE, PEEK, &settle, all].into_iter().zip(expected) {
            assert_eq!(
                status(&gateway.chain(body)).await,
                expected,
                "{without:?} {body}"
            );
        }
    }
}

#[tokio::test]
async fn a_store_that_contradicts_itself_is_as_good_as_none() {
    let store = Arc::new(Store::default());
    let gateway = Gateway::new(&store, WithoutStore::Deny);
    let take = gateway.chain(TAKE);
    store.lies.store(true, Ordering::SeqCst);
    assert_eq!(status(&take).await, 450);
    store.lies.store(false, Ordering::SeqCst);
    assert_eq!(status(&take).await, 203);
}

#[tokio::test]
async fn one_call_can_ask_only_so_often() {
    let store = Arc::new(Store::default());
    let gateway = Gateway::new(&store, WithoutStore::Local);
    let many = |n: u32| {
        let body = format!(
            "(loop $again {PEEK}
               (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {n}))))"
        );
        gateway.chain(&body)
    };
    assert_eq!(status(&many(32)).await, 205);
    let refused = many(33).on_request(&mut exchange(&[])).await;
    let Outcome::Unavailable(unavailable) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(unavailable.cause, Cause::Fault(FaultKind::HostLimit));
    assert_eq!(store.steps.load(Ordering::SeqCst), 64);
}

#[tokio::test]
async fn only_a_policy_that_opted_in_waits_and_without_a_store_all_count_here() {
    let store = Arc::new(Store::default());
    let gateway = Gateway::new(&store, WithoutStore::Deny);
    let local = gateway.load(guest(0, TAKE), false).unwrap();
    assert!(!local.may_wait());
    assert_eq!(status(&Chain::new(vec![local])).await, 204);
    assert!(gateway.load(guest(0, TAKE), true).unwrap().may_wait());
    // One that has no limits has nothing to wait for.
    let none = gateway
        .load(common::bare("(i32.const 4096)"), true)
        .unwrap();
    assert!(!none.may_wait());
    assert_eq!(store.steps.load(Ordering::SeqCst), 0);

    let bench = common::Bench::new();
    let mut spec = granted("p", guest(0, TAKE), OnFault::Deny);
    spec.shared_limits = true;
    let alone = Chain::new(vec![bench.load(spec).unwrap()]);
    assert_eq!(status(&alone).await, 204);
}

#[test]
fn what_no_store_can_count_is_refused() {
    let gateway = Gateway::new(&Arc::default(), WithoutStore::Local);
    // The guest traps if its definition is refused: a thousand million at five an hour take 22 832 years.
    let slow = guest(1_000_000_000, TAKE);
    assert!(gateway.load(slow.clone(), false).is_ok());
    assert!(gateway.load(slow, true).is_err());
    let filter = wat::parse_str("(module (func (export \"proxy_abi_version_0_2_1\")))").unwrap();
    let Err(refused) = gateway.load(filter, true) else {
        panic!("a filter cannot wait for a store")
    };
    assert!(
        refused.to_string().contains("limits = \"shared\""),
        "{refused}"
    );
}
