//! Routing: the upstream that is chosen, and the second attempt elsewhere.

use std::collections::HashMap;

use policy_host::{AttemptChoice, Grant, Outcome, Verdict};

use crate::support::{
    Bench, attempt, failed, get, now, passes, reasons, request, status, with_body,
};

const SETTINGS: &str = r#"{"rules": [
    {"match": {"path-prefix": "/api", "header": {"x-beta": "yes"}}, "to": "beta", "timeout": "2s"},
    {"match": {"path-prefix": "/api"}, "to": "api", "fallback": "spare"},
    {"match": {"host": "www.example.com", "path-prefix": "/split"},
     "to": [{"upstream": "new", "weight": 1}, {"upstream": "old", "weight": 3}], "sticky": "header:x-user"}],
    "default": {"to": "web"}}"#;

fn chosen(exchange: &policy_host::ExchangeContext) -> Option<&str> {
    exchange.route.as_ref().map(|route| route.upstream.as_str())
}

#[test]
fn the_first_rule_that_matches_chooses() {
    let chain = Bench::new().chain("routing", SETTINGS, &[Grant::Llm, Grant::Upstreams]);
    for (mut exchange, upstream, reason) in [
        (
            request("GET", "/api/x", &[("x-beta", "yes")]),
            "beta",
            "routing/rule",
        ),
        (get("/api/x?y"), "api", "routing/rule"),
        (get("/apix"), "web", "routing/default"),
    ] {
        passes(&chain, &mut exchange);
        assert_eq!(chosen(&exchange), Some(upstream));
        assert_eq!(reasons(&exchange), [reason]);
    }
    let mut beta = request("GET", "/api", &[("x-beta", "yes")]);
    passes(&chain, &mut beta);
    assert_eq!(
        beta.route.as_ref().and_then(|route| route.timeout_ms),
        Some(2_000)
    );
}

#[test]
fn a_split_is_shared_out_and_sticks() {
    let chain = Bench::new().chain("routing", SETTINGS, &[Grant::Llm, Grant::Upstreams]);
    let mut seen: HashMap<String, u32> = HashMap::new();
    for user in 0..400 {
        let user = user.to_string();
        let route = || {
            let mut exchange = request("GET", "/split", &[("x-user", &user)]);
            passes(&chain, &mut exchange);
            chosen(&exchange).map(str::to_owned).unwrap_or_default()
        };
        let first = route();
        assert_eq!(route(), first, "user {user}");
        *seen.entry(first).or_default() += 1;
    }
    // 100 expected, nearly nine standard deviations either way; the hash is fixed, so this is the same every time
    assert!((50..150).contains(&seen["new"]), "{seen:?}");

    // without the header, luck decides: all of 400 on one side has a chance of 1 in 10^49
    let mut lucky: HashMap<String, u32> = HashMap::new();
    for _ in 0..400 {
        let mut exchange = get("/split");
        passes(&chain, &mut exchange);
        *lucky
            .entry(chosen(&exchange).map(str::to_owned).unwrap_or_default())
            .or_default() += 1;
    }
    assert_eq!(lucky.len(), 2, "{lucky:?}");
}

