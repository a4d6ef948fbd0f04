//! What well-behaved guests see and change, and how a chain joins their decisions.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::lines::Lines;
use common::{
    Bench, CONFIGURE, ON_REQUEST, ON_RESPONSE, bare, component, configured, exchange, granted, now,
};
use http::{HeaderMap, StatusCode};
use policy_host::{
    Chain, EndpointView, ExchangeContext, OnFault, Outcome, ResponseParts, RouteChoice, Source,
    StoreDirective, UpstreamError, UpstreamStats, UpstreamView,
};

/// A decision in memory at 1024: layouts of the canonical ABI (respond at 0, route at 24, defer at 81, reason at 84).
fn decision_guest(writes: &str) -> Vec<u8> {
    component(
        "bare",
        "",
        &format!(
            r#"(data (i32.const 16) "retry-after") (data (i32.const 32) "7") (data (i32.const 40) "over") (data (i32.const 48) "blue")
            (data (i32.const 64) "\10\00\00\00\0b\00\00\00\20\00\00\00\01\00\00\00")
            (func (export "{ON_REQUEST}") (result i32) {writes} (i32.const 1024))"#
        ),
    )
}

const RESPOND_429: &str =
    "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const 429))
    (i32.store (i32.const 1032) (i32.const 64)) (i32.store (i32.const 1036) (i32.const 1))
    (i32.store (i32.const 1040) (i32.const 40)) (i32.store (i32.const 1044) (i32.const 4))";
const ROUTE_BLUE: &str = "(i32.store8 (i32.const 1048) (i32.const 1))
    (i32.store (i32.const 1056) (i32.const 48)) (i32.store (i32.const 1060) (i32.const 4))";
const REASON_OVER: &str = "(i32.store8 (i32.const 1108) (i32.const 1))
    (i32.store (i32.const 1112) (i32.const 40)) (i32.store (i32.const 1116) (i32.const 4))";
const DEFER: &str = "(i32.store8 (i32.const 1105) (i32.const 1))";

#[test]
fn a_guest_that_says_nothing_changes_nothing() {
    let bench = Bench::new();
    let chain = bench.chain(bare("(i32.const 4096)"), OnFault::Deny);
    let mut exchange = exchange(&[("x", "1")]);
    assert!(matches!(
        now(chain.on_request(&mut exchange)),
        Outcome::Continue
    ));
    assert!(exchange.route.is_none() && exchange.reasons.is_empty());
    assert!(matches!(
        now(chain.on_response(&mut exchange)),
        Outcome::Continue
    ));
    assert!(matches!(
        now(Chain::default().on_request(&mut exchange)),
        Outcome::Continue
    ));
}

#[test]
fn a_response_ends_the_request_phase_with_its_reason() {
    let bench = Bench::new();
    let responder = bench.load(granted(
        "first",
        decision_guest(&format!("{RESPOND_429} {REASON_OVER}")),
        OnFault::Deny,
    ));
    let never = bench
        .load(granted("second", bare("(unreachable)"), OnFault::Deny))
        .unwrap();
    let chain = Chain::new(vec![responder.unwrap(), never.clone()]);
    let mut exchange = exchange(&[]);
    let Outcome::Respond(response) = now(chain.on_request(&mut exchange)) else {
        panic!("no response")
    };
    assert_eq!(
        (response.status, &response.body[..]),
        (StatusCode::TOO_MANY_REQUESTS, &b"over"[..])
    );
    assert_eq!(response.headers["retry-after"], "7");
    assert_eq!(
        (
            &*exchange.reasons[0].policy,
            exchange.reasons[0].text.as_str()
        ),
        ("first", "over")
    );
    assert_eq!(never.stats().calls, 0);
}

#[test]
fn the_last_route_stands_and_defer_is_told() {
    let bench = Bench::new();
    let load = |name: &str, writes: &str| {
        bench
            .load(granted(name, decision_guest(writes), OnFault::Deny))
            .unwrap()
    };
    let chain = Chain::new(vec![load("a", ROUTE_BLUE), load("b", DEFER)]);
    let mut exchange = exchange(&[]);
    exchange.route = Some(RouteChoice {
        upstream: "green".into(),
        endpoint: Some(1),
        hash_key: None,
        timeout_ms: None,
    });
    assert!(matches!(
        now(chain.on_request(&mut exchange)),
        Outcome::Defer
    ));
    let blue = RouteChoice {
        upstream: "blue".into(),
        endpoint: None,
        hash_key: None,
        timeout_ms: None,
    };
    assert_eq!(exchange.route, Some(blue));
}

const REQUEST_IMPORTS: &str = r#"
  (import "veilgate:policy/request@0.2.1" "header" (func $header (param i32 i32 i32)))
  (import "veilgate:policy/request@0.2.1" "set-header" (func $set (param i32 i32 i32 i32) (result i32)))
  (import "veilgate:policy/request@0.2.1" "set-path" (func $set_path (param i32 i32) (result i32)))
  (import "veilgate:policy/request@0.2.1" "set-attr" (func $set_attr (param i32 i32 i32 i32)))
  (import "veilgate:policy/request@0.2.1" "query" (func $query (param i32 i32 i32)))
  (import "veilgate:policy/request@0.2.1" "info" (func $info (param i32)))"#;

