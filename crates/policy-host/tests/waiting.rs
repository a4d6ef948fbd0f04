//! Policies that wait: they call, append and see an empty WASI; nobody else is held up, and everything they can ask for is bounded.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Bench, ON_REQUEST, bare, component, exchange, granted};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use policy_host::{
    Canary, Cause, Chain, ExchangeContext, Expected, FaultKind, HostConfig, Later, OnFault,
    OutboundCall, OutboundCalls, OutboundReply, Outcome, PolicyHost, PolicyRecord, PolicyRecords,
    PolicySpec, PrimitiveCaps, Primitives, ServiceError, Services,
};

/// A service that answers after a while, or never.
struct Origin {
    after: Option<Duration>,
    under_way: Arc<AtomicUsize>,
    most: AtomicUsize,
    seen: Mutex<Vec<String>>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Origin {
    fn answering(after: Option<Duration>) -> Arc<Self> {
        Arc::new(Self {
            after,
            under_way: Arc::default(),
            most: AtomicUsize::new(0),
            seen: Mutex::default(),
        })
    }
}

impl OutboundCalls for Origin {
    fn send(&self, call: OutboundCall) -> Later<OutboundReply> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let held = UnderWay(self.under_way.clone());
        self.seen.lock().push(format!(
            "{} {}{}",
            call.method, call.upstream, call.path_and_query
        ));
        let after = self.after;
        Box::pin(async move {
            let _held = held;
            let answer = async {
                match after {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::time::timeout(call.timeout, answer)
                .await
                .map_err(|_| ServiceError::Timeout)?;
            Ok(OutboundReply {
                status: StatusCode::IM_A_TEAPOT,
                headers: HeaderMap::new(),
                body: Bytes::from_static(b"tea"),
            })
        })
    }
}

#[derive(Default)]
struct Records(Mutex<Vec<PolicyRecord>>);

impl PolicyRecords for Records {
    fn append(&self, record: PolicyRecord) -> Later<u64> {
        let mut all = self.0.lock();
        all.push(record);
        let seq = all.len() as u64;
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(seq)
        })
    }
}

