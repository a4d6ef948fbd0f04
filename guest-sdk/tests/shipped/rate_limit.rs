//! Rate limiting: a burst passes, what is over it gets 429, and time lets it pass again.

use policy_host::{Grant, Outcome};

use crate::support::{Bench, answered, completes, field, get, passes, reasons, request, with_body};

#[test]
fn what_is_over_a_burst_is_refused_until_time_has_passed() {
    let bench = Bench::new();
    let chain = bench.chain(
        "rate-limit",
        r#"{"limits": [{"name": "per-client", "limit": 60, "per": "1m", "burst": 3, "key": "client-ip"}]}"#,
        &[Grant::Limits, Grant::Llm],
    );
    for _ in 0..3 {
        passes(&chain, &mut get("/"));
    }
    let mut over = get("/");
    let response = answered(&chain, &mut over);
    assert_eq!(response.status, 429);
    assert_eq!(
        field(&response.headers, "content-type"),
        Some("application/problem+json")
    );
    assert_eq!(field(&response.headers, "retry-after"), Some("1"));
    assert_eq!(
        field(&response.headers, "ratelimit-policy"),
        Some(r#""per-client";q=60;w=60"#)
    );
    assert_eq!(
        field(&response.headers, "ratelimit"),
        Some(r#""per-client";r=0;t=3"#)
    );
    assert_eq!(reasons(&over), ["rate-limit/refused"]);

    bench.clock.advance_ms(1_000);
    passes(&chain, &mut get("/"));
    answered(&chain, &mut get("/"));
}

#[test]
fn callers_do_not_use_up_each_others_limits() {
    let bench = Bench::new();
    let chain = bench.chain(
        "rate-limit",
        r#"{"limits": [{"name": "per-key", "limit": 1, "per": "1h", "key": "header:X-Api-Key"}]}"#,
        &[Grant::Limits, Grant::Llm],
    );
    let with_key = |key: &str| request("GET", "/", &[("x-api-key", key)]);
    passes(&chain, &mut with_key("a"));
    passes(&chain, &mut with_key("b"));
    passes(&chain, &mut get("/"));
    for mut over in [with_key("a"), with_key("b"), get("/")] {
        answered(&chain, &mut over);
    }
}

#[test]
fn of_several_limits_all_are_taken_or_none() {
    let bench = Bench::new();
    let chain = bench.chain(
        "rate-limit",
        r#"{"limits": [
            {"name": "all", "limit": 3, "per": "1h", "key": "all"},
            {"name": "writes", "limit": 1, "per": "1h", "key": "all", "match": {"method": "POST"}}]}"#,
        &[Grant::Limits, Grant::Llm],
    );
    passes(&chain, &mut request("POST", "/", &[]));
    for _ in 0..5 {
        let response = answered(&chain, &mut request("POST", "/", &[]));
        assert_eq!(
            field(&response.headers, "ratelimit-policy"),
            Some(r#""all";q=3;w=3600, "writes";q=1;w=3600"#)
        );
        let body = String::from_utf8_lossy(&response.body);
        assert!(body.contains(r#""violated-policies":["writes"]"#), "{body}");
    }
    // the refused ones took nothing from the first limit
    passes(&chain, &mut get("/"));
    passes(&chain, &mut get("/"));
    answered(&chain, &mut get("/"));
}

#[test]
fn an_allowed_response_says_how_much_is_left_if_asked_for() {
    let bench = Bench::new();
    let chain = bench.chain(
        "rate-limit",
        r#"{"headers": "always", "limits": [{"name": "a", "limit": 5, "per": "10s", "key": "client-ip"}]}"#,
        &[Grant::Limits, Grant::Llm],
    );
    let mut exchange = get("/");
    passes(&chain, &mut exchange);
    let headers = &exchange.response_headers;
    assert_eq!(headers.get("ratelimit-policy"), Some(r#""a";q=5;w=10"#));
    assert_eq!(headers.get("ratelimit"), Some(r#""a";r=4;t=2"#));
}

const TOKENS: &str = r#"{"headers": "always", "limits": [
    {"name": "tokens", "limit": 100, "per": "1h", "key": "client-ip", "unit": "tokens", "reserve": 10,
     "match": {"method": "POST"}}]}"#;
const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;

#[test]
fn tokens_are_charged_by_an_estimate_and_settled_at_the_end() {
    let bench = Bench::new();
    let grants = [Grant::Limits, Grant::Llm];
    let chain = bench.chain("rate-limit", TOKENS, &grants);
    let chat = || {
        let mut exchange = request("POST", "/v1/chat/completions", &[]);
        passes(&chain, &mut exchange);
        let (outcome, _) = with_body(&chain, &mut exchange, CHAT);
        (exchange, outcome)
    };
    let left = |exchange: &policy_host::ExchangeContext| {
        let limit = exchange
            .response_headers
            .get("ratelimit")
            .unwrap_or_default();
        let left = limit
            .strip_prefix("\"tokens\";r=")
            .and_then(|rest| rest.split(';').next());
        left.and_then(|left| left.parse::<u64>().ok())
            .expect("the field")
    };
    let (mut first, outcome) = chat();
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    let estimate = 100 - left(&first);
    assert!(
        (11..40).contains(&estimate),
        "a few words and the reserve: {estimate}"
    );
    completes(&chain, &mut first, 5, 45);
    let (second, _) = chat();
    assert_eq!(
        left(&second),
        100 - 50 - estimate,
        "what it cost, and the next estimate"
    );
    drop(second);

    // a third and a fourth use up the rest; what is over it is refused, in words of tokens
    let mut refused = None;
    for _ in 0..8 {
        if let (exchange, Outcome::Respond(response)) = chat() {
            refused = Some((exchange, response));
            break;
        }
    }
    let (exchange, response) = refused.expect("the limit is used up");
    assert_eq!(response.status, 429);
    assert_eq!(reasons(&exchange), ["rate-limit/refused"]);
    assert_eq!(
        field(&response.headers, "ratelimit-policy"),
        Some(r#""tokens";q=100;qu="tokens";w=3600"#)
    );
    // other requests are not its business
    passes(&chain, &mut get("/"));
}

#[test]
fn what_an_upstream_was_never_asked_costs_no_tokens() {
    let bench = Bench::new();
    let chain = bench.chain("rate-limit", TOKENS, &[Grant::Limits, Grant::Llm]);
    let mut exchange = request("POST", "/v1/chat/completions", &[]);
    passes(&chain, &mut exchange);
    let (outcome, _) = with_body(&chain, &mut exchange, "no JSON");
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    assert_eq!(exchange.response_headers.get("ratelimit"), None);
}

#[test]
fn a_caller_has_so_many_on_their_way_and_no_more() {
    let bench = Bench::new();
    let chain = bench.chain(
        "rate-limit",
        r#"{"in-flight": [{"name": "busy", "limit": 2, "key": "client-ip"}]}"#,
        &[Grant::Limits, Grant::Llm],
    );
    let (mut one, mut two) = (get("/"), get("/"));
    passes(&chain, &mut one);
    passes(&chain, &mut two);
    let mut three = get("/");
    let response = answered(&chain, &mut three);
    assert_eq!(response.status, 429);
    assert_eq!(field(&response.headers, "retry-after"), Some("1"));
    assert_eq!(reasons(&three), ["rate-limit/in-flight"]);
    drop(one);
    passes(&chain, &mut get("/"));
}
