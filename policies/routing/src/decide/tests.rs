//! The first rule that matches decides, shares are what the weights say, callers stay where they are, retries are safe.

use guest_sdk::attempt::Outcome;
use guest_sdk::testing::FakeRequest;
use guest_sdk::{ConfigError, settings};
use proptest::prelude::*;

use super::{Answer, Chosen, Known, Plan, Standing, may_help, sent_there};

fn read(json: &str) -> Result<Plan, ConfigError> {
    settings::read(json, Plan::read)
}

fn plan(json: &str) -> Plan {
    read(json).expect("good settings")
}

/// By the head alone, without statistics.
fn choose<'a>(
    plan: &'a Plan,
    request: &FakeRequest,
    random: impl FnOnce() -> u64,
) -> Option<Chosen<'a>> {
    match plan.choose(request, Known::Head, |_| None, random).0 {
        Answer::Route(chosen) => Some(chosen),
        Answer::None | Answer::Defer => None,
    }
}

fn upstream<'a>(plan: &'a Plan, request: &FakeRequest) -> Option<&'a str> {
    choose(plan, request, || 0).map(|chosen| chosen.upstream)
}

fn up(in_flight: u32, p50_us: u64) -> Option<Standing> {
    Some(Standing {
        healthy: 1,
        in_flight,
        p50_us,
    })
}

const DOWN: Option<Standing> = Some(Standing {
    healthy: 0,
    in_flight: 0,
    p50_us: 0,
});

fn canary(percent: u32, sticky: &str) -> Plan {
    let rest = 100 - percent;
    plan(&format!(
        r#"{{"default": {{"to": [{{"upstream": "new", "weight": {percent}}}, {{"upstream": "old", "weight": {rest}}}]{sticky}}}}}"#
    ))
}

#[test]
fn the_first_rule_that_matches_decides() {
    let plan = plan(
        r#"{"rules": [
            {"match": {"path-prefix": "/api", "header": {"x-beta": "yes"}}, "to": "beta", "timeout": "5s"},
            {"match": {"path-prefix": "/api"}, "to": "api", "fallback": "spare"},
            {"match": {"host": "*.shop.example", "method": "POST"}, "to": "orders"}],
           "default": {"to": "web"}}"#,
    );
    assert_eq!(
        upstream(&plan, &FakeRequest::get("/api/x").with("x-beta", "yes")),
        Some("beta")
    );
    assert_eq!(upstream(&plan, &FakeRequest::get("/api/x")), Some("api"));
    assert_eq!(
        upstream(
            &plan,
            &FakeRequest::get("/")
                .authority("a.shop.example")
                .method("POST")
        ),
        Some("orders")
    );
    let web = Chosen {
        upstream: "web",
        model: None,
        has_fallback: false,
        timeout: None,
        hash_key: None,
        reason: "routing/default",
        rule: 3,
    };
    assert_eq!(choose(&plan, &FakeRequest::get("/apix"), || 0), Some(web));
}