const IMPORTS: &str = r#"
  (import "veilgate:policy/http-call@0.2.1" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "veilgate:policy/http-call@0.2.1" "start" (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "veilgate:policy/http-call@0.2.1" "notify" (func $notify (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "veilgate:policy/http-call@0.2.1" "[method]pending.wait" (func $wait (param i32 i32)))
  (import "veilgate:policy/http-call@0.2.1" "[resource-drop]pending" (func $drop_pending (param i32)))
  (import "veilgate:policy/outbox@0.2.1" "append" (func $append (param i32 i32 i32 i32 i32)))
"#;

/// In `body`, `CALL` is a call's arguments; `$answer` builds a response whose status is what it is given.
fn calling(upstream: &str, timeout_ms: u64, body: &str) -> Vec<u8> {
    let length = upstream.len();
    let call = format!(
        "(i32.const 16) (i32.const {length}) (i32.const 64) (i32.const 3) (i32.const 72) (i32.const 6)
         (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const {timeout_ms})"
    );
    let body = body.replace("CALL", &call);
    let text = format!(
        r#"(data (i32.const 16) "{upstream}") (data (i32.const 64) "GET") (data (i32.const 72) "/q?x=1") (data (i32.const 96) "audit")
        (func $answer (param i32) (result i32)
          (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (local.get 0))
          (i32.const 1024))
        ;; The status of a reply, or 500 and the number of the error: result at 512, its payload at 516.
        (func $told (result i32)
          (if (result i32) (i32.load8_u (i32.const 512))
            (then (i32.add (i32.const 500) (i32.load8_u (i32.const 516))))
            (else (i32.load16_u (i32.const 516)))))
        (func (export "{ON_REQUEST}") (result i32) (local $n i32) (local $errors i32)
          (call $reset) {body})"#
    );
    component("calling", IMPORTS, &text)
}

const SEND: &str = "(call $send CALL (i32.const 512)) (call $answer (call $told))";

struct Site {
    host: PolicyHost,
    origin: Arc<Origin>,
    records: Arc<Records>,
}

impl Site {
    fn new(after: Option<Duration>) -> Self {
        let origin = Origin::answering(after);
        let records = Arc::new(Records::default());
        let host = PolicyHost::new(HostConfig {
            workers: 1,
            max_policies: 4,
            tick: Duration::from_millis(5),
            services: Services {
                calls: Some(origin.clone()),
                records: Some(records.clone()),
                ..Services::default()
            },
            ..HostConfig::default()
        });
        Self {
            host: host.unwrap(),
            origin,
            records,
        }
    }

    fn chain(&self, wasm: Vec<u8>, change: impl FnOnce(&mut PolicySpec)) -> Chain {
        let mut spec = granted("p", wasm, OnFault::Deny);
        spec.calls = vec!["origin".to_owned()];
        change(&mut spec);
        let policy = self
            .host
            .load(spec, &Primitives::new(PrimitiveCaps::default()));
        Chain::new(vec![policy.unwrap_or_else(|error| panic!("{error}"))])
    }
}

async fn status(chain: &Chain) -> u16 {
    match chain.on_request(&mut exchange(&[])).await {
        Outcome::Respond(response) => response.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

async fn cause(chain: &Chain, exchange: &mut ExchangeContext) -> Cause {
    match chain.on_request(exchange).await {
        Outcome::Unavailable(unavailable) => unavailable.cause,
        other => panic!("{other:?}"),
    }
}

/// The numbers of `types.error`.
const DENIED: u16 = 500;
const LIMIT: u16 = 502;
const TIMEOUT: u16 = 504;
const UNAVAILABLE: u16 = 505;

#[tokio::test]
async fn a_reply_comes_back_to_the_guest_that_waited_for_it() {
    let site = Site::new(Some(Duration::from_millis(20)));
    let chain = site.chain(calling("origin", 0, SEND), |_| {});
    assert!(chain.policies()[0].may_wait());
    assert_eq!(status(&chain).await, 418);
    assert_eq!(*site.origin.seen.lock(), ["GET origin/q?x=1"]);
}

/// A canary is nobody's exchange: what it would call or record must not happen, whatever the gateway has.
#[test]
fn a_canary_finds_the_services_unavailable_and_touches_none() {
    let site = Site::new(Some(Duration::ZERO));
    let append =
        "(call $append (i32.const 96) (i32.const 5) (i32.const 64) (i32.const 3) (i32.const 512))
        (call $answer (i32.add (i32.const 500) (i32.load8_u (i32.const 520))))";
    for body in [SEND, append] {
        let mut spec = granted("p", calling("origin", 0, body), OnFault::Deny);
        spec.calls = vec!["origin".to_owned()];
        let expect = |status: u16| Canary {
            expect: Expected::Respond(StatusCode::from_u16(status).unwrap()),
            ..Canary::default()
        };
        for _ in 0..3 {
            let tried = site.host.try_out(&spec, &expect(UNAVAILABLE));
            assert!(tried.is_ok(), "{tried:?}");
        }
        assert!(site.host.try_out(&spec, &expect(418)).is_err());
    }
    assert!(site.origin.seen.lock().is_empty() && site.records.0.lock().is_empty());
}

#[tokio::test]
async fn calls_of_many_exchanges_wait_side_by_side_on_one_thread() {
    let site = Site::new(Some(Duration::from_millis(200)));
    let chain = site.chain(calling("origin", 0, SEND), |_| {});
    let all: Vec<_> = (0..16)
        .map(|_| {
            let chain = chain.clone();
            tokio::spawn(async move { status(&chain).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), 418);
    }
    assert_eq!(site.origin.most.load(Ordering::SeqCst), 16);
}

#[tokio::test]
async fn an_upstream_that_was_not_named_is_denied_and_never_asked() {
    let site = Site::new(Some(Duration::ZERO));
    let chain = site.chain(calling("other", 0, SEND), |_| {});
    assert_eq!(status(&chain).await, DENIED);
    assert!(site.origin.seen.lock().is_empty());
}

#[tokio::test]
async fn one_that_never_answers_is_a_timeout_that_the_guest_can_still_decide_about() {
    let site = Site::new(None);
    for asked in [30, 0, 60_000] {
        let chain = site.chain(calling("origin", asked, SEND), |spec| {
            spec.limits.max_wait = Duration::from_millis(400);
        });
        assert_eq!(status(&chain).await, TIMEOUT, "asked for {asked} ms");
    }
    assert_eq!(site.origin.under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_flood_of_calls_is_refused_after_the_eighth_and_the_sixty_fourth() {
    let site = Site::new(None);
    let flood = "(loop $more
        (call $notify CALL (i32.const 512))
        (local.set $errors (i32.add (local.get $errors) (i32.load8_u (i32.const 512))))
        (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20))))
      (call $answer (i32.add (i32.const 400) (local.get $errors)))";
    let chain = site.chain(calling("origin", 0, flood), |_| {});
    for _ in 0..8 {
        assert_eq!(status(&chain).await, 412, "12 of 20 are refused");
    }
    assert_eq!(site.origin.most.load(Ordering::SeqCst), 64);
    assert_eq!(status(&chain).await, 420, "all places are taken");
    assert_eq!(site.origin.most.load(Ordering::SeqCst), 64);
}

#[tokio::test]
async fn several_calls_at_once_are_awaited_one_after_the_other_and_only_once() {
    let site = Site::new(Some(Duration::from_millis(30)));
    let wasm = calling(
        "origin",
        0,
        "(call $start CALL (i32.const 512)) (local.set $n (i32.load (i32.const 516)))
         (call $start CALL (i32.const 512)) (local.set $errors (i32.load (i32.const 516)))
         (call $wait (local.get $errors) (i32.const 512))
         (call $wait (local.get $n) (i32.const 512))
         (if (i32.ne (call $told) (i32.const 418)) (then (unreachable)))
         (call $wait (local.get $n) (i32.const 512))
         (call $drop_pending (local.get $n)) (call $drop_pending (local.get $errors))
         (call $answer (call $told))",
    );
    let chain = site.chain(wasm, |_| {});
    assert_eq!(status(&chain).await, 506, "a second wait is invalid");
    assert_eq!(site.origin.most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_call_along_and_frees_its_place() {
    let site = Site::new(None);
    let chain = site.chain(calling("origin", 0, SEND), |spec| spec.limits.instances = 1);
    let mut held = exchange(&[("x-kept", "1")]);
    let left = tokio::time::timeout(Duration::from_millis(100), chain.on_request(&mut held));
    assert!(left.await.is_err());
    assert_eq!(site.origin.under_way.load(Ordering::SeqCst), 0);
    assert_eq!(
        held.request.headers["x-kept"], "1",
        "the exchange came back"
    );
    let faults: u64 = chain.policies()[0]
        .stats()
        .faults
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(faults, 0, "leaving is not the policy's fault");
    let again = tokio::time::timeout(Duration::from_millis(100), chain.on_request(&mut held));
    assert!(
        again.await.is_err(),
        "it waits for the upstream, not for a place"
    );
    assert_eq!(site.origin.seen.lock().len(), 2);
}

#[tokio::test]
async fn when_all_instances_are_in_use_the_next_call_is_busy_and_the_policy_is_not_set_aside() {
    let site = Site::new(None);
    let chain = site.chain(calling("origin", 0, SEND), |spec| spec.limits.instances = 1);
    let holder = {
        let chain = chain.clone();
        tokio::spawn(async move { chain.on_request(&mut exchange(&[])).await })
    };
    while site.origin.under_way.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut all = Vec::new();
    for _ in 0..8 {
        let chain = chain.clone();
        all.push(tokio::spawn(async move {
            cause(&chain, &mut exchange(&[("x-kept", "1")])).await
        }));
    }
    for one in all {
        assert_eq!(one.await.unwrap(), Cause::Fault(FaultKind::Busy));
    }
    assert!(!chain.policies()[0].stats().set_aside);
    holder.abort();
}

#[tokio::test]
async fn a_record_is_appended_with_its_exchange_and_only_so_many_in_one_call() {
    let site = Site::new(None);
    let append = "(loop $more
        (call $append (i32.const 96) (i32.const 5) (i32.const 64) (i32.const 3) (i32.const 512))
        (local.set $errors (i32.add (local.get $errors) (i32.load8_u (i32.const 512))))
        (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10))))
      (call $answer (i32.add (i32.const 400) (local.get $errors)))";
    let chain = site.chain(calling("origin", 0, append), |_| {});
    assert_eq!(status(&chain).await, 402, "8 of 10 are taken");
    let all = site.records.0.lock();
    assert_eq!(all.len(), 8);
    let first = &all[0];
    assert_eq!(
        (&*first.policy, first.kind.as_str(), first.exchange.as_str()),
        ("p", "audit", "id-1")
    );
    assert_eq!(first.body, b"GET");
}

#[tokio::test]
async fn a_kind_that_is_no_name_is_invalid_and_a_long_record_is_over_the_limit() {
    let site = Site::new(None);
    for (kind, body, expected) in [(64, 3, 506), (96, 65_537, LIMIT)] {
        let append = format!(
            "(call $append (i32.const {kind}) (i32.const 3) (i32.const 16) (i32.const {body}) (i32.const 512))
             (call $answer (i32.add (i32.const 500) (i32.load8_u (i32.const 520))))"
        );
        let chain = site.chain(calling("origin", 0, &append), |_| {});
        assert_eq!(status(&chain).await, expected);
    }
    assert!(site.records.0.lock().is_empty());
}

#[tokio::test]
async fn without_a_service_nothing_can_be_asked() {
    let bench = Bench::new();
    let mut spec = granted("p", calling("origin", 0, SEND), OnFault::Deny);
    spec.calls = vec!["origin".to_owned()];
    let chain = Chain::new(vec![bench.load(spec).unwrap()]);
    assert_eq!(status(&chain).await, 505, "unavailable");
}

#[tokio::test]
async fn a_guest_that_computes_gives_way_to_others_on_its_worker() {
    let site = Site::new(None);
    let endless = site.chain(bare("(loop $on (br $on)) (unreachable)"), |spec| {
        spec.may_wait = true;
        spec.limits.fuel = 10_000_000_000;
    });
    let busy = tokio::spawn(async move { cause(&endless, &mut exchange(&[])).await });
    // This runtime has one thread: each turn is one that the guest gave up.
    for turn in 0..5 {
        tokio::task::yield_now().await;
        assert!(!busy.is_finished(), "turn {turn}");
    }
    busy.abort();
}

#[tokio::test]
async fn a_guest_that_imports_wasi_gets_an_empty_one() {
    // No directory to begin in: none.
    let wasm = component(
        "with-wasi",
        r#"(import "wasi:cli/environment@0.2.0" "initial-cwd" (func $cwd (param i32)))"#,
        &format!(
            "(func (export \"{ON_REQUEST}\") (result i32)
               (call $cwd (i32.const 512))
               (if (i32.load8_u (i32.const 512)) (then (unreachable)))
               (i32.const 4096))"
        ),
    );
    let site = Site::new(None);
    let chain = site.chain(wasm, |_| {});
    assert!(chain.policies()[0].may_wait());
    assert!(matches!(
        chain.on_request(&mut exchange(&[])).await,
        Outcome::Continue
    ));
}
