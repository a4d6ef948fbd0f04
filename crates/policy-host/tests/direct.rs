//! Guests that are called directly do what they do as components: the shipped policies and the small guests of these tests, both ways
//! side by side.

mod common;

use std::sync::Arc;

use common::{Bench, ON_REQUEST, component, configured, exchange, granted, respond};
use policy_host::{
    Attempt, AttemptOutcome, Chain, ExchangeContext, FaultKind, HostConfig, ManualClock, OnFault,
    Outcome, Policy, PolicyHost, PolicySpec, PrimitiveCaps, Primitives, at_once,
};

fn now<T>(hook: impl Future<Output = T>) -> T {
    at_once(hook).unwrap()
}

/// The same policy, called directly and as a component.
fn both(spec: &PolicySpec) -> [Arc<Policy>; 2] {
    [true, false].map(|direct| {
        let config = HostConfig {
            workers: 1,
            max_policies: 2,
            direct,
            clock: Arc::new(ManualClock::starting_at_ms(1_000_000)),
            ..HostConfig::default()
        };
        let host = PolicyHost::new(config).unwrap();
        let primitives = Primitives::new(PrimitiveCaps::default());
        let policy = host.load(spec.clone(), &primitives).unwrap();
        assert_eq!(policy.is_direct(), direct);
        policy
    })
}

fn shipped(name: &str, config: serde_json::Value) -> PolicySpec {
    let folder = std::env::var("VEILGATE_POLICIES_DIR").expect("set by `cargo xtask test`");
    let wasm = std::fs::read(format!("{folder}/{name}.wasm")).unwrap();
    let mut spec = granted(name, wasm, OnFault::Deny);
    spec.config_json = config.to_string();
    spec
}

/// Everything that an exchange shows of what was done to it.
fn shown(exchange: &ExchangeContext) -> String {
    let request = (
        &exchange.request.path_and_query,
        &exchange.request.authority,
        &exchange.request.headers,
    );
    let response = exchange
        .response
        .as_ref()
        .map(|it| (it.status, &it.headers));
    format!(
        "{request:?} {response:?} {:?} {:?}",
        exchange.route, exchange.cache
    )
}

/// Some exchanges from beginning to end; what was decided at each step, in words.
fn story(policy: &Arc<Policy>) -> Vec<String> {
    let chain = Chain::new(vec![policy.clone()]);
    let mut told = Vec::new();
    for number in 0..12_u16 {
        let status = [200, 503, 404][usize::from(number) % 3];
        let mut exchange = exchange(&[
            ("authorization", "Bearer one"),
            ("x-tenant", ["a", "b"][usize::from(number) % 2]),
            ("accept", "text/html"),
        ]);
        let attempt = Attempt {
            number: 1,
            upstream: "origin".into(),
            endpoint: Some(3),
        };
        let outcome = AttemptOutcome {
            status: Some(status),
            error: None,
            latency_us: 700,
        };
        told.push(format!("{:?}", now(chain.on_request(&mut exchange))));
        told.push(format!(
            "{:?}",
            now(chain.before_attempt(&mut exchange, &attempt))
        ));
        told.push(format!(
            "{:?}",
            now(chain.after_attempt(&mut exchange, &attempt, &outcome))
        ));
        respond(&mut exchange);
        told.push(format!("{:?}", now(chain.on_response(&mut exchange))));
        told.push(shown(&exchange));
    }
    told
}

#[track_caller]
fn alike(spec: &PolicySpec) -> Vec<String> {
    let [direct, component] = both(spec).map(|policy| story(&policy));
    assert_eq!(direct, component);
    direct
}

