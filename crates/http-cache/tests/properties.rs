//! Properties that hold for any headers, readable or not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_cache::*;
use proptest::prelude::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// Cache-Control made of real and broken directives in any order.
fn cache_control() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("max-age"),
        Just("s-maxage"),
        Just("no-store"),
        Just("no-cache"),
        Just("private"),
        Just("public"),
        Just("Max-Age"),
        Just("must-revalidate"),
        Just("stale-while-revalidate"),
        Just("stale-if-error"),
        Just("max-stale"),
        Just("min-fresh"),
        Just("only-if-cached"),
        Just("must-understand"),
        Just("x"),
        Just(""),
    ];
    let value = prop_oneof![
        Just(String::new()),
        (0u64..200).prop_map(|n| format!("={n}")),
        Just("=\"7\"".to_owned()),
        Just("=-1".to_owned()),
        Just("=".to_owned()),
        Just("=\"a, b".to_owned()),
        "=[!-~]{0,6}",
    ];
    proptest::collection::vec((name, value), 0..6).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(name, value)| format!("{name}{value}"))
            .collect::<Vec<_>>()
            .join(", ")
    })
}

fn with_cache_control(value: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(value) {
        map.insert(header::CACHE_CONTROL, value);
    }
    map
}

fn any_bytes() -> impl Strategy<Value = HeaderValue> {
    proptest::collection::vec(any::<u8>(), 0..60).prop_filter_map("not a header value", |bytes| {
        HeaderValue::from_bytes(&bytes).ok()
    })
}

proptest! {
    /// Nothing but a response's own words makes it storable when it says no-store or private.
    #[test]
    fn forbidden_is_forbidden(before in cache_control(), ttl in 0u64..1000, word in prop_oneof![Just("no-store"), Just("private")]) {
        prop_assume!(!before.contains('"') && !before.contains("must-understand"));
        let response = with_cache_control(&format!("{before}, {word}"));
        let policy = Override { ttl: Duration::from_secs(ttl), ..Override::default() };
        let got = storable(&Method::GET, &HeaderMap::new(), false, StatusCode::OK, &response, Some(&policy));
        prop_assert!(got.is_err());
    }

    /// A policy never makes a response with a lifetime of its own live longer.
    #[test]
    fn a_policy_never_widens(control in cache_control(), ttl in 0u64..1000) {
        let response = with_cache_control(&control);
        let policy = Override { ttl: Duration::from_secs(ttl), ..Override::default() };
        let plain = Meta::new(StatusCode::OK, &response, None, at(0), at(0)).lifetime();
        let ruled = Meta::new(StatusCode::OK, &response, Some(&policy), at(0), at(0)).lifetime();
        if !matches!(plain.source, Source::None | Source::Heuristic) {
            prop_assert!(ruled.duration <= plain.duration);
        }
        prop_assert!(ruled.duration <= plain.duration.max(policy.ttl));
    }

    /// Once a plain request is told to validate, waiting longer never lets it be served again.
    #[test]
    fn time_only_makes_it_worse(control in cache_control(), first in 0u64..300, later in 0u64..300) {
        let meta = Meta::new(StatusCode::OK, &with_cache_control(&control), None, at(0), at(0));
        let asked = RequestDirectives::default();
        let rank = |seconds| match evaluate(at(seconds), &asked, &meta) {
            Verdict::Serve { .. } => 0,
            Verdict::ServeThenRevalidate { .. } => 1,
            Verdict::Revalidate { .. } if on_error(at(seconds), &asked, &meta, None) == OnError::ServeStale => 2,
            Verdict::Revalidate { .. } | Verdict::Unsatisfiable => 3,
        };
        prop_assert!(rank(first) <= rank(first + later));
    }

    /// What is forbidden stale is never served stale, whatever the request says.
    #[test]
    fn must_revalidate_holds(request in cache_control(), age in 60u64..500, policy in proptest::option::of(0u64..1000)) {
        let response = with_cache_control("max-age=60, stale-while-revalidate=99, stale-if-error=99, must-revalidate");
        let meta = Meta::new(StatusCode::OK, &response, None, at(0), at(0));
        let asked = RequestDirectives::parse(&with_cache_control(&request));
        let verdict = evaluate(at(age), &asked, &meta);
        let refused = matches!(verdict, Verdict::Revalidate { .. } | Verdict::Unsatisfiable);
        prop_assert!(refused, "{verdict:?}");
        let policy = policy.map(Duration::from_secs);
        prop_assert_eq!(on_error(at(age), &asked, &meta, policy), OnError::Fail);
    }

    /// Clocks that jump do not make an age negative, nor panic.
    #[test]
    fn any_clock_will_do(sent in 0u64..1 << 33, got in 0u64..1 << 33, now in 0u64..1 << 33, age in any::<u64>()) {
        let mut response = with_cache_control("max-age=60");
        response.insert(header::AGE, HeaderValue::from(age));
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let meta = Meta::new(StatusCode::OK, &response, None, time(sent), time(got));
        prop_assert!(meta.age(time(now)) >= Duration::from_secs(age.min(1 << 31)));
        evaluate(time(now), &RequestDirectives::default(), &meta);
    }

    /// No header bytes make any function panic, and a request always matches the key made from itself.
    #[test]
    fn hostile_headers_are_only_refused(values in proptest::collection::vec(any_bytes(), 14)) {
        let names = [
            header::CACHE_CONTROL, header::PRAGMA, header::AGE, header::DATE, header::EXPIRES, header::LAST_MODIFIED, header::VARY,
            header::ETAG, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::LOCATION, header::CONTENT_LOCATION,
            header::CONNECTION, header::ACCEPT_ENCODING,
        ];
        let map: HeaderMap = names.into_iter().zip(values).collect();
        if let Ok(key) = storable(&Method::GET, &map, false, StatusCode::OK, &map, None) {
            prop_assert!(key.matches(&map));
        }
        let meta = Meta::new(StatusCode::OK, &map, None, at(0), at(1));
        evaluate(at(2), &RequestDirectives::parse(&map), &meta);
        client_has_it(&map, StatusCode::OK, &map);
        let mut changed = map.clone();
        conditional_headers(&map, &mut changed);
        freshen(&mut changed, &map);
        updates(&map, &changed);
        invalidates(&Method::POST, "a", "/", StatusCode::OK, &map);
    }
}
