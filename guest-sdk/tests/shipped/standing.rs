//! What policies leave with the host: they are not called where there is nothing for them to decide, and nothing else changes.

use std::sync::LazyLock;

use guest_sdk::matching::Match;
use guest_sdk::testing::FakeRequest;
use policy_host::{AttemptChoice, Grant};
use proptest::prelude::*;

use crate::support::{Bench, attempt, get, now, passes, request, status};

/// One for all cases: a host compiles a policy once.
static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);

const HOST: &str = "www.example.com:8443";

fn list(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(texts, 0..=2)
}

/// A `match` block, some of whose conditions the requests below meet.
fn block() -> impl Strategy<Value = serde_json::Value> {
    let header = prop_oneof![
        Just(serde_json::json!({"x-a": true})),
        Just(serde_json::json!({"x-a": false})),
        Just(serde_json::json!({"x-a": "one"})),
        Just(serde_json::json!({"X-B": "two", "x-a": true})),
        Just(serde_json::json!({})),
    ];
    (
        list(&["get", "POST", "PUT"]),
        list(&["/", "/api", "/api/v1"]),
        list(&["/", "/api", "/api/", "/ap", "/b"]),
        list(&["www.example.com", "*.example.com", "*.COM", "example.com"]),
        header,
    )
        .prop_map(|(method, path, prefix, host, header)| {
            let mut block = serde_json::Map::new();
            for (key, texts) in [
                ("method", method),
                ("path", path),
                ("path-prefix", prefix),
                ("host", host),
            ] {
                if !texts.is_empty() {
                    block.insert(key.to_owned(), serde_json::json!(texts));
                }
            }
            block.insert("header".to_owned(), header);
            serde_json::Value::Object(block)
        })
}

/// A request's method, target and fields.
type Asked = (
    &'static str,
    &'static str,
    Vec<(&'static str, &'static str)>,
);

fn asked() -> impl Strategy<Value = Asked> {
    let fields: &'static [(&str, &str)] = &[("x-a", "one"), ("x-a", "two"), ("x-b", "two")];
    (
        proptest::sample::select(&["GET", "POST", "PUT"][..]),
        proptest::sample::select(&["/", "/api", "/api/v1", "/api/v1/x", "/apix", "/b?q=/api"][..]),
        proptest::sample::subsequence(fields, 0..=3),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The host's look at a request and the policy's own come to the same.
    #[test]
    fn a_policy_is_called_for_the_requests_that_its_blocks_fit(
        blocks in proptest::collection::vec(block(), 1..4),
        requests in proptest::collection::vec(asked(), 1..12),
    ) {
        let rules: Vec<_> = blocks.iter().map(|block| serde_json::json!({"match": block, "ttl": "9s"})).collect();
        let config = serde_json::json!({"rules": rules}).to_string();
        let chain = BENCH.chain("caching", &config, &[Grant::Cache]);
        let blocks: Vec<Match> = blocks
            .into_iter()
            .map(|block| serde_json::from_value::<Match>(block).unwrap().checked().unwrap())
            .collect();
        for (method, target, fields) in requests {
            let path = target.split('?').next().unwrap();
            let mut fake = FakeRequest::get(path).method(method).authority(HOST);
            for (name, value) in &fields {
                fake = fake.with(name, value);
            }
            let fits = blocks.iter().any(|block| block.matches(&fake));
            let before = chain.policies()[0].stats().calls;
            passes(&chain, &mut request(method, target, &fields));
            let called = chain.policies()[0].stats().calls > before;
            prop_assert_eq!(called, fits, "{} {} {:?}", method, target, fields);
        }
    }
}

#[test]
fn a_block_that_asks_for_nothing_is_for_every_request() {
    let bench = Bench::new();
    let config = r#"{"limits": [{"name": "all", "limit": 9, "per": "1s", "key": "all"},
        {"name": "some", "limit": 9, "per": "1s", "key": "all", "match": {"path": "/x"}}]}"#;
    let chain = bench.chain("rate-limit", config, &[Grant::Limits, Grant::Llm]);
    passes(&chain, &mut get("/other"));
    assert_eq!(chain.policies()[0].stats().calls, 1);
}