#[test]
fn a_guest_reads_and_changes_the_request() {
    // Copies the header x-in to x-out, the parameter b to the attribute x-in, the id to x-id, and rewrites the path.
    let body = format!(
        r#"{} (data (i32.const 16) "x-in") (data (i32.const 24) "x-out") (data (i32.const 32) "b") (data (i32.const 40) "/new?z=1")
        (data (i32.const 56) "x-id") (data (i32.const 64) "content-length")
        (func (export "{ON_REQUEST}") (result i32)
          (call $reset)
          (call $header (i32.const 16) (i32.const 4) (i32.const 1024))
          (if (i32.eqz (call $set (i32.const 24) (i32.const 5) (i32.load (i32.const 1028)) (i32.load (i32.const 1032)))) (then (unreachable)))
          (call $query (i32.const 32) (i32.const 1) (i32.const 1024))
          (call $set_attr (i32.const 16) (i32.const 4) (i32.load (i32.const 1028)) (i32.load (i32.const 1032)))
          (call $info (i32.const 2048))
          (drop (call $set (i32.const 56) (i32.const 4) (i32.load (i32.const 2048)) (i32.load (i32.const 2052))))
          (if (call $set (i32.const 64) (i32.const 14) (i32.const 32) (i32.const 1)) (then (unreachable)))
          (if (i32.eqz (call $set_path (i32.const 40) (i32.const 8))) (then (unreachable)))
          (if (call $set_path (i32.const 32) (i32.const 1)) (then (unreachable)))
          (i32.const 4096))"#,
        configured()
    );
    let bench = Bench::new();
    let chain = bench.chain(component("basic", REQUEST_IMPORTS, &body), OnFault::Deny);
    let mut exchange = exchange(&[("X-In", "value")]);
    let lines = Lines::of(|| {
        assert!(matches!(
            now(chain.on_request(&mut exchange)),
            Outcome::Continue | Outcome::Unavailable(_)
        ))
    });
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(exchange.request.headers["x-out"], "value");
    assert_eq!(exchange.request.headers["x-id"], "id-1");
    assert_eq!(exchange.request.path_and_query, "/new?z=1");
    assert_eq!(exchange.attrs.read("x-in"), Some("c"));
}

#[test]
fn the_configuration_reaches_every_instance() {
    // Keeps the configuration where it was put, and sets it as the value of a header.
    let body = format!(
        r#"(global $at (mut i32) (i32.const 0)) (global $length (mut i32) (i32.const 0)) (data (i32.const 16) "x-config")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (global.set $at (local.get 0)) (global.set $length (local.get 1)) (i32.const 0))
        (func (export "{ON_REQUEST}") (result i32)
          (drop (call $set (i32.const 16) (i32.const 8) (global.get $at) (global.get $length))) (i32.const 4096))"#
    );
    let bench = Bench::with_workers(3);
    let mut spec = granted(
        "p",
        component("basic", REQUEST_IMPORTS, &body),
        OnFault::Deny,
    );
    spec.config_json = r#"{"a":[1,2]}"#.into();
    let chain = Chain::new(vec![bench.load(spec).unwrap()]);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut exchange = exchange(&[]);
                    assert!(matches!(
                        now(chain.on_request(&mut exchange)),
                        Outcome::Continue
                    ));
                    assert_eq!(exchange.request.headers["x-config"], r#"{"a":[1,2]}"#);
                }
            });
        }
    });
    let stats = chain.policies()[0].stats();
    assert_eq!(stats.calls, 300);
    assert!(stats.fuel > 0);
}

/// Appends its letter to x-order.
fn appender(letter: char) -> Vec<u8> {
    component(
        "responder",
        r#"(import "veilgate:policy/response@0.2.1" "append-header" (func $append (param i32 i32 i32 i32) (result i32)))
           (import "veilgate:policy/response@0.2.1" "set-status" (func $set_status (param i32) (result i32)))
           (import "veilgate:policy/response@0.2.1" "source-of" (func $source (result i32)))"#,
        &format!(
            r#"(data (i32.const 16) "x-order") (data (i32.const 24) "{letter}")
            (func (export "{ON_RESPONSE}") (result i32)
              (drop (call $append (i32.const 16) (i32.const 7) (i32.const 24) (i32.const 1)))
              (if (call $set_status (i32.const 101)) (then (unreachable)))
              (if (i32.eq (call $source) (i32.const 1)) (then (drop (call $set_status (i32.const 299)))))
              (i32.const 4096))"#
        ),
    )
}

