//! All four on one route, as a gateway runs them.

use policy_host::{AttemptChoice, Chain, Grant, Verdict};

use crate::support::{
    Bench, answered, attempt, failed, get, now, passes, reasons, responds, status,
};

#[test]
fn the_four_work_together() {
    let bench = Bench::new();
    let chain = Chain::new(vec![
        bench.load(
            "rate-limit",
            r#"{"headers": "always", "limits": [{"name": "a", "limit": 2, "per": "1h", "key": "client-ip"}]}"#,
            &[Grant::Limits, Grant::Llm],
        ),
        bench.load("routing", r#"{"default": {"to": "app"}}"#, &[Grant::Llm, Grant::Upstreams]),
        bench.load("caching", r#"{"rules": [{"ttl": "1m"}]}"#, &[Grant::Cache]),
        bench.load("circuit-breaker", "{}", &[Grant::Breakers]),
    ]);
    for left in ["1", "0"] {
        let mut exchange = get("/x");
        passes(&chain, &mut exchange);
        assert_eq!(
            exchange.route.as_ref().map(|route| route.upstream.as_str()),
            Some("app")
        );
        let attempt = attempt(1, "app");
        assert!(matches!(
            now(chain.before_attempt(&mut exchange, &attempt)),
            AttemptChoice::Default
        ));
        assert!(matches!(
            now(chain.after_attempt(&mut exchange, &attempt, &status(200))),
            Verdict::Accept
        ));
        responds(&chain, &mut exchange, 200, &[]);
        assert_eq!(exchange.cache.store.map(|store| store.ttl_ms), Some(60_000));
        let limit = exchange
            .response_headers
            .get("ratelimit")
            .unwrap_or_default();
        assert!(limit.starts_with(&format!("\"a\";r={left};")), "{limit}");
    }
    let mut over = get("/x");
    assert_eq!(answered(&chain, &mut over).status, 429);
    assert_eq!(reasons(&over), ["rate-limit/refused"]);
}

/// The breaker is asked about the upstream that routing chose for this attempt, not about the one before it.
#[test]
fn a_fallback_is_tried_while_the_first_choice_has_an_open_breaker() {
    let bench = Bench::new();
    let routing = r#"{"default": {"to": "app", "fallback": "spare"}}"#;
    let breaker = r#"{"breakers": [{"min-calls": 1, "failure-rate": 0.5}]}"#;
    let chain = Chain::new(vec![
        bench.load("routing", routing, &[Grant::Llm, Grant::Upstreams]),
        bench.load("circuit-breaker", breaker, &[Grant::Breakers]),
    ]);
    let mut exchange = get("/x");
    passes(&chain, &mut exchange);
    let first = attempt(1, "app");
    assert!(matches!(
        now(chain.before_attempt(&mut exchange, &first)),
        AttemptChoice::Default
    ));
    let refused = failed("connection_refused");
    let verdict = now(chain.after_attempt(&mut exchange, &first, &refused));
    assert!(matches!(verdict, Verdict::Retry), "{verdict:?}");
    match now(chain.before_attempt(&mut exchange, &attempt(2, "app"))) {
        AttemptChoice::Route(route) => assert_eq!(route.upstream, "spare"),
        other => panic!("the breaker of app is open, spare's is not: {other:?}"),
    }
}