#[test]
fn without_a_default_the_gateways_own_route_holds() {
    let plan = plan(r#"{"rules": [{"match": {"path": "/x"}, "to": "x"}]}"#);
    assert_eq!(upstream(&plan, &FakeRequest::get("/y")), None);
}

#[test]
fn a_sticky_caller_needs_no_luck_and_a_caller_without_the_header_does() {
    let plan = canary(50, r#", "sticky": "header:x-user""#);
    let with = FakeRequest::get("/").with("x-user", "ann");
    let never = || -> u64 { panic!("asked for a random number") };
    let first =
        choose(&plan, &with, never).map(|chosen| (chosen.upstream.to_owned(), chosen.hash_key));
    let again =
        choose(&plan, &with, never).map(|chosen| (chosen.upstream.to_owned(), chosen.hash_key));
    assert_eq!(first, again);
    assert!(first.is_some_and(|(_, hash)| hash.is_some()));
    let mut asked = false;
    let without = choose(&plan, &FakeRequest::get("/"), || {
        asked = true;
        u64::MAX
    });
    assert_eq!(without.map(|chosen| chosen.upstream), Some("old"));
    assert!(asked);
}

#[test]
fn a_fallback_that_was_chosen_anyway_is_no_fallback() {
    let plan = plan(r#"{"default": {"to": "a", "fallback": "a"}}"#);
    let chosen = choose(&plan, &FakeRequest::get("/"), || 0);
    assert_eq!(chosen.map(|chosen| chosen.has_fallback), Some(false));
}

#[test]
fn a_cookie_sticks_like_a_header() {
    let plan = canary(50, r#", "sticky": "cookie:user""#);
    let never = || -> u64 { panic!("asked for a random number") };
    let hash = |field: &str| {
        let request = FakeRequest::get("/").with("cookie", field);
        choose(&plan, &request, never).and_then(|chosen| chosen.hash_key)
    };
    assert!(hash("user=ann").is_some());
    assert_eq!(hash("a=b; user=ann ;c=d"), hash("user=ann"));
    assert_ne!(hash("user=bob"), hash("user=ann"));
}

#[test]
fn a_rule_by_model_needs_the_body_and_goes_by_what_it_names() {
    let plan = plan(
        r#"{"rules": [
            {"match": {"path": "/v1/chat"}, "model": ["gpt-4o", "llama3*"], "to": "big"},
            {"match": {"path": "/v1/chat"}, "to": [{"upstream": "small", "model": "qwen3:4b"}]}],
           "default": {"to": "web"}}"#,
    );
    let chat = FakeRequest::get("/v1/chat").method("POST");
    let chosen = |known: Known<'_>| match plan.choose(&chat, known, |_| None, || 0) {
        (Answer::Route(chosen), needs_body) => (chosen.upstream, chosen.model, needs_body),
        other => panic!("{other:?}"),
    };
    assert_eq!(chosen(Known::Head), ("small", Some("qwen3:4b"), true));
    for model in ["gpt-4o", "llama3:70b"] {
        assert_eq!(chosen(Known::Model(Some(model))), ("big", None, false));
    }
    for model in [Some("gpt-4"), Some(""), None] {
        assert_eq!(
            chosen(Known::Model(model)),
            ("small", Some("qwen3:4b"), false)
        );
    }
    let (_, needs_body) = plan.choose(&FakeRequest::get("/"), Known::Head, |_| None, || 0);
    assert!(!needs_body, "no rule for this path looks at models");
}

#[test]
fn local_comes_first_then_the_cloud_then_the_queue() {
    let plan = plan(
        r#"{"default": {"choose": "order", "when-full": "defer",
            "to": [{"upstream": "local", "full-at": 4}, {"upstream": "cloud", "full-at": 100, "model": "gpt-4o-mini"}]}}"#,
    );
    let goes = |local: Option<Standing>, cloud: Option<Standing>| {
        let standing = |name: &str| if name == "local" { local } else { cloud };
        match plan
            .choose(&FakeRequest::get("/"), Known::Model(None), standing, || 0)
            .0
        {
            Answer::Route(chosen) => chosen.upstream,
            Answer::Defer => "queue",
            Answer::None => "nowhere",
        }
    };
    assert_eq!(goes(up(3, 0), up(0, 0)), "local");
    assert_eq!(goes(up(4, 0), up(0, 0)), "cloud", "local is full");
    assert_eq!(goes(DOWN, up(0, 0)), "cloud", "local is down");
    assert_eq!(goes(None, up(0, 0)), "cloud", "nothing is known of local");
    assert_eq!(goes(up(4, 0), up(100, 0)), "queue");
    assert_eq!(goes(up(4, 0), DOWN), "queue");
}