#[test]
fn the_shipped_policies_decide_the_same() {
    let limited = alike(&shipped(
        "rate-limit",
        serde_json::json!({"limits": [{"name": "few", "key": "header:x-tenant", "limit": 2, "per": "1m"}]}),
    ));
    assert!(
        limited.iter().any(|told| told.contains("429")),
        "{limited:?}"
    );
    let broken = alike(&shipped(
        "circuit-breaker",
        serde_json::json!({"breakers": [{"upstream": "*", "min-calls": 2, "failure-rate": 0.1}]}),
    ));
    assert!(broken.iter().any(|told| told.contains("503")), "{broken:?}");
    alike(&shipped(
        "caching",
        serde_json::json!({"rules": [{"match": {"path-prefix": "/a"}, "ttl": "10s"}]}),
    ));
    alike(&shipped(
        "routing",
        serde_json::json!({"default": {"to": "origin"}, "rules": [
            {"name": "some", "match": {"header": {"x-tenant": "b"}}, "to": "other"}
        ]}),
    ));
}

/// A guest whose allocator calls the host.
fn calling_allocator(import: &str) -> Vec<u8> {
    common::component_of(
        "basic",
        &format!(
            r#"
            (import "veilgate:policy/random@0.2.1" "number" (func $number (result i64)))
            (import "veilgate:policy/request@0.2.1" "path" (func $path (param i32)))
            (memory (export "memory") 2)
            (global $asked (mut i32) (i32.const 0))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
              (if (global.get $asked) (then {import})) (i32.const 65536))
            {}
            (func (export "{ON_REQUEST}") (result i32)
              (global.set $asked (i32.const 1)) (call $path (i32.const 1024)) (i32.const 4096))"#,
            configured()
        ),
    )
}

#[test]
fn an_allocator_that_calls_the_host_is_stopped_either_way() {
    for (import, kind) in [
        ("(drop (call $number))", Some(FaultKind::Trap)),
        ("(call $path (i32.const 2048))", Some(FaultKind::Trap)),
        ("", None),
    ] {
        let spec = granted("p", calling_allocator(import), OnFault::Deny);
        for policy in both(&spec) {
            let chain = Chain::new(vec![policy.clone()]);
            let outcome = now(chain.on_request(&mut exchange(&[])));
            let faults = policy.stats().faults;
            let counted = faults.into_iter().find(|(_, count)| *count > 0);
            assert_eq!(counted.map(|(fault, _)| fault), kind, "{import}");
            assert_eq!(matches!(outcome, Outcome::Continue), kind.is_none());
        }
    }
}

#[test]
fn what_starts_may_call_what_needs_no_memory_and_nothing_else() {
    for (call, starts) in [
        ("(drop (call $number))", true),
        ("(call $path (i32.const 1024))", false),
    ] {
        let imports = r#"
          (import "veilgate:policy/random@0.2.1" "number" (func $number (result i64)))
          (import "veilgate:policy/request@0.2.1" "path" (func $path (param i32)))"#;
        let body = format!(
            r#"{} (func $begin {call}) (start $begin)
            (func (export "{ON_REQUEST}") (result i32) (i32.const 4096))"#,
            configured()
        );
        let wasm = component("basic", imports, &body);
        for direct in [true, false] {
            let host = PolicyHost::new(HostConfig {
                workers: 1,
                direct,
                ..HostConfig::default()
            });
            let primitives = Primitives::new(PrimitiveCaps::default());
            let spec = granted("p", wasm.clone(), OnFault::Deny);
            let loaded = host.unwrap().load(spec, &primitives);
            assert_eq!(loaded.is_ok(), starts, "{call}, direct: {direct}");
        }
    }
}

#[test]
fn what_may_wait_or_is_of_several_parts_stays_a_component() {
    let bench = Bench::new();
    let mut waits = granted("p", common::bare("(i32.const 4096)"), OnFault::Deny);
    assert!(bench.load(waits.clone()).unwrap().is_direct());
    waits.may_wait = true;
    assert!(!bench.load(waits).unwrap().is_direct());
    let body = format!("(func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))");
    let calling = granted("q", component("calling", "", &body), OnFault::Deny);
    // Nothing of what may wait is imported: the encoder leaves it out.
    assert!(bench.load(calling).unwrap().is_direct());
    let send =
        "(import \"veilgate:policy/outbox@0.2.1\" \"append\" (func (param i32 i32 i32 i32 i32)))";
    let calling = granted("r", component("calling", send, &body), OnFault::Deny);
    let calling = bench.load(calling).unwrap();
    assert!(!calling.is_direct() && calling.may_wait());
}