#[test]
fn a_policy_that_is_not_there_for_a_request_has_no_later_hook_of_it() {
    let bench = Bench::new();
    let config =
        r#"{"rules": [{"match": {"path": "/a"}, "ttl": "1s", "content-type": "text/html"}]}"#;
    let chain = bench.chain("caching", config, &[Grant::Cache]);
    for (target, calls) in [("/b", 0), ("/a", 2)] {
        let before = chain.policies()[0].stats().calls;
        let mut exchange = get(target);
        passes(&chain, &mut exchange);
        crate::support::responds(&chain, &mut exchange, 200, &[]);
        let called = chain.policies()[0].stats().calls - before;
        assert_eq!(called, calls, "{target}");
    }
}

#[test]
fn a_closed_breaker_is_asked_by_the_host_and_an_open_one_by_its_policy() {
    let bench = Bench::new();
    let config = r#"{"breakers": [{"upstream": "app", "route": "main", "per-route": true, "min-calls": 2, "failure-rate": 0.5}]}"#;
    let chain = bench.chain("circuit-breaker", config, &[Grant::Breakers]);
    let calls = || chain.policies()[0].stats().calls;
    let call = |upstream| {
        let mut exchange = get("/");
        passes(&chain, &mut exchange);
        let attempt = attempt(1, upstream);
        let choice = now(chain.before_attempt(&mut exchange, &attempt));
        if matches!(choice, AttemptChoice::Default) {
            let _ = now(chain.after_attempt(&mut exchange, &attempt, &status(500)));
        }
        matches!(choice, AttemptChoice::Default)
    };
    assert!(call("app") && call("other") && call("app"));
    assert_eq!(calls(), 0, "closed: the policy is not called");
    assert!(
        !call("app"),
        "open after two failures, counted without the policy"
    );
    assert_eq!(calls(), 1);
    assert!(call("other"));
    assert_eq!(calls(), 1, "no breaker is for it");
    bench.clock.advance_ms(5_000);
    assert!(call("app"), "a probe");
    assert_eq!(calls(), 1, "the host let the probe through");
}

const CALLERS: [&[(&str, &str)]; 7] = [
    &[("x-key", "one")],
    &[("x-key", "two")],
    &[("x-key", "o|ne")],
    &[("x-key", "")],
    &[("x-key", "one"), ("x-key", "two")],
    &[(
        "x-key",
        "a value of more than 64 bytes, which the policy itself makes a key of",
    )],
    &[],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Limits that the host takes by itself allow and refuse what the policy would: one whose gate keeps the host out of it is asked
    /// the same.
    #[test]
    fn standing_limits_decide_what_the_policy_would(
        key in proptest::sample::select(&["all", "client-ip", "header:x-key", "tenant"][..]),
        limits in proptest::collection::vec((1_u64..6, 1_u64..3), 1..3),
        callers in proptest::collection::vec((0_usize..CALLERS.len(), 0_u64..400), 1..40),
    ) {
        let limits: Vec<_> = limits
            .iter()
            .enumerate()
            .map(|(at, (limit, cost))| serde_json::json!({
                "name": format!("l{at}"), "limit": limit, "cost": cost.min(limit), "per": "1s",
                "key": if at == 0 { key } else { "all" }
            }))
            .collect();
        let standing = serde_json::json!({ "limits": limits });
        let mut own = standing.clone();
        own["in-flight"] = serde_json::json!([{"name": "g", "limit": 1_000_000, "key": "all"}]);
        let [standing, own] = [standing, own].map(|config| {
            let bench = Bench::new();
            let chain = bench.chain("rate-limit", &config.to_string(), &[Grant::Limits, Grant::Llm]);
            (bench, chain)
        });
        let mut called = 0;
        for (caller, wait_ms) in callers {
            let ask = |(bench, chain): &(Bench, policy_host::Chain)| {
                bench.clock.advance_ms(wait_ms);
                let mut exchange = request("GET", "/", CALLERS[caller]);
                match now(chain.on_request(&mut exchange)) {
                    policy_host::Outcome::Continue => None,
                    policy_host::Outcome::Respond(response) => Some((response.status, response.headers)),
                    other => panic!("{other:?}"),
                }
            };
            let (theirs, ours) = (ask(&standing), ask(&own));
            called += u64::from(theirs.is_some());
            prop_assert_eq!(theirs, ours);
        }
        let plain = key == "all" || key == "client-ip";
        let calls = standing.1.policies()[0].stats().calls;
        prop_assert!(!plain || calls == called, "called {} times for {} refusals", calls, called);
    }
}
