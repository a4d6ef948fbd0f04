//! Rate limiting: a burst passes, what is over it gets 429, and time lets it pass again.

use policy_host::Grant;

use crate::support::{Bench, answered, field, get, passes, reasons, request};

#[test]
fn what_is_over_a_burst_is_refused_until_time_has_passed() {
    let bench = Bench::new();
    let chain = bench.chain(
        "rate-limit",
        r#"{"limits": [{"name": "per-client", "limit": 60, "per": "1m", "burst": 3, "key": "client-ip"}]}"#,
        &[Grant::Limits],
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
        &[Grant::Limits],
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
        &[Grant::Limits],
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
        &[Grant::Limits],
    );
    let mut exchange = get("/");
    passes(&chain, &mut exchange);
    let headers = &exchange.response_headers;
    assert_eq!(field(headers, "ratelimit-policy"), Some(r#""a";q=5;w=10"#));
    assert_eq!(field(headers, "ratelimit"), Some(r#""a";r=4;t=2"#));
}
