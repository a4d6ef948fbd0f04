//! Keys tell apart what the rules tell apart, nothing private is shared, only what is listed is stored.

use guest_sdk::cache::Lifetimes;
use guest_sdk::testing::FakeRequest;
use guest_sdk::{ConfigError, Period, settings};
use proptest::prelude::*;

use super::prompt::Prompt;
use super::{BodyKey, Plan, RequestStep};

fn read(json: &str) -> Result<Plan, ConfigError> {
    settings::read(json, Plan::read)
}

fn plan(json: &str) -> Plan {
    read(json).expect("good settings")
}

fn rule(json: &str) -> Plan {
    plan(&format!(r#"{{"rules": [{{"ttl": "10m", {json}}}]}}"#))
}

fn step(plan: &Plan, request: &FakeRequest) -> RequestStep {
    plan.on_request(request).expect("a rule for it").1
}

fn key(plan: &Plan, request: &FakeRequest) -> Vec<String> {
    match step(plan, request) {
        RequestStep::Cache { key } => key,
        RequestStep::Bypass(reason) => panic!("bypassed: {reason}"),
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let plan = plan(
        r#"{"rules": [
            {"match": {"path-prefix": "/private"}, "no-store": true},
            {"match": {"path-prefix": "/assets"}, "ttl": "1h"}]}"#,
    );
    assert_eq!(
        plan.on_request(&FakeRequest::get("/private/x")),
        Some((0, RequestStep::Bypass("caching/no-store")))
    );
    assert_eq!(
        plan.on_request(&FakeRequest::get("/assets/x")),
        Some((1, RequestStep::Cache { key: vec![] }))
    );
    assert_eq!(plan.on_request(&FakeRequest::get("/other")), None);
}

#[test]
fn the_key_holds_what_the_rule_names() {
    let plan = rule(
        r#""key": {"header": "Accept-Language", "query": ["v"], "cookie": "theme", "tenant": true}"#,
    );
    let request = FakeRequest::get("/")
        .with("accept-language", "de")
        .with("cookie", "a=1; theme=dark")
        .with_query("v", "2")
        .tenant("acme");
    assert_eq!(
        key(&plan, &request),
        [
            "header:accept-language=2:de",
            "query:v=1:2",
            "cookie:theme=4:dark",
            "tenant:=4:acme"
        ]
    );
    assert_eq!(
        key(&plan, &FakeRequest::get("/")),
        [
            "header:accept-language",
            "query:v",
            "cookie:theme",
            "tenant:"
        ]
    );
}

#[test]
fn a_value_too_long_to_be_told_apart_is_not_cached() {
    let plan = rule(r#""key": {"header": "x"}"#);
    let long = FakeRequest::get("/").with("x", &"v".repeat(2000));
    assert_eq!(
        step(&plan, &long),
        RequestStep::Bypass("caching/key-unclear")
    );
}

#[test]
fn credentials_bypass_the_cache_unless_told_otherwise() {
    let careful = rule(r#""bypass": {"header": "X-Preview", "cookie": ["session"]}"#);
    let get = || FakeRequest::get("/");
    for (request, reason) in [
        (
            get().with("authorization", "Bearer x"),
            "caching/authorization",
        ),
        (get().with("x-preview", ""), "caching/bypass-header"),
        (
            get().with("cookie", "a=b").with("cookie", "c=d;session=1"),
            "caching/bypass-cookie",
        ),
        (get().with("cookie", "session"), "caching/bypass-cookie"),
    ] {
        assert_eq!(
            step(&careful, &request),
            RequestStep::Bypass(reason),
            "{request:?}"
        );
    }
    for request in [
        get(),
        get().with("cookie", "xsession=1; a=session"),
        get().with("cookie", ""),
    ] {
        assert_eq!(
            step(&careful, &request),
            RequestStep::Cache { key: vec![] },
            "{request:?}"
        );
    }
    let open = rule(r#""bypass": {"authorization": false}"#);
    assert_eq!(
        step(&open, &get().with("authorization", "x")),
        RequestStep::Cache { key: vec![] }
    );
}

#[test]
fn only_listed_statuses_and_types_are_stored() {
    let plan = rule(
        r#""stale-while-revalidate": "1m", "stale-if-error": "1h", "status": [200, "301-308"], "content-type": ["text/*", "application/json"]"#,
    );
    let rule = &plan.rules()[0];
    let lifetimes = Lifetimes {
        ttl: Period::from_secs(600),
        stale_while_revalidate: Period::from_secs(60),
        stale_if_error: Period::from_secs(3600),
    };
    assert_eq!(rule.lifetimes, Some(lifetimes));
    assert_eq!(rule.status.ranges(), [(200, 200), (301, 308)]);
    for (content_type, expected) in [
        (Some("text/html; charset=utf-8"), true),
        (Some("Application/JSON"), true),
        (Some("image/png"), false),
        (None, false),
    ] {
        assert_eq!(rule.takes_type(content_type), expected, "{content_type:?}");
    }
}

#[test]
fn without_a_list_only_200_is_stored_of_any_type() {
    let plan = rule(r#""match": {}"#);
    let rule = &plan.rules()[0];
    assert_eq!(rule.status.ranges(), [(200, 200)]);
    assert!(rule.takes_type(None) && rule.takes_type(Some("image/png")));
}

#[test]
fn a_body_is_part_of_the_key_as_the_rule_says() {
    let body = |json: &str| rule(json).rules()[0].body.clone();
    assert!(matches!(body(r#""body": "none""#), BodyKey::None));
    assert!(matches!(body(r#""tags": "x""#), BodyKey::None));
    assert!(matches!(body(r#""body": "whole""#), BodyKey::Whole));
    let text = |json: &str| match body(json) {
        BodyKey::Text(prompt) => prompt,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(r#""body": "json""#), Prompt::any_json());
    assert_eq!(text(r#""body": "prompt""#), Prompt::default());
    assert_ne!(
        text(r#""body": "prompt", "prompt": {"any-temperature": true}"#),
        Prompt::default()
    );
}

#[test]
fn bad_settings_are_refused_with_their_key() {
    for (json, key) in [
        ("{}", "`rules`: is missing"),
        (r#"{"rules": []}"#, "`rules`"),
        (r#"{"rules": [{}]}"#, "`rules[0].ttl`"),
        (r#"{"rules": [{"ttl": "0s"}]}"#, "`rules[0].ttl`"),
        (r#"{"rules": [{"ttl": "366d"}]}"#, "`rules[0].ttl`"),
        (
            r#"{"rules": [{"ttl": "1s", "no-store": true}]}"#,
            "`rules[0].ttl`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "stale-if-error": "400d"}]}"#,
            "`rules[0].stale-if-error`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "status": "abc"}]}"#,
            "`rules[0].status`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "content-type": "text/html; charset=utf-8"}]}"#,
            "`rules[0].content-type`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "key": {"header": "a b"}}]}"#,
            "`rules[0].key.header`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "key": {"query": ""}}]}"#,
            "`rules[0].key.query`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "key": {"header": ["a","b","c","d","e","f","g","h","i"]}}]}"#,
            "`rules[0].key`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "bypass": {"cookie": "a=b;"}}]}"#,
            "`rules[0].bypass.cookie`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "prompt": {}}]}"#,
            "`rules[0].prompt`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "body": "prompt", "prompt": {"ignore": [""]}}]}"#,
            "`rules[0].prompt.ignore`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "tags": ""}]}"#,
            "`rules[0].tags`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "status": []}]}"#,
            "`rules[0].status`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "swr": "1s"}]}"#,
            "`rules[0].swr`",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "match": {"path-prefix": "x"}}]}"#,
            "`rules[0].match.path-prefix`",
        ),
    ] {
        let message = match read(json) {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with(key), "{json}: {message}");
    }
}

fn values() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[ -~]{0,12}|[=:0-9]{0,6}", 0..3)
}

proptest! {
    #[test]
    fn what_differs_in_a_keyed_header_never_shares_a_key(a in values(), b in values(), c in values(), d in values()) {
        let plan = rule(r#""key": {"header": ["x", "y"]}"#);
        let request = |x: &[String], y: &[String]| {
            let request = x.iter().fold(FakeRequest::get("/"), |request, value| request.with("x", value));
            y.iter().fold(request, |request, value| request.with("y", value))
        };
        let same = key(&plan, &request(&a, &b)) == key(&plan, &request(&c, &d));
        prop_assert_eq!(same, a == c && b == d);
    }

    #[test]
    fn parts_fit_into_the_host(name in "[a-z]{1,256}", value in ".{0,2000}") {
        let plan = rule(&format!(r#""key": {{"header": "{name}", "query": "{name}", "cookie": "{name}"}}"#));
        let request = FakeRequest::get("/").with(&name, &value).with_query(&name, &value).with("cookie", &format!("{name}={value}"));
        if let RequestStep::Cache { key } = step(&plan, &request) {
            prop_assert!(key.iter().all(|part| part.len() <= 1024));
        }
    }

    #[test]
    fn no_settings_upset_the_reader(text in ".*") {
        let _ = read(&text);
    }
}
