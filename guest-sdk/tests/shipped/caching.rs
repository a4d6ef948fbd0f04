//! Caching: the directives that reach the host's store.

use http::StatusCode;
use policy_host::{BodyKey, Grant, Outcome, StoreDirective};

use crate::support::{Bench, get, passes, reasons, request, responds, with_body};

const SETTINGS: &str = r#"{"rules": [
    {"match": {"path-prefix": "/private"}, "no-store": true},
    {"match": {"path-prefix": "/assets"}, "ttl": "10m", "stale-while-revalidate": "1m", "stale-if-error": "1h",
     "key": {"header": "Accept-Language", "query": "v"}, "bypass": {"cookie": "session"},
     "status": [200, 404], "content-type": ["text/*"]}]}"#;

#[test]
fn a_listed_response_is_stored_under_a_key_with_what_the_rule_names() {
    let chain = Bench::new().chain("caching", SETTINGS, &[Grant::Cache]);
    let mut exchange = request("GET", "/assets/a.css?v=2", &[("accept-language", "de")]);
    passes(&chain, &mut exchange);
    assert_eq!(
        exchange.cache.key_parts,
        ["header:accept-language=2:de", "query:v=1:2"]
    );
    assert!(!exchange.cache.bypass);
    responds(&chain, &mut exchange, 200, &[("content-type", "text/css")]);
    let wanted = StoreDirective {
        ttl_ms: 600_000,
        stale_while_revalidate_ms: 60_000,
        stale_if_error_ms: 3_600_000,
    };
    assert_eq!(exchange.cache.store, Some(wanted));
    assert!(!exchange.cache.refuses(StatusCode::OK));
}

#[test]
fn what_is_not_listed_is_not_stored() {
    let chain = Bench::new().chain("caching", SETTINGS, &[Grant::Cache]);
    for (status, content_type) in [(500, "text/css"), (200, "image/png")] {
        let mut exchange = get("/assets/a");
        passes(&chain, &mut exchange);
        responds(
            &chain,
            &mut exchange,
            status,
            &[("content-type", content_type)],
        );
        let status = StatusCode::from_u16(status).expect("a status");
        assert!(exchange.cache.refuses(status), "{status} {content_type}");
    }
}

#[test]
fn private_requests_leave_the_cache_out() {
    let chain = Bench::new().chain("caching", SETTINGS, &[Grant::Cache]);
    for (mut exchange, reason) in [
        (get("/private/x"), "caching/no-store"),
        (
            request("GET", "/assets/a", &[("authorization", "Basic x")]),
            "caching/authorization",
        ),
        (
            request("GET", "/assets/a", &[("cookie", "a=1; session=2")]),
            "caching/bypass-cookie",
        ),
    ] {
        passes(&chain, &mut exchange);
        assert!(exchange.cache.bypass, "{reason}");
        assert_eq!(reasons(&exchange), [reason]);
        responds(&chain, &mut exchange, 200, &[("content-type", "text/css")]);
        assert_eq!(exchange.cache.store, None, "{reason}");
    }
}

#[test]
fn without_a_rule_the_origin_decides() {
    let chain = Bench::new().chain("caching", SETTINGS, &[Grant::Cache]);
    let mut exchange = get("/other");
    passes(&chain, &mut exchange);
    responds(&chain, &mut exchange, 200, &[("content-type", "text/css")]);
    assert_eq!(exchange.cache, policy_host::CacheDirectives::default());
}

#[test]
fn prompts_that_ask_the_same_share_a_key() {
    let settings = r#"{"rules": [{"match": {"method": "POST"}, "ttl": "1h", "body": "prompt", "tags": "llm"}]}"#;
    let chain = Bench::new().chain("caching", settings, &[Grant::Cache]);
    let asked = |body: &str| {
        let mut exchange = request("POST", "/v1/chat/completions", &[]);
        passes(&chain, &mut exchange);
        let (outcome, sent) = with_body(&chain, &mut exchange, body);
        assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
        assert_eq!(sent, body, "the upstream gets what the client sent");
        assert_eq!(exchange.cache.tags, ["llm"]);
        let reasons = reasons(&exchange).join(",");
        (exchange.cache.body_key, exchange.cache.bypass, reasons)
    };
    let (key, bypass, _) = asked(r#"{"model":"m","temperature":0,"prompt":"Hi"}"#);
    assert!(matches!(key, Some(BodyKey::Text(_))) && !bypass);
    let same = asked(r#"{ "prompt": "Hi", "user": "ann", "temperature": 0.0, "model": "m" }"#);
    assert_eq!(same.0, key);
    let other = asked(r#"{"model":"m","temperature":0,"prompt":"Ho"}"#);
    assert_ne!(other.0, key);
    let drawn = asked(r#"{"model":"m","prompt":"Hi"}"#);
    assert_eq!(drawn, (None, true, "caching/temperature".to_owned()));
    assert_eq!(asked("Hi").2, "caching/not-json");
}

#[test]
fn a_ciphertext_is_its_own_key() {
    let settings = r#"{"rules": [{"match": {"method": "POST"}, "ttl": "1h", "body": "whole"}]}"#;
    let chain = Bench::new().chain("caching", settings, &[Grant::Cache]);
    let mut exchange = request("POST", "/fhe", &[]);
    passes(&chain, &mut exchange);
    assert_eq!(exchange.cache.body_key, Some(BodyKey::Body));
}