#[test]
fn response_hooks_run_in_reverse_and_change_the_response() {
    let bench = Bench::new();
    let load = |letter| {
        bench
            .load(granted("p", appender(letter), OnFault::Deny))
            .unwrap()
    };
    let chain = Chain::new(vec![load('a'), load('b'), load('c')]);
    for (source, status) in [(Source::Upstream, 200), (Source::Cache, 299)] {
        let mut exchange = exchange(&[]);
        exchange.response = Some(ResponseParts {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            source,
        });
        let lines = Lines::of(|| drop(now(chain.on_response(&mut exchange))));
        assert!(lines.is_empty(), "{lines:?}");
        let response = exchange.into_exchange().response.unwrap();
        let order: Vec<_> = response
            .headers
            .get_all("x-order")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            (order.concat().as_str(), response.status.as_u16()),
            ("cba", status)
        );
    }
}

#[derive(Default)]
struct OneUpstream {
    ejected: AtomicU32,
}

impl UpstreamView for OneUpstream {
    fn names(&self) -> Vec<String> {
        vec!["blue".into()]
    }
    fn endpoints(&self, upstream: &str) -> Result<Vec<EndpointView>, UpstreamError> {
        if upstream != "blue" {
            return Err(UpstreamError::NotFound);
        }
        let endpoint = |id| EndpointView {
            id,
            address: "192.0.2.7:80".into(),
            healthy: true,
            weight: 1,
            in_flight: 0,
            ewma_us: 0,
            zone: String::new(),
        };
        Ok(vec![endpoint(5), endpoint(6)])
    }
    fn stats_of(&self, _: &str) -> Result<UpstreamStats, UpstreamError> {
        Err(UpstreamError::Unavailable)
    }
    fn eject(&self, _: &str, endpoint: u32, for_ms: u64) -> Result<(), UpstreamError> {
        assert_eq!(for_ms, 1000);
        self.ejected.store(endpoint, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_guest_sees_the_upstreams_and_steers_the_cache() {
    // Ejects the first endpoint of blue; adds a key part; says how long to store.
    let imports = r#"
      (import "veilgate:policy/upstreams@0.2.1" "endpoints" (func $endpoints (param i32 i32 i32)))
      (import "veilgate:policy/upstreams@0.2.1" "eject" (func $eject (param i32 i32 i32 i64 i32)))
      (import "veilgate:policy/cache@0.2.1" "key-add" (func $key (param i32 i32)))
      (import "veilgate:policy/cache@0.2.1" "store" (func $store (param i64 i64 i64)))"#;
    let body = format!(
        r#"(data (i32.const 16) "blue")
        (func (export "{ON_REQUEST}") (result i32)
          (call $reset)
          (call $endpoints (i32.const 16) (i32.const 4) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (if (i32.ne (i32.load (i32.const 1032)) (i32.const 2)) (then (unreachable)))
          (call $eject (i32.const 16) (i32.const 4) (i32.load (i32.load (i32.const 1028))) (i64.const 1000) (i32.const 1040))
          (call $key (i32.const 16) (i32.const 4))
          (call $store (i64.const 60000) (i64.const 1) (i64.const 2))
          (i32.const 4096))"#
    );
    let bench = Bench::new();
    let chain = bench.chain(component("steering", imports, &body), OnFault::Deny);
    let upstreams = Arc::new(OneUpstream::default());
    let plain = exchange(&[]).into_exchange();
    let mut exchange = ExchangeContext::new(plain.request, plain.info, Some(upstreams.clone()));
    assert!(matches!(
        now(chain.on_request(&mut exchange)),
        Outcome::Continue
    ));
    assert_eq!(upstreams.ejected.load(Ordering::SeqCst), 5);
    assert_eq!(exchange.cache.key_parts, ["blue"]);
    let store = StoreDirective {
        ttl_ms: 60_000,
        stale_while_revalidate_ms: 1,
        stale_if_error_ms: 2,
    };
    assert_eq!(exchange.cache.store, Some(store));
    // The seventeenth part would be dropped, and two answers could share a key: the call ends instead.
    for _ in 0..15 {
        assert!(matches!(
            now(chain.on_request(&mut exchange)),
            Outcome::Continue
        ));
    }
    assert!(matches!(
        now(chain.on_request(&mut exchange)),
        Outcome::Unavailable(_)
    ));
}

#[test]
fn a_flood_of_log_lines_is_cut_and_cannot_forge_lines() {
    let imports =
        r#"(import "veilgate:policy/log@0.2.1" "write" (func $write (param i32 i32 i32)))"#;
    let body = format!(
        r#"{} (data (i32.const 16) "one\nERROR two")
        (func (export "{ON_REQUEST}") (result i32) (local $n i32)
          (loop $more
            (call $write (i32.const 2) (i32.const 16) (i32.const 13))
            (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000))))
          (call $write (i32.const 0) (i32.const 16) (i32.const 13))
          (i32.const 4096))"#,
        configured()
    );
    let bench = Bench::new();
    let chain = bench.chain(component("basic", imports, &body), OnFault::Deny);
    let lines = Lines::of(|| drop(now(chain.on_request(&mut exchange(&[])))));
    assert_eq!(lines.len(), 17, "{lines:?}");
    assert_eq!(
        lines[0],
        "INFO message=one ERROR two policy=p exchange=id-1"
    );
    assert!(lines[16].contains("dropped=984"), "{}", lines[16]);
}
