//! Keys that cannot be forged, fields in the form that the draft gives them, settings refused with their key.

use guest_sdk::limits::Verdict;
use guest_sdk::llm::Usage;
use guest_sdk::testing::FakeRequest;
use guest_sdk::{ConfigError, settings};
use proptest::prelude::*;

use super::tokens::{self, Note};
use super::{Charge, Plan, Unit};

fn read(json: &str) -> Result<Plan, ConfigError> {
    settings::read(json, Plan::read)
}

fn plan(json: &str) -> Plan {
    read(json).expect("good settings")
}

fn with_key(key: &str) -> Plan {
    plan(&format!(
        r#"{{"limits": [{{"name": "a", "limit": 5, "per": "1m", {key}}}]}}"#
    ))
}

fn key_of(plan: &Plan, request: &FakeRequest) -> Option<String> {
    plan.charges(request, Unit::Requests)
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
fn a_certificate_is_a_subject_that_a_certificate_proved() {
    let plan = with_key(r#""key": "certificate", "on-missing": "skip""#);
    let mut request = FakeRequest::get("/").certificate("CN=a");
    assert_eq!(key_of(&plan, &request).as_deref(), Some("cCN=a"));
    request.info.identity.method = "token".to_owned();
    assert_eq!(key_of(&plan, &request), None);
}

#[test]
fn a_token_is_counted_by_its_hash() {
    let plan = with_key(r#""key": "token", "on-missing": "skip""#);
    let key = |credentials: &str| {
        key_of(
            &plan,
            &FakeRequest::get("/").with("authorization", credentials),
        )
    };
    let hashed = key("Bearer secret").expect("a token");
    assert!(
        hashed.starts_with("b#") && !hashed.contains("secret"),
        "{hashed}"
    );
    assert_eq!(key("bearer  secret "), Some(hashed.clone()));
    assert_ne!(key("Bearer secret2"), Some(hashed));
    assert_eq!(key("Basic secret"), None);
    assert_eq!(key("Bearer "), None);
}

#[test]
fn addresses_are_counted_by_their_networks() {
    let by_net = with_key(r#""key": "client-ip", "ipv4-prefix": 24, "ipv6-prefix": 48"#);
    let key = |ip: &str| key_of(&by_net, &FakeRequest::get("/").client_ip(ip));
    assert_eq!(key("192.0.2.7").as_deref(), Some("@192.0.2.0"));
    assert_eq!(key("::ffff:192.0.2.9"), key("192.0.2.7"));
    assert_ne!(key("192.0.3.7"), key("192.0.2.7"));
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_ne!(key("2001:db8:1::1"), key("2001:db8:2::1"));
}

#[test]
fn tokens_are_charged_by_an_estimate_and_put_right_at_the_end() {
    let plan = plan(
        r#"{"limits": [
            {"name": "calls", "limit": 10, "per": "1s", "key": "all"},
            {"name": "tokens", "limit": 1000, "per": "1m", "key": "header:x-user", "unit": "tokens", "reserve": 200,
             "match": {"method": "POST"}}]}"#,
    );
    let post = FakeRequest::get("/")
        .method("POST")
        .with("x-user", "a\nb c");
    assert!(plan.counts_tokens(&post));
    assert!(!plan.counts_tokens(&FakeRequest::get("/")));
    let charges = plan.charges(&post, Unit::Tokens);
    assert_eq!(charges.len(), 1);
    assert_eq!(plan.estimate(1, 50), 250);
    assert_eq!(plan.estimate(1, 50_000), 1000, "else it could never pass");
    assert_eq!(
        plan.policy_field(&charges),
        r#""tokens";q=1000;qu="tokens";w=60"#
    );
    let note = tokens::write(&[Charge {
        cost: 250,
        ..charges[0].clone()
    }]);
    let notes: Vec<Note<'_>> = tokens::read(&note).collect();
    let key = "ha%0Ab c";
    assert_eq!(
        notes,
        [Note {
            limit: 1,
            charged: 250,
            key
        }]
    );

    let used = Usage {
        prompt: 60,
        completion: 300,
        estimated: false,
    };
    assert_eq!(tokens::correction(250, Some(&used), true), 110);
    assert_eq!(tokens::correction(250, None, true), 0);
    assert_eq!(
        tokens::correction(250, Some(&used), false),
        -250,
        "nothing was asked of an upstream"
    );
}

#[test]
fn who_is_on_the_way_is_counted_by_key() {
    let plan = plan(
        r#"{"in-flight": [{"name": "busy", "limit": 2, "key": "client-ip", "match": {"path": "/slow"}}]}"#,
    );
    let gate = &plan.gates()[0];
    assert_eq!((gate.name.as_str(), gate.limit), ("busy", 2));
    assert_eq!(
        gate.key(&FakeRequest::get("/slow")).as_deref(),
        Some("@192.0.2.1")
    );
    assert_eq!(gate.key(&FakeRequest::get("/")), None);
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
        plan.charges(&request, Unit::Requests)
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
    let charges = plan.charges(&FakeRequest::get("/"), Unit::Requests);
    let response = plan.refusal(&charges, &[verdict(true, 7), verdict(false, 0)]);
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
    let charges = plan.charges(&FakeRequest::get("/"), Unit::Requests);
    let verdicts = [verdict(true, 4)];
    assert_eq!(plan.policy_field(&charges), r#""a";q=5;w=60"#);
    assert_eq!(plan.standing_field(&charges, &verdicts), r#""a";r=4;t=30"#);
    assert!(plan.tells_always());
}

#[test]
fn bad_settings_are_refused_with_their_key() {
    let limit = |rest: &str| format!(r#"{{"limits": [{{"name": "a", "key": "all", {rest}}}]}}"#);
    for (json, key) in [
        (r#"{}"#.to_owned(), "`limits`"),
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
        (
            limit(r#""limit": 1, "per": "1s", "unit": "tokens", "cost": 1"#),
            "`limits[0].cost`",
        ),
        (
            limit(r#""limit": 1, "per": "1s", "reserve": 1"#),
            "`limits[0].reserve`",
        ),
        (
            limit(r#""limit": 1, "per": "1s", "ipv4-prefix": 33"#),
            "`limits[0].ipv4-prefix`",
        ),
        (
            r#"{"in-flight": [{"name": "a", "limit": 0, "key": "all"}]}"#.to_owned(),
            "`in-flight[0].limit`",
        ),
    ] {
        let message = match read(&json) {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with(key), "{json}: {message}");
    }
}

#[test]
fn two_limits_may_not_share_a_name() {
    let one = r#"{"name": "a", "limit": 1, "per": "1s", "key": "all"}"#;
    let both = read(&format!(r#"{{"limits": [{one}, {one}]}}"#));
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
        let response = plan.refusal(&charges, &[verdict]);
        let seconds: u64 = response.header("retry-after").unwrap_or_default().parse().expect("a number");
        prop_assert!(seconds >= 1);
    }
}

proptest! {
    #[test]
    fn a_note_reads_as_it_was_written(values in prop::collection::vec((0..16_usize, any::<u64>(), ".{0,80}"), 0..5)) {
        let by_header = with_key(r#""key": "header:x", "on-missing": "share""#);
        let charge = |(limit, cost, value): &(usize, u64, String)| Charge {
            limit: *limit,
            cost: *cost,
            key: key_of(&by_header, &FakeRequest::get("/").with("x", value)).expect("shared at least"),
        };
        let charges: Vec<Charge> = values.iter().map(charge).collect();
        let note = tokens::write(&charges);
        let read: Vec<Charge> = tokens::read(&note)
            .map(|note| Charge { limit: note.limit, cost: note.charged, key: note.key.to_owned() })
            .collect();
        prop_assert_eq!(read, charges);
    }

    #[test]
    fn no_note_upsets_the_reader(note in ".{0,200}", charged: u64, prompt: u64, completion: u64) {
        let _ = tokens::read(&note).count();
        let used = Usage { prompt, completion, estimated: true };
        let _ = tokens::correction(charged, Some(&used), true);
    }

    #[test]
    fn no_settings_upset_the_reader(text in ".*") {
        let _ = read(&text);
    }
}
