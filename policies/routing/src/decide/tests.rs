//! The first rule that matches decides, shares are what the weights say, callers stay where they are, retries are safe.

use guest_sdk::attempt::{Attempt, Outcome};
use guest_sdk::config;
use guest_sdk::testing::FakeRequest;
use proptest::prelude::*;

use super::{Chosen, FALLBACK, Plan, REDIRECTED, Settings, goes_elsewhere, redirected};

fn plan(json: &str) -> Plan {
    config::parse::<Settings>(json)
        .and_then(Plan::new)
        .expect("good settings")
}

fn upstream<'a>(plan: &'a Plan, request: &FakeRequest) -> Option<&'a str> {
    plan.choose(request, || 0).map(|chosen| chosen.upstream)
}

fn canary(percent: u32, sticky: &str) -> Plan {
    let rest = 100 - percent;
    plan(&format!(
        r#"{{"default": {{"to": [{{"upstream": "new", "weight": {percent}}}, {{"upstream": "old", "weight": {rest}}}]{sticky}}}}}"#
    ))
}

#[test]
fn the_first_rule_that_matches_decides() {
    let plan = plan(
        r#"{"rules": [
            {"match": {"path-prefix": "/api", "header": {"x-beta": "yes"}}, "to": "beta", "timeout": "5s"},
            {"match": {"path-prefix": "/api"}, "to": "api", "fallback": "spare"},
            {"match": {"host": "*.shop.example", "method": "POST"}, "to": "orders"}],
           "default": {"to": "web"}}"#,
    );
    assert_eq!(
        upstream(&plan, &FakeRequest::get("/api/x").with("x-beta", "yes")),
        Some("beta")
    );
    assert_eq!(upstream(&plan, &FakeRequest::get("/api/x")), Some("api"));
    assert_eq!(
        upstream(
            &plan,
            &FakeRequest::get("/")
                .authority("a.shop.example")
                .method("POST")
        ),
        Some("orders")
    );
    let web = Chosen {
        upstream: "web",
        fallback: None,
        timeout: None,
        hash_key: None,
        reason: "routing/default",
    };
    assert_eq!(plan.choose(&FakeRequest::get("/apix"), || 0), Some(web));
}

#[test]
fn without_a_default_the_gateways_own_route_holds() {
    let plan = plan(r#"{"rules": [{"match": {"path": "/x"}, "to": "x"}]}"#);
    assert_eq!(upstream(&plan, &FakeRequest::get("/y")), None);
}

#[test]
fn a_sticky_caller_needs_no_luck_and_a_caller_without_the_header_does() {
    let plan = canary(50, r#", "sticky": "header:x-user""#);
    let with = FakeRequest::get("/").with("x-user", "ann");
    let never = || -> u64 { panic!("asked for a random number") };
    let first = plan
        .choose(&with, never)
        .map(|chosen| (chosen.upstream.to_owned(), chosen.hash_key));
    let again = plan
        .choose(&with, never)
        .map(|chosen| (chosen.upstream.to_owned(), chosen.hash_key));
    assert_eq!(first, again);
    assert!(first.is_some_and(|(_, hash)| hash.is_some()));
    let mut asked = false;
    let without = plan.choose(&FakeRequest::get("/"), || {
        asked = true;
        u64::MAX
    });
    assert_eq!(without.map(|chosen| chosen.upstream), Some("old"));
    assert!(asked);
}

#[test]
fn a_fallback_that_was_chosen_anyway_is_no_fallback() {
    let plan = plan(r#"{"default": {"to": "a", "fallback": "a"}}"#);
    let chosen = plan.choose(&FakeRequest::get("/"), || 0);
    assert_eq!(chosen.map(|chosen| chosen.fallback), Some(None));
}

#[test]
fn only_what_never_connected_and_may_be_repeated_goes_elsewhere_once() {
    let attempt = |number| Attempt {
        number,
        upstream: "a".to_owned(),
        endpoint: None,
    };
    let failed = |error: &str| Outcome {
        status: None,
        error: Some(error.to_owned()),
        latency_us: 1,
    };
    let bad_gateway = Outcome {
        status: Some(502),
        error: None,
        latency_us: 1,
    };
    let get = FakeRequest::get("/").with_attr(FALLBACK, "b");
    let post = get.clone().method("POST");
    let alone = FakeRequest::get("/");
    for (number, outcome, request, expected) in [
        (1, failed("connection_refused"), &get, true),
        (1, failed("connection_timeout"), &get, true),
        (2, failed("connection_refused"), &get, false),
        (1, failed("http_response_incomplete"), &get, false),
        (1, bad_gateway, &get, false),
        (1, failed("connection_refused"), &post, false),
        (1, failed("connection_refused"), &alone, false),
    ] {
        assert_eq!(
            goes_elsewhere(&attempt(number), &outcome, request),
            expected,
            "{number} {outcome:?}"
        );
    }
    let sent = get.with_attr(REDIRECTED, "1");
    assert_eq!(redirected(&attempt(2), &sent), Some("b".to_owned()));
    assert_eq!(redirected(&attempt(1), &sent), None);
    assert_eq!(
        redirected(&attempt(2), &FakeRequest::get("/").with_attr(FALLBACK, "b")),
        None,
        "another policy's retry"
    );
}

#[test]
fn bad_settings_are_refused_with_their_key() {
    for (json, key) in [
        ("{}", "`rules`"),
        (r#"{"rules": [{}]}"#, "`rules[0]`: missing field `to`"),
        (r#"{"rules": [{"to": 3}]}"#, "`rules[0].to`"),
        (r#"{"rules": [{"to": []}]}"#, "`rules[0].to`"),
        (r#"{"rules": [{"to": ""}]}"#, "`rules[0].to[0].upstream`"),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "weight": 0}]}]}"#,
            "`rules[0].to`",
        ),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "wight": 1}]}]}"#,
            "`rules[0].to[0].wight`",
        ),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "weight": 1000001}]}]}"#,
            "`rules[0].to[0].weight`",
        ),
        (
            r#"{"rules": [{"to": "a", "sticky": "cookie"}]}"#,
            "`rules[0].sticky`",
        ),
        (
            r#"{"rules": [{"to": "a", "timeout": "0s"}]}"#,
            "`rules[0].timeout`",
        ),
        (
            r#"{"rules": [{"to": "a", "fallback": ""}]}"#,
            "`rules[0].fallback`",
        ),
        (
            r#"{"rules": [{"to": "a", "match": {"host": "a:1"}}]}"#,
            "`rules[0].match.host`",
        ),
        (
            r#"{"default": {"to": "a", "match": {}}}"#,
            "`default.match`",
        ),
        (r#"{"default": "a"}"#, "`default`"),
    ] {
        let message = match config::parse::<Settings>(json).and_then(Plan::new) {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with(key), "{json}: {message}");
    }
}