#[test]
fn the_quickest_is_taken_and_its_equals_share() {
    let plan = plan(r#"{"default": {"choose": "latency", "to": ["a", "b", "c"]}}"#);
    let goes = |standings: [Option<Standing>; 3], number: u64| {
        let standing = |name: &str| standings[usize::from(name.as_bytes()[0] - b'a')];
        match plan
            .choose(&FakeRequest::get("/"), Known::Head, standing, || number)
            .0
        {
            Answer::Route(chosen) => chosen.upstream,
            other => panic!("{other:?}"),
        }
    };
    let (low, high) = (0, u64::MAX);
    let b_is_best = [up(0, 2_000), up(0, 1_000), up(0, 5_000)];
    assert_eq!((goes(b_is_best, low), goes(b_is_best, high)), ("b", "b"));
    let equals = [up(0, 1_100), up(0, 1_000), up(0, 5_000)];
    assert_eq!((goes(equals, low), goes(equals, high)), ("a", "b"));
    let one_unknown = [up(0, 2_000), up(0, 1_000), up(0, 0)];
    assert_eq!(
        (goes(one_unknown, low), goes(one_unknown, high)),
        ("b", "c")
    );
    let b_is_down = [up(0, 2_000), DOWN, up(0, 5_000)];
    assert_eq!((goes(b_is_down, low), goes(b_is_down, high)), ("a", "a"));
    assert_eq!(
        goes([DOWN; 3], low),
        "a",
        "all down: somebody has to say so"
    );
}

#[test]
fn only_what_failed_and_may_be_repeated_goes_elsewhere_once() {
    let plan = plan(
        r#"{"rules": [{"match": {"path": "/x"}, "to": "a", "fallback": "b", "fallback-on": ["502-504", 429]}],
            "default": {"to": "a", "fallback": "c"}}"#,
    );
    let failed = |error: &str| Outcome {
        status: None,
        error: Some(error.to_owned()),
        latency_us: 1,
    };
    let answered = |status| Outcome {
        status: Some(status),
        error: None,
        latency_us: 1,
    };
    let note = |path: &str| {
        let request = FakeRequest::get(path);
        choose(&plan, &request, || 0)
            .filter(|chosen| chosen.has_fallback)
            .map(|chosen| chosen.note())
    };
    let (rule, default) = (
        note("/x").expect("a fallback"),
        note("/").expect("a fallback"),
    );
    for (note, outcome, method, expected) in [
        (&rule, failed("connection_refused"), "GET", true),
        (&rule, failed("connection_timeout"), "PUT", true),
        (&rule, failed("http_response_incomplete"), "GET", false),
        (&rule, failed("connection_refused"), "POST", false),
        (&rule, answered(502), "GET", true),
        (&rule, answered(429), "GET", true),
        (&rule, answered(500), "GET", false),
        (&rule, answered(502), "POST", false),
        (&default, answered(502), "GET", false),
        (&default, failed("connection_refused"), "GET", true),
        (&String::new(), failed("connection_refused"), "GET", false),
        (
            &sent_there(&rule),
            failed("connection_refused"),
            "GET",
            false,
        ),
    ] {
        assert_eq!(
            plan.goes_elsewhere(note, &outcome, method),
            expected,
            "{note} {outcome:?} {method}"
        );
        assert!(!expected || may_help(&outcome));
    }
    assert_eq!(plan.redirected(&sent_there(&rule)), Some("b"));
    assert_eq!(plan.redirected(&sent_there(&default)), Some("c"));
    assert_eq!(plan.redirected(&rule), None, "another policy's retry");
    assert_eq!(plan.redirected(""), None);
}

