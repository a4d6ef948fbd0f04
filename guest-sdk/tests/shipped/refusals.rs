//! What a policy is not granted, and settings that are wrong, are refused when it is loaded, in words.

use policy_host::Grant;

use crate::support::Bench;

const POLICIES: [(&str, &str, &[Grant]); 4] = [
    (
        "routing",
        r#"{"default": {"to": "a"}}"#,
        &[Grant::Llm, Grant::Upstreams],
    ),
    ("caching", r#"{"rules": [{"ttl": "1m"}]}"#, &[Grant::Cache]),
    (
        "rate-limit",
        r#"{"limits": [{"name": "a", "limit": 1, "per": "1s", "key": "all"}]}"#,
        &[Grant::Limits, Grant::Llm],
    ),
    ("circuit-breaker", "{}", &[Grant::Breakers]),
];

#[test]
fn each_policy_loads_with_no_more_than_it_needs() {
    let bench = Bench::new();
    for (name, settings, grants) in POLICIES {
        let policy = bench.load(name, settings, grants);
        let hooks = [
            policy.has_request_hook(),
            policy.has_attempt_hook(),
            policy.has_outcome_hook(),
            policy.has_response_hook(),
        ];
        let expected = match name {
            "routing" => [true, true, true, false],
            "circuit-breaker" => [false, true, false, false],
            "rate-limit" => [true, false, false, false],
            _ => [true, false, false, true],
        };
        assert_eq!(
            hooks, expected,
            "{name}: request, attempt, outcome, response"
        );
    }
}

#[test]
fn without_its_grant_a_policy_does_not_load() {
    let bench = Bench::new();
    for (name, settings, grants) in POLICIES {
        for missing in grants {
            let others: Vec<Grant> = grants
                .iter()
                .copied()
                .filter(|grant| grant != missing)
                .collect();
            let error = match bench.try_load(name, settings, &others) {
                Ok(_) => panic!("{name} was loaded without {missing}"),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(missing.name()), "{name}: {error}");
        }
    }
}

#[test]
fn wrong_settings_are_refused_with_their_key() {
    let bench = Bench::new();
    for (name, settings, key) in [
        (
            "routing",
            r#"{"rules": [{"to": "a", "weigth": 3}]}"#,
            "`rules[0].weigth`",
        ),
        (
            "caching",
            r#"{"rules": [{"ttl": "soon"}]}"#,
            "`rules[0].ttl`",
        ),
        (
            "rate-limit",
            r#"{"limits": [{"name": "a", "limit": 0, "per": "1s", "key": "all"}]}"#,
            "`limits[0].limit`",
        ),
        (
            "circuit-breaker",
            r#"{"breakers": [{"failure-rate": 2}]}"#,
            "`breakers[0].failure-rate`",
        ),
    ] {
        let error = match bench.try_load(name, settings, &Grant::ALL) {
            Ok(_) => panic!("{name} took {settings}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(key), "{name}: {error}");
    }
}