proptest! {
    #[test]
    fn shares_are_what_the_weights_say(percent in 0_u32..=100) {
        let plan = canary(percent, "");
        let steps = 10_000_u64;
        let to_new = (0..steps)
            .filter(|step| {
                let chosen = plan.choose(&FakeRequest::get("/"), || step * (u64::MAX / steps));
                chosen.is_some_and(|chosen| chosen.upstream == "new")
            })
            .count() as u64;
        let expected = u64::from(percent) * steps / 100;
        prop_assert!(to_new.abs_diff(expected) <= 1, "{to_new} of {steps} at {percent} %");
    }

    #[test]
    fn hashes_spread_callers_like_luck(percent in 5_u32..=95) {
        let plan = canary(percent, r#", "sticky": "client-ip""#);
        let callers = 2_000_u32;
        let to_new = (0..callers)
            .filter(|caller| {
                let request = FakeRequest::get("/").client_ip(&format!("10.0.{}.{}", caller / 256, caller % 256));
                upstream(&plan, &request) == Some("new")
            })
            .count() as f64;
        // six standard deviations
        let share = f64::from(percent) / 100.0;
        let slack = 6.0 * (f64::from(callers) * share * (1.0 - share)).sqrt();
        prop_assert!((to_new - f64::from(callers) * share).abs() <= slack, "{to_new} of {callers} at {percent} %");
    }

    #[test]
    fn a_growing_canary_keeps_those_it_has(less in 0_u32..=100, more in 0_u32..=100, user in ".{1,20}") {
        prop_assume!(less <= more);
        let sticky = r#", "sticky": "header:x-user""#;
        let request = FakeRequest::get("/").with("x-user", &user);
        if upstream(&canary(less, sticky), &request) == Some("new") {
            let grown = canary(more, sticky);
            prop_assert_eq!(upstream(&grown, &request), Some("new"));
        }
    }

    #[test]
    fn a_target_without_weight_gets_nothing(number: u64) {
        let plan = plan(r#"{"default": {"to": [{"upstream": "none", "weight": 0}, {"upstream": "all", "weight": 3}, {"upstream": "nil", "weight": 0}]}}"#);
        let chosen = plan.choose(&FakeRequest::get("/"), || number);
        prop_assert_eq!(chosen.map(|chosen| chosen.upstream), Some("all"));
    }
}