#[test]
fn what_never_connected_is_tried_once_at_the_fallback() {
    let chain = Bench::new().chain("routing", SETTINGS, &[Grant::Llm, Grant::Upstreams]);
    let mut exchange = get("/api/x");
    passes(&chain, &mut exchange);
    let first = attempt(1, "api");
    assert!(matches!(
        now(chain.before_attempt(&mut exchange, &first)),
        AttemptChoice::Default
    ));
    let verdict = now(chain.after_attempt(&mut exchange, &first, &failed("connection_refused")));
    assert!(matches!(verdict, Verdict::Retry), "{verdict:?}");

    match now(chain.before_attempt(&mut exchange, &attempt(2, "api"))) {
        AttemptChoice::Route(route) => assert_eq!(route.upstream, "spare"),
        other => panic!("{other:?}"),
    }
    let verdict = now(chain.after_attempt(
        &mut exchange,
        &attempt(2, "spare"),
        &failed("connection_refused"),
    ));
    assert!(
        matches!(verdict, Verdict::Accept),
        "one retry is enough: {verdict:?}"
    );
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let chain = Bench::new().chain("routing", SETTINGS, &[Grant::Llm, Grant::Upstreams]);
    for (mut exchange, outcome) in [
        (request("POST", "/api", &[]), failed("connection_refused")),
        (get("/api"), failed("http_response_incomplete")),
        (get("/api"), status(503)),
        (get("/other"), failed("connection_refused")),
    ] {
        passes(&chain, &mut exchange);
        let attempt = attempt(1, "api");
        assert!(matches!(
            now(chain.before_attempt(&mut exchange, &attempt)),
            AttemptChoice::Default
        ));
        let verdict = now(chain.after_attempt(&mut exchange, &attempt, &outcome));
        assert!(
            matches!(verdict, Verdict::Accept),
            "{outcome:?}: {verdict:?}"
        );
    }
}

const GRANTS: [Grant; 2] = [Grant::Llm, Grant::Upstreams];

#[test]
fn a_body_that_names_a_model_goes_where_that_model_is() {
    let settings = r#"{"rules": [
        {"match": {"path": "/v1/chat"}, "model": "gpt-*", "to": [{"upstream": "local", "model": "llama3"}]},
        {"match": {"path": "/v1/chat"}, "to": "cloud"}]}"#;
    let chain = Bench::new().chain("routing", settings, &GRANTS);
    for (body, upstream, sent) in [
        (
            r#"{"model":"gpt-4o","n":1}"#,
            "local",
            r#"{"model":"llama3","n":1}"#,
        ),
        (r#"{"model":"claude"}"#, "cloud", r#"{"model":"claude"}"#),
        ("no JSON", "cloud", "no JSON"),
    ] {
        let mut exchange = request("POST", "/v1/chat", &[]);
        passes(&chain, &mut exchange);
        assert_eq!(
            chosen(&exchange),
            Some("cloud"),
            "as long as nothing is known of the body"
        );
        let (outcome, body) = with_body(&chain, &mut exchange, body);
        assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
        assert_eq!(chosen(&exchange), Some(upstream));
        assert_eq!(body, sent);
    }
    let mut other = get("/");
    passes(&chain, &mut other);
    assert_eq!(
        chain.request_need(&other).whole,
        None,
        "no rule looks at it"
    );
}

#[test]
fn local_first_then_the_cloud_then_the_queue() {
    let goes = |to: &str| {
        let settings =
            format!(r#"{{"default": {{"choose": "order", "when-full": "defer", "to": {to}}}}}"#);
        let chain = Bench::new().chain("routing", &settings, &GRANTS);
        let mut exchange = get("/");
        match now(chain.on_request(&mut exchange)) {
            Outcome::Continue => chosen(&exchange).map(str::to_owned),
            Outcome::Defer => Some("the queue".to_owned()),
            other => panic!("{other:?}"),
        }
    };
    let local_and_cloud = |full_at: u32| {
        goes(&format!(
            r#"[{{"upstream": "local", "full-at": {full_at}}}, "cloud"]"#
        ))
    };
    assert_eq!(local_and_cloud(5).as_deref(), Some("local"));
    assert_eq!(local_and_cloud(4).as_deref(), Some("cloud"));
    assert_eq!(goes(r#"["gone", "cloud"]"#).as_deref(), Some("cloud"));
    assert_eq!(goes(r#"["gone", "unknown"]"#).as_deref(), Some("the queue"));
}

#[test]
fn the_quickest_upstream_is_taken() {
    let settings = r#"{"default": {"choose": "latency", "to": ["cloud", "gone", "local"]}}"#;
    let chain = Bench::new().chain("routing", settings, &GRANTS);
    for _ in 0..20 {
        let mut exchange = get("/");
        passes(&chain, &mut exchange);
        assert_eq!(chosen(&exchange), Some("local"));
    }
}
