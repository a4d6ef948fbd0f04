//! Circuit breaking: opens when an upstream fails, lets probes through after a while, closes when they succeed.

use policy_host::{AttemptChoice, AttemptOutcome, Chain, Grant, Verdict};

use crate::support::{Bench, attempt, failed, field, get, now, passes, status};

const SETTINGS: &str = r#"{"breakers": [{"upstream": "app", "window": "10s", "min-calls": 4, "failure-rate": 0.5,
    "open-for": "5s", "probes": 1, "failure-status": ["5xx", 429]}]}"#;

/// One exchange with one attempt; false if the breaker refused it.
fn call(chain: &Chain, upstream: &str, outcome: &AttemptOutcome) -> bool {
    let mut exchange = get("/");
    passes(chain, &mut exchange);
    let attempt = attempt(1, upstream);
    match now(chain.before_attempt(&mut exchange, &attempt)) {
        AttemptChoice::Default => {
            let verdict = now(chain.after_attempt(&mut exchange, &attempt, outcome));
            assert!(matches!(verdict, Verdict::Accept), "{verdict:?}");
            true
        }
        AttemptChoice::Respond(response) => {
            assert_eq!(response.status, 503);
            let seconds: u64 = field(&response.headers, "retry-after")
                .and_then(|text| text.parse().ok())
                .expect("seconds");
            assert!((1..=5).contains(&seconds), "{seconds}");
            let body = String::from_utf8_lossy(&response.body);
            assert!(body.contains("circuit-breaker/open"), "{body}");
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failing_upstream_is_left_alone_and_tried_again() {
    let bench = Bench::new();
    let chain = bench.chain("circuit-breaker", SETTINGS, &[Grant::Breakers]);
    for outcome in [
        status(200),
        failed("connection_refused"),
        status(200),
        status(503),
    ] {
        assert!(
            call(&chain, "app", &outcome),
            "closed until half of four failed"
        );
    }
    assert!(!call(&chain, "app", &status(200)), "open");
    assert!(
        call(&chain, "other", &status(200)),
        "another upstream has no rule"
    );

    bench.clock.advance_ms(5_000);
    assert!(
        call(&chain, "app", &failed("connection_timeout")),
        "a probe"
    );
    assert!(
        !call(&chain, "app", &status(200)),
        "open again: the probe failed"
    );

    bench.clock.advance_ms(5_000);
    assert!(
        call(&chain, "app", &status(200)),
        "a probe that succeeds closes it"
    );
    for _ in 0..8 {
        assert!(call(&chain, "app", &status(200)));
    }
}

#[test]
fn what_counts_as_a_failure_is_the_policys_to_say() {
    let bench = Bench::new();
    let chain = bench.chain("circuit-breaker", SETTINGS, &[Grant::Breakers]);
    for _ in 0..4 {
        assert!(call(&chain, "app", &status(429)));
    }
    assert!(!call(&chain, "app", &status(200)));

    let bench = Bench::new();
    let lenient = SETTINGS.replace(r#"["5xx", 429]"#, r#""500""#);
    let chain = bench.chain("circuit-breaker", &lenient, &[Grant::Breakers]);
    for _ in 0..20 {
        assert!(call(&chain, "app", &status(503)), "only 500 counts");
    }

    let bench = Bench::new();
    let busy = SETTINGS.replace(
        "\"failure-status\"",
        "\"ignore-errors\": [\"connection_limit_reached\"], \"failure-status\"",
    );
    let chain = bench.chain("circuit-breaker", &busy, &[Grant::Breakers]);
    for _ in 0..20 {
        let full = failed("connection_limit_reached");
        assert!(call(&chain, "app", &full), "an error that does not count");
    }
    for _ in 0..19 {
        assert!(call(&chain, "app", &failed("connection_timeout")));
    }
    let last = failed("connection_timeout");
    assert!(call(&chain, "app", &last), "19 of 39 are not half of them");
    assert!(!call(&chain, "app", &status(200)), "every other error does");
}

#[test]
fn slow_answers_open_it_too() {
    let bench = Bench::new();
    let settings = r#"{"breakers": [{"min-calls": 4, "slow-call": "1s", "slow-rate": 0.75}]}"#;
    let chain = bench.chain("circuit-breaker", settings, &[Grant::Breakers]);
    let slow = AttemptOutcome {
        latency_us: 1_500_000,
        ..status(200)
    };
    assert!(call(&chain, "app", &status(200)));
    for _ in 0..3 {
        assert!(call(&chain, "app", &slow));
    }
    assert!(!call(&chain, "app", &status(200)));
}

#[test]
fn while_it_is_open_a_fallback_or_a_stored_response_may_stand_in() {
    let open = |settings: &str| {
        let bench = Bench::new();
        let chain = bench.chain("circuit-breaker", settings, &[Grant::Breakers]);
        assert!(call(&chain, "app", &status(500)));
        let mut exchange = get("/");
        passes(&chain, &mut exchange);
        now(chain.before_attempt(&mut exchange, &attempt(1, "app")))
    };
    let stale = open(r#"{"breakers": [{"min-calls": 1, "when-open": "stale"}]}"#);
    assert!(matches!(stale, AttemptChoice::GiveUp), "{stale:?}");
    let fallback = open(
        r#"{"breakers": [{"min-calls": 1, "fallback": {"status": 200, "body": "[]", "header": {"content-type": "application/json"}}}]}"#,
    );
    let AttemptChoice::Respond(response) = fallback else {
        panic!("{fallback:?}");
    };
    assert_eq!(
        (response.status.as_u16(), &response.body[..]),
        (200, &b"[]"[..])
    );
    assert_eq!(
        field(&response.headers, "content-type"),
        Some("application/json")
    );
}
