//! Which rule an attempt falls under, what counts as a failure, settings refused with their key.

use guest_sdk::testing::FakeRequest;
use guest_sdk::{ConfigError, settings};
use proptest::prelude::*;

use super::{OPEN, Plan, WhenOpen, refusal};

fn read(json: &str) -> Result<Plan, ConfigError> {
    settings::read(json, Plan::read)
}

fn plan(json: &str) -> Plan {
    read(json).expect("good settings")
}

fn rule(json: &str) -> Plan {
    plan(&format!(r#"{{"breakers": [{json}]}}"#))
}

#[test]
fn without_settings_every_upstream_has_a_breaker_of_its_own() {
    let plan = plan("{}");
    let request = FakeRequest::get("/");
    assert_eq!(plan.breaker_of("a", &request), Some((0, "a".into())));
    assert_eq!(plan.breaker_of("b", &request), Some((0, "b".into())));
    assert!(
        !plan.rules()[0].counts_its_own_way(),
        "the host's own rule holds"
    );
}

#[test]
fn the_first_rule_that_fits_is_taken() {
    let plan = plan(
        r#"{"breakers": [
            {"upstream": "slow", "route": "reports", "per-route": true},
            {"upstream": ["slow", "fast"], "name": "both"}]}"#,
    );
    let on = |upstream: &'static str, route: &str| {
        plan.breaker_of(upstream, &FakeRequest::get("/").route(route))
    };
    assert_eq!(on("slow", "reports"), Some((0, "slow reports".into())));
    assert_eq!(on("slow", "api"), Some((1, "slow".into())));
    assert_eq!(on("fast", "api"), Some((1, "fast".into())));
    assert_eq!(on("other", "api"), None);
}

#[test]
fn a_rule_may_say_what_counts_as_a_failure() {
    let plan = rule(
        r#"{"failure-status": ["5xx", 429, "404-405"], "ignore-errors": ["connection_limit_reached"]}"#,
    );
    let rule = &plan.rules()[0];
    assert!(rule.counts_its_own_way());
    assert_eq!(
        rule.failure_status.ranges(),
        [(500, 599), (429, 429), (404, 405)]
    );
    assert_eq!(rule.ignore_errors, ["connection_limit_reached"]);
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let response = refusal(4_200);
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("5"));
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
    let body = String::from_utf8(response.body).expect("JSON is UTF-8");
    assert!(body.contains(OPEN), "{body}");
    assert_eq!(refusal(0).header("retry-after"), Some("1"));
}

#[test]
fn a_fallback_is_answered_as_it_is_written() {
    let plan = rule(
        r#"{"fallback": {"status": 200, "body": "[]", "header": {"Content-Type": "application/json"}}}"#,
    );
    let WhenOpen::Answer(fallback) = &plan.rules()[0].when_open else {
        panic!("no fallback");
    };
    let response = fallback.response(2_000);
    assert_eq!((response.status, &response.body[..]), (200, &b"[]"[..]));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("retry-after"), None);

    let plan = rule(r#"{"fallback": {"body": "later"}}"#);
    let WhenOpen::Answer(fallback) = &plan.rules()[0].when_open else {
        panic!("no fallback");
    };
    let response = fallback.response(2_000);
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("2"));
}

#[test]
fn bad_settings_are_refused_with_their_key() {
    for (json, key) in [
        (r#"{"upstream": []}"#, "`breakers[0].upstream`"),
        (r#"{"window": "5ms"}"#, "`breakers[0].window`"),
        (r#"{"window": "2h"}"#, "`breakers[0].window`"),
        (r#"{"open-for": "0s"}"#, "`breakers[0].open-for`"),
        (r#"{"min-calls": 0}"#, "`breakers[0].min-calls`"),
        (r#"{"min-calls": -1}"#, "`breakers[0].min-calls`"),
        (r#"{"probes": 0}"#, "`breakers[0].probes`"),
        (r#"{"failure-rate": 50}"#, "`breakers[0].failure-rate`"),
        (r#"{"failure-rate": 0}"#, "`breakers[0].failure-rate`"),
        (r#"{"slow-rate": 0.5}"#, "`breakers[0].slow-call`"),
        (r#"{"slow-call": "1s"}"#, "`breakers[0].slow-rate`"),
        (
            r#"{"slow-call": "0s", "slow-rate": 1}"#,
            "`breakers[0].slow-call`",
        ),
        (
            r#"{"failure-status": "6xx"}"#,
            "`breakers[0].failure-status`",
        ),
        (
            r#"{"failure-status": [200, "x"]}"#,
            "`breakers[0].failure-status[1]`",
        ),
        (
            r#"{"ignore-errors": ["Connection refused"]}"#,
            "`breakers[0].ignore-errors`",
        ),
        (
            r#"{"when-open": "stale", "fallback": {}}"#,
            "`breakers[0].fallback`",
        ),
        (r#"{"when-open": "wait"}"#, "`breakers[0].when-open`"),
        (
            r#"{"fallback": {"status": 100}}"#,
            "`breakers[0].fallback.status`",
        ),
        (
            r#"{"fallback": {"header": {"a b": "c"}}}"#,
            "`breakers[0].fallback.header.a b`",
        ),
        (r#"{"name": ""}"#, "`breakers[0].name`"),
        (r#"{"min_calls": 3}"#, "`breakers[0].min_calls`"),
    ] {
        let whole = format!(r#"{{"breakers": [{json}]}}"#);
        let message = match read(&whole) {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with(key), "{json}: {message}");
    }
    let none = read(r#"{"breakers": []}"#);
    assert!(none.is_err_and(|error| error.key() == "breakers"));
    let twice = read(r#"{"breakers": [{"upstream": "a"}, {"upstream": "a"}]}"#);
    assert!(twice.is_err_and(|error| error.key() == "breakers[1].name"));
}

proptest! {
    #[test]
    fn attempts_of_different_upstreams_never_share_a_breaker(a in "[a-z0-9-]{1,20}", b in "[a-z0-9-]{1,20}", route in ".{0,20}") {
        let plan = rule(r#"{"per-route": true}"#);
        let request = FakeRequest::get("/").route(&route);
        prop_assert_eq!(plan.breaker_of(&a, &request) == plan.breaker_of(&b, &request), a == b);
    }

    #[test]
    fn no_settings_upset_the_reader(text in ".*") {
        let _ = read(&text);
    }
}
