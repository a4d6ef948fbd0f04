//! Keys that cannot be forged, fields in the form that the draft gives them, settings refused with their key.

use guest_sdk::config;
use guest_sdk::limits::Verdict;
use guest_sdk::testing::FakeRequest;
use proptest::prelude::*;

use super::{Charge, Plan, Settings};

fn plan(json: &str) -> Plan {
    config::parse::<Settings>(json)
        .and_then(Plan::new)
        .expect("good settings")
}

fn with_key(key: &str) -> Plan {
    plan(&format!(
        r#"{{"limits": [{{"name": "a", "limit": 5, "per": "1m", {key}}}]}}"#
    ))
}

fn key_of(plan: &Plan, request: &FakeRequest) -> Option<String> {
    plan.charges(request)
        .into_iter()
        .next()
        .map(|charge| charge.key)
}

fn verdict(allowed: bool, remaining: u64) -> Verdict {
    Verdict {
        allowed,
        remaining,
        limit: 5,
        retry_after: 1500,
        reset: 29_001,
        degraded: false,
    }
}

#[test]
fn each_kind_of_key_tells_callers_apart() {
    let someone = FakeRequest::get("/")
        .with("x-api-key", "k1")
        .tenant("acme")
        .route("api");
    for (key, expected) in [
        (r#""key": "client-ip""#, "@192.0.2.1"),
        (r#""key": "tenant""#, "tacme"),
        (r#""key": "header:X-Api-Key""#, "hk1"),
        (r#""key": ["route", "tenant"]"#, "rapi|tacme"),
        (r#""key": "all""#, "*"),
    ] {
        assert_eq!(
            key_of(&with_key(key), &someone).as_deref(),
            Some(expected),
            "{key}"
        );
    }
}

#[test]
fn a_missing_header_is_counted_as_asked() {
    let nobody = FakeRequest::get("/").with("x-empty", "");
    for (key, expected) in [
        (r#""key": "header:x-api-key""#, Some("@192.0.2.1")),
        (r#""key": "header:x-empty""#, Some("@192.0.2.1")),
        (
            r#""key": "header:x-api-key", "on-missing": "share""#,
            Some("-"),
        ),
        (r#""key": "header:x-api-key", "on-missing": "skip""#, None),
    ] {
        assert_eq!(
            key_of(&with_key(key), &nobody).as_deref(),
            expected,
            "{key}"
        );
    }
}

#[test]
fn an_ipv6_subscriber_is_one_caller() {
    let by_ip = with_key(r#""key": "client-ip""#);
    let key = |ip: &str| key_of(&by_ip, &FakeRequest::get("/").client_ip(ip));
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
    assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
}

#[test]
fn a_limit_is_charged_only_where_it_matches() {
    let plan = plan(
        r#"{"limits": [
            {"name": "all", "limit": 100, "per": "1s", "key": "all"},
            {"name": "writes", "limit": 5, "per": "1h", "key": "client-ip", "cost": 2, "match": {"method": ["POST"]}}]}"#,
    );
    let names = |request: FakeRequest| -> Vec<(usize, u64)> {
        plan.charges(&request)
            .iter()
            .map(|charge| (charge.limit, charge.cost))
            .collect()
    };
    assert_eq!(names(FakeRequest::get("/")), [(0, 1)]);
    assert_eq!(
        names(FakeRequest::get("/").method("POST")),
        [(0, 1), (1, 2)]
    );
}

#[test]
fn a_refusal_says_what_was_exceeded_and_when_to_come_back() {
    let plan = plan(
        r#"{"limits": [
            {"name": "burst", "limit": 10, "per": "1s", "key": "all"},
            {"name": "per-client", "limit": 5, "per": "1500ms", "key": "client-ip"}]}"#,
    );
    let charges = plan.charges(&FakeRequest::get("/"));
    let response = plan.refusal(
        &verdict(false, 0),
        &charges,
        &[verdict(true, 7), verdict(false, 0)],
    );
    assert_eq!(response.status, 429);
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(response.header("retry-after"), Some("2"));
    assert_eq!(
        response.header("ratelimit-policy"),
        Some(r#""burst";q=10;w=1, "per-client";q=5;w=2"#)
    );
    assert_eq!(
        response.header("ratelimit"),
        Some(r#""burst";r=7;t=30, "per-client";r=0;t=30"#)
    );
    let body = String::from_utf8(response.body).expect("JSON is UTF-8");
    assert!(
        body.contains(r#""violated-policies":["per-client"]"#),
        "{body}"
    );
    assert!(body.contains(r#""status":429"#), "{body}");
}

#[test]
fn an_allowed_request_gets_the_same_fields() {
    let plan = plan(
        r#"{"headers": "always", "limits": [{"name": "a", "limit": 5, "per": "1m", "key": "all"}]}"#,
    );
    let charges = plan.charges(&FakeRequest::get("/"));
    assert_eq!(
        plan.fields(&charges, &[verdict(true, 4)]),
        (r#""a";q=5;w=60"#.to_owned(), r#""a";r=4;t=30"#.to_owned())
    );
    assert!(plan.tells_always());
}

#[test]
fn bad_settings_are_refused_with_their_key() {
    let limit = |rest: &str| format!(r#"{{"limits": [{{"name": "a", "key": "all", {rest}}}]}}"#);
    for (json, key) in [
        (r#"{}"#.to_owned(), "missing field `limits`"),
        (r#"{"limits": []}"#.to_owned(), "`limits`"),
        (limit(r#""limit": 0, "per": "1s""#), "`limits[0].limit`"),
        (limit(r#""limit": 1, "per": "0s""#), "`limits[0].per`"),
        (limit(r#""limit": 1, "per": "32d""#), "`limits[0].per`"),
        (limit(r#""limit": 1, "per": 3"#), "`limits[0].per`"),
        (
            limit(r#""limit": 1, "per": "1s", "burst": 0"#),
            "`limits[0].burst`",
        ),
        (
            limit(r#""limit": 1, "per": "1s", "burst": 4, "algorithm": "fixed-window""#),
            "`limits[0].burst`",
        ),
        (
            limit(r#""limit": 1, "per": "1s", "cost": 2"#),
            "`limits[0].cost`",
        ),
        (
            limit(r#""limit": 1, "per": "1s", "algoritm": "gcra""#),
            "`limits[0].algoritm`",
        ),
        (
            limit(r#""limit": 1, "per": "1s", "match": {"path": "x"}"#),
            "`limits[0].match.path`",
        ),
        (
            r#"{"limits": [{"name": "a\"b", "limit": 1, "per": "1s", "key": "all"}]}"#.to_owned(),
            "`limits[0].name`",
        ),
        (
            r#"{"limits": [{"name": "a", "limit": 1, "per": "1s", "key": "cookie"}]}"#.to_owned(),
            "`limits[0].key`",
        ),
        (
            r#"{"limits": [{"name": "a", "limit": 1, "per": "1s", "key": "header:a b"}]}"#
                .to_owned(),
            "`limits[0].key`",
        ),
        (
            r#"{"limits": [{"name": "a", "limit": 1, "per": "1s", "key": []}]}"#.to_owned(),
            "`limits[0].key`",
        ),
    ] {
        let message = match config::parse::<Settings>(&json).and_then(Plan::new) {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with(key), "{json}: {message}");
    }
}

#[test]
fn two_limits_may_not_share_a_name() {
    let one = r#"{"name": "a", "limit": 1, "per": "1s", "key": "all"}"#;
    let both =
        config::parse::<Settings>(&format!(r#"{{"limits": [{one}, {one}]}}"#)).and_then(Plan::new);
    assert!(both.is_err_and(|error| error.key() == "limits[1].name"));
}

proptest! {
    #[test]
    fn different_callers_never_share_a_key(a in (".{0,80}", ".{0,80}"), b in (".{0,80}", ".{0,80}")) {
        let plan = with_key(r#""key": ["header:x", "header:y"], "on-missing": "share""#);
        let key = |(x, y): &(String, String)| key_of(&plan, &FakeRequest::get("/").with("x", x).with("y", y));
        prop_assert_eq!(key(&a) == key(&b), a == b);
    }

    #[test]
    fn keys_are_bounded(value in ".{0,2000}", ip in ".{0,2000}") {
        let plan = with_key(r#""key": ["header:x", "client-ip", "route", "tenant"]"#);
        let request = FakeRequest::get("/").with("x", &value).client_ip(&ip).tenant(&value).route(&value);
        let key = key_of(&plan, &request).unwrap_or_default();
        // at most three bytes for each that is escaped, a mark and a separator
        prop_assert!(key.len() <= 4 * (3 * 64 + 2), "{}", key.len());
    }

    #[test]
    fn a_header_cannot_name_an_address(value in ".{0,80}") {
        let by_header = with_key(r#""key": "header:x""#);
        let forged = key_of(&by_header, &FakeRequest::get("/").with("x", &format!("@{value}")));
        prop_assert!(forged.is_some_and(|key| key.starts_with('h')));
    }

    #[test]
    fn the_fields_are_well_formed(remaining: u64, reset: u64, retry_after: u64) {
        let plan = with_key(r#""key": "all""#);
        let charges = [Charge { limit: 0, key: "*".to_owned(), cost: 1 }];
        let verdict = Verdict { allowed: false, remaining, limit: 5, retry_after, reset, degraded: false };
        let response = plan.refusal(&verdict, &charges, &[verdict]);
        let seconds: u64 = response.header("retry-after").unwrap_or_default().parse().expect("a number");
        prop_assert!(seconds >= 1);
    }
}

#[test]
fn numbers_are_written_as_the_standard_library_writes_them() {
    for number in [0, 9, 10, 1_000_000_000, u64::MAX] {
        let mut text = String::from("r=");
        super::push_number(&mut text, number);
        assert_eq!(text, format!("r={number}"));
    }
}