#[test]
fn bad_settings_are_refused_with_their_key() {
    for (json, key) in [
        ("{}", "`rules`"),
        (r#"{"rules": [{}]}"#, "`rules[0].to`: is missing"),
        (r#"{"rules": [{"to": 3}]}"#, "`rules[0].to`"),
        (r#"{"rules": [{"to": []}]}"#, "`rules[0].to`"),
        (r#"{"rules": [{"to": ""}]}"#, "`rules[0].to`"),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "weight": 0}]}]}"#,
            "`rules[0].to`",
        ),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "wight": 1}]}]}"#,
            "`rules[0].to[0].wight`",
        ),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "weight": 1000001}]}]}"#,
            "`rules[0].to[0].weight`",
        ),
        (
            r#"{"rules": [{"to": "a", "sticky": "cookie"}]}"#,
            "`rules[0].sticky`",
        ),
        (
            r#"{"rules": [{"to": "a", "timeout": "0s"}]}"#,
            "`rules[0].timeout`",
        ),
        (
            r#"{"rules": [{"to": "a", "fallback": ""}]}"#,
            "`rules[0].fallback`",
        ),
        (
            r#"{"rules": [{"to": "a", "match": {"host": "a:1"}}]}"#,
            "`rules[0].match.host`",
        ),
        (
            r#"{"default": {"to": "a", "match": {}}}"#,
            "`default.match`",
        ),
        (r#"{"default": "a"}"#, "`default`"),
        (
            r#"{"default": {"to": "a", "model": "x"}}"#,
            "`default.model`",
        ),
        (
            r#"{"rules": [{"to": "a", "model": []}]}"#,
            "`rules[0].model`",
        ),
        (
            r#"{"rules": [{"to": "a", "when-full": "defer"}]}"#,
            "`rules[0].when-full`",
        ),
        (
            r#"{"rules": [{"to": [{"upstream": "a", "full-at": 1}]}]}"#,
            "`rules[0].to[0].full-at`",
        ),
        (
            r#"{"rules": [{"to": "a", "fallback-on": 502}]}"#,
            "`rules[0].fallback-on`",
        ),
        (
            r#"{"rules": [{"to": "a", "fallback": "b", "fallback-on": "3xx"}]}"#,
            "`rules[0].fallback-on`",
        ),
        (
            r#"{"rules": [{"to": "a", "choose": "latenci"}]}"#,
            "`rules[0].choose`",
        ),
    ] {
        let message = match read(json) {
            Ok(_) => panic!("{json} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(message.starts_with(key), "{json}: {message}");
    }
}

proptest! {
    #[test]
    fn shares_are_what_the_weights_say(percent in 0_u32..=100) {
        let plan = canary(percent, "");
        let steps = 10_000_u64;
        let to_new = (0..steps)
            .filter(|step| {
                let chosen = choose(&plan, &FakeRequest::get("/"), || step * (u64::MAX / steps));
                chosen.is_some_and(|chosen| chosen.upstream == "new")
            })
            .count() as u64;
        let expected = u64::from(percent) * steps / 100;
        prop_assert!(to_new.abs_diff(expected) <= 1, "{to_new} of {steps} at {percent} %");
    }

    #[test]
    fn hashes_spread_callers_like_luck(percent in 5_u32..=95) {
        let plan = canary(percent, r#", "sticky": "client-ip""#);
        let callers = 2_000_u32;
        let to_new = (0..callers)
            .filter(|caller| {
                let request = FakeRequest::get("/").client_ip(&format!("10.0.{}.{}", caller / 256, caller % 256));
                upstream(&plan, &request) == Some("new")
            })
            .count() as f64;
        // six standard deviations
        let share = f64::from(percent) / 100.0;
        let slack = 6.0 * (f64::from(callers) * share * (1.0 - share)).sqrt();
        prop_assert!((to_new - f64::from(callers) * share).abs() <= slack, "{to_new} of {callers} at {percent} %");
    }

    #[test]
    fn a_growing_canary_keeps_those_it_has(less in 0_u32..=100, more in 0_u32..=100, user in ".{1,20}") {
        prop_assume!(less <= more);
        let sticky = r#", "sticky": "header:x-user""#;
        let request = FakeRequest::get("/").with("x-user", &user);
        if upstream(&canary(less, sticky), &request) == Some("new") {
            let grown = canary(more, sticky);
            prop_assert_eq!(upstream(&grown, &request), Some("new"));
        }
    }

    #[test]
    fn a_target_without_weight_gets_nothing(number: u64) {
        let plan = plan(r#"{"default": {"to": [{"upstream": "none", "weight": 0}, {"upstream": "all", "weight": 3}, {"upstream": "nil", "weight": 0}]}}"#);
        let chosen = choose(&plan, &FakeRequest::get("/"), || number);
        prop_assert_eq!(chosen.map(|chosen| chosen.upstream), Some("all"));
    }

    #[test]
    fn by_latency_nobody_much_slower_than_the_best_is_taken(medians in prop::collection::vec(prop_oneof![Just(None), (0_u64..1_000_000).prop_map(Some)], 1..16), number: u64) {
        let names: Vec<String> = (0..medians.len()).map(|n| format!("\"{n}\"")).collect();
        let plan = plan(&format!(r#"{{"default": {{"choose": "latency", "to": [{}]}}}}"#, names.join(",")));
        let median = |name: &str| medians[name.parse::<usize>().expect("a number")];
        let standing = |name: &str| median(name).map_or(DOWN, |p50_us| up(0, p50_us));
        let (answer, _) = plan.choose(&FakeRequest::get("/"), Known::Head, standing, || number);
        let Answer::Route(chosen) = answer else { panic!("{answer:?}") };
        let best = medians.iter().flatten().filter(|&&median| median > 0).min().copied();
        match (median(chosen.upstream), best) {
            (Some(taken), Some(best)) => prop_assert!(taken <= best + best / 5),
            (Some(taken), None) => prop_assert_eq!(taken, 0),
            (None, _) => prop_assert!(medians.iter().all(Option::is_none)),
        }
    }

    #[test]
    fn no_settings_and_no_note_upset_it(text in ".*", method in ".{0,8}") {
        let _ = read(&text);
        let plan = plan(r#"{"default": {"to": "a", "fallback": "b"}}"#);
        let refused = Outcome { status: None, error: Some("connection_refused".to_owned()), latency_us: 0 };
        let _ = plan.goes_elsewhere(&text, &refused, &method);
        let _ = plan.redirected(&text);
    }
}
