//! Tables of cases taken from the sentences of RFC 9111, 5861, 9110 and 9211.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_cache::*;

const T0: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `name: value` lines; `@N` stands for the HTTP date N seconds after T0 (N may be negative).
fn headers(lines: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a test header has `: `");
        let value = match value.strip_prefix('@') {
            Some(offset) => {
                let offset: i64 = offset.parse().expect("a number after @");
                httpdate::fmt_http_date(at(T0.saturating_add_signed(offset)))
            }
            None => value.to_owned(),
        };
        map.append(
            HeaderName::try_from(name).expect("a field name"),
            HeaderValue::try_from(value).expect("a field value"),
        );
    }
    map
}

fn meta(response: &[&str], policy: Option<&Override>) -> Meta {
    Meta::new(StatusCode::OK, &headers(response), policy, at(T0), at(T0))
}

const POLICY: Override = Override {
    ttl: Duration::from_secs(30),
    stale_while_revalidate: Duration::from_secs(10),
    stale_if_error: Duration::from_secs(100),
};

#[test]
fn freshness_lifetime_uses_the_first_rule_that_applies() {
    #[track_caller]
    fn check(response: &[&str], expected: u64, source: Source) {
        let lifetime = meta(response, None).lifetime();
        assert_eq!(
            (lifetime.duration, lifetime.source),
            (secs(expected), source),
            "{response:?}"
        );
    }
    check(
        &["cache-control: s-maxage=5, max-age=10", "expires: @99"],
        5,
        Source::SMaxAge,
    );
    check(
        &["cache-control: max-age=10", "expires: @99", "date: @0"],
        10,
        Source::MaxAge,
    );
    check(&["expires: @99", "date: @-1"], 100, Source::Expires);
    check(&["expires: @99"], 99, Source::Expires);
    check(&["expires: @-5", "date: @0"], 0, Source::Expires);
    check(&["expires: 0", "date: @0"], 0, Source::Unreadable);
    check(&["cache-control: max-age=\"60\""], 60, Source::MaxAge);
    check(&["cache-control: MAX-AGE=60"], 60, Source::MaxAge);
    check(&["cache-control: max-age=-1"], 0, Source::Unreadable);
    check(&["cache-control: max-age=1.5"], 0, Source::Unreadable);
    check(
        &["cache-control: max-age=x", "expires: @99"],
        0,
        Source::Unreadable,
    );
    check(
        &["cache-control: max-age=10, max-age=20"],
        10,
        Source::MaxAge,
    );
    check(
        &["cache-control: max-age=99999999999999999999"],
        1 << 31,
        Source::MaxAge,
    );
    check(
        &["cache-control: a=\"max-age=1, max-age=2\", max-age=3"],
        3,
        Source::MaxAge,
    );
    check(
        &["last-modified: @-1000", "date: @0"],
        100,
        Source::Heuristic,
    );
    check(
        &["last-modified: @-100000000", "date: @0"],
        24 * 3600,
        Source::Heuristic,
    );
    check(
        &["last-modified: @-1000", "date: @0", "set-cookie: a=b"],
        0,
        Source::None,
    );
    check(&["last-modified: @1000", "date: @0"], 0, Source::Heuristic);
    check(&["date: @0"], 0, Source::None);
}

#[test]
fn a_policy_fills_what_is_open_and_narrows_what_is_not() {
    #[track_caller]
    fn check(response: &[&str], expected: u64) {
        assert_eq!(
            meta(response, Some(&POLICY)).lifetime().duration,
            secs(expected),
            "{response:?}"
        );
    }
    check(&["date: @0"], 30);
    check(&["last-modified: @-1000", "date: @0"], 30);
    check(&["cache-control: max-age=10"], 10);
    check(&["cache-control: max-age=1000"], 30);
    check(&["expires: 0"], 0);
}

#[test]
fn age_counts_transit_residence_and_what_others_counted() {
    #[track_caller]
    fn check(response: &[&str], expected: u64) {
        let meta = Meta::new(StatusCode::OK, &headers(response), None, at(T0), at(T0 + 4));
        assert_eq!(meta.age(at(T0 + 10)), secs(expected), "{response:?}");
    }
    check(&[], 10);
    check(&["age: 20"], 30);
    check(&["age: 20, 1"], 30);
    check(&["age: -20"], 10);
    check(&["age: x"], 10);
    check(&["date: @-100"], 110);
    check(&["date: @-100", "age: 200"], 210);
    check(&["date: @100"], 10);
}

#[test]
fn storing_needs_permission() {
    #[track_caller]
    fn check(
        request: &[&str],
        status: u16,
        response: &[&str],
        policy: Option<&Override>,
        expected: Result<(), Refusal>,
    ) {
        let status = StatusCode::from_u16(status).expect("a status");
        let got = storable(
            &Method::GET,
            &headers(request),
            false,
            status,
            &headers(response),
            policy,
        );
        assert_eq!(
            got.map(|_| ()),
            expected,
            "{request:?} {status} {response:?}"
        );
    }
    let fresh = &["cache-control: max-age=60"][..];
    check(&[], 200, fresh, None, Ok(()));
    check(&[], 200, &[], None, Ok(()));
    check(&[], 201, &[], None, Err(Refusal::NoFreshness));
    check(&[], 201, &[], Some(&POLICY), Ok(()));
    check(&[], 201, fresh, None, Ok(()));
    check(&[], 201, &["cache-control: public"], None, Ok(()));
    check(&[], 299, &["expires: @5"], None, Ok(()));
    check(&[], 103, fresh, None, Err(Refusal::StatusNotFinal));
    check(&[], 206, fresh, None, Err(Refusal::Partial));
    check(&[], 304, fresh, None, Err(Refusal::StatusNotUnderstood));
    check(
        &["range: bytes=0-1"],
        200,
        fresh,
        None,
        Err(Refusal::Partial),
    );
    check(
        &["cache-control: no-store"],
        200,
        fresh,
        None,
        Err(Refusal::RequestNoStore),
    );
    check(
        &["cache-control: No-Store"],
        200,
        fresh,
        Some(&POLICY),
        Err(Refusal::RequestNoStore),
    );
    check(
        &[],
        200,
        &["cache-control: no-store, max-age=60"],
        Some(&POLICY),
        Err(Refusal::ResponseNoStore),
    );
    check(
        &[],
        200,
        &["cache-control: max-age=60", "cache-control: no-store"],
        None,
        Err(Refusal::ResponseNoStore),
    );
    check(
        &[],
        200,
        &["cache-control: no-store, must-understand, max-age=60"],
        None,
        Ok(()),
    );
    check(
        &[],
        299,
        &["cache-control: must-understand, max-age=60"],
        None,
        Err(Refusal::StatusNotUnderstood),
    );
    check(
        &[],
        200,
        &["cache-control: private, max-age=60"],
        Some(&POLICY),
        Err(Refusal::Private),
    );
    check(
        &[],
        200,
        &["cache-control: private=\"set-cookie\", max-age=60"],
        None,
        Err(Refusal::Private),
    );
    check(
        &["authorization: x"],
        200,
        fresh,
        None,
        Err(Refusal::Authorization),
    );
    check(
        &["authorization: x"],
        200,
        fresh,
        Some(&POLICY),
        Err(Refusal::Authorization),
    );
    check(
        &["authorization: x"],
        200,
        &["cache-control: max-age=60, public"],
        None,
        Ok(()),
    );
    check(
        &["authorization: x"],
        200,
        &["cache-control: s-maxage=60"],
        None,
        Ok(()),
    );
    check(
        &["authorization: x"],
        200,
        &["cache-control: max-age=60, must-revalidate"],
        None,
        Ok(()),
    );
    check(
        &[],
        200,
        &["set-cookie: a=b"],
        Some(&POLICY),
        Err(Refusal::SetCookie),
    );
    check(
        &[],
        200,
        &["set-cookie: a=b", "cache-control: max-age=60"],
        None,
        Ok(()),
    );
    check(
        &[],
        200,
        &["vary: *", "cache-control: max-age=60"],
        None,
        Err(Refusal::Vary),
    );
    check(
        &[],
        200,
        &["vary: a b", "cache-control: max-age=60"],
        None,
        Err(Refusal::Vary),
    );
    check(&[], 404, &["cache-control: max-age=1"], None, Ok(()));
}

#[test]
fn only_get_and_posts_with_their_body_in_the_key_are_stored() {
    let response = headers(&["cache-control: max-age=60"]);
    let try_it = |method: Method, body_in_key| {
        storable(
            &method,
            &HeaderMap::new(),
            body_in_key,
            StatusCode::OK,
            &response,
            None,
        )
        .is_ok()
    };
    assert!(try_it(Method::GET, false));
    assert!(!try_it(Method::POST, false));
    assert!(try_it(Method::POST, true));
    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert!(!try_it(method.clone(), true), "{method}");
    }
}

#[test]
fn a_header_of_too_many_directives_is_not_trusted() {
    let many = vec!["x"; 1000].join(",");
    let line = format!("cache-control: {many},max-age=60");
    let got = storable(
        &Method::GET,
        &HeaderMap::new(),
        false,
        StatusCode::OK,
        &headers(&[&line]),
        None,
    );
    assert_eq!(got, Err(Refusal::ResponseNoStore));
}

#[derive(Debug, PartialEq)]
enum Short {
    Serve,
    Behind,
    Ask(Forward, OnError),
    TimeOut,
}

#[track_caller]
fn check_verdict(
    request: &[&str],
    response: &[&str],
    policy: Option<&Override>,
    age: u64,
    expected: Short,
) {
    let asked = RequestDirectives::parse(&headers(request));
    let (now, stored) = (at(T0 + age), meta(response, policy));
    let got = match evaluate(now, &asked, &stored) {
        Verdict::Serve { age: told, .. } => {
            assert_eq!(told, secs(age));
            Short::Serve
        }
        Verdict::ServeThenRevalidate { ttl, .. } => {
            assert!(ttl <= 0);
            Short::Behind
        }
        Verdict::Revalidate { why } => Short::Ask(why, on_error(now, &asked, &stored, None)),
        Verdict::Unsatisfiable => Short::TimeOut,
    };
    assert_eq!(got, expected, "{request:?} {response:?} at age {age}");
}

#[test]
fn fresh_responses_are_served_and_stale_ones_are_validated() {
    let response = &["cache-control: max-age=60"][..];
    check_verdict(&[], response, None, 0, Short::Serve);
    check_verdict(&[], response, None, 59, Short::Serve);
    check_verdict(
        &[],
        response,
        None,
        60,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
    check_verdict(
        &[],
        &["cache-control: no-cache, max-age=60"],
        None,
        0,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
    check_verdict(
        &[],
        &["cache-control: no-cache=\"x\", max-age=60"],
        None,
        0,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
    check_verdict(
        &[],
        &["cache-control: max-age=0"],
        None,
        0,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
}

#[test]
fn a_request_may_ask_for_more() {
    let response = &["cache-control: max-age=60"][..];
    let ask = |why| Short::Ask(why, OnError::Fail);
    check_verdict(
        &["cache-control: no-cache"],
        response,
        None,
        1,
        ask(Forward::Request),
    );
    check_verdict(
        &["pragma: no-cache"],
        response,
        None,
        1,
        ask(Forward::Request),
    );
    check_verdict(
        &["pragma: no-cache", "cache-control: max-age=9"],
        response,
        None,
        1,
        Short::Serve,
    );
    check_verdict(
        &["cache-control: max-age=5"],
        response,
        None,
        5,
        Short::Serve,
    );
    check_verdict(
        &["cache-control: max-age=5"],
        response,
        None,
        6,
        ask(Forward::Request),
    );
    check_verdict(
        &["cache-control: max-age=0"],
        response,
        None,
        1,
        ask(Forward::Request),
    );
    check_verdict(
        &["cache-control: max-age=nonsense"],
        response,
        None,
        1,
        ask(Forward::Request),
    );
    check_verdict(
        &["cache-control: min-fresh=50"],
        response,
        None,
        10,
        Short::Serve,
    );
    check_verdict(
        &["cache-control: min-fresh=51"],
        response,
        None,
        10,
        ask(Forward::Request),
    );
}

#[test]
fn a_request_may_take_less_unless_the_origin_forbids() {
    let ask = Short::Ask(Forward::Stale, OnError::Fail);
    let check = |request, directives: &str, age, expected| {
        check_verdict(
            &[request],
            &[&format!("cache-control: {directives}")],
            None,
            age,
            expected,
        );
    };
    check(
        "cache-control: max-stale",
        "max-age=60",
        10_000,
        Short::Serve,
    );
    check(
        "cache-control: max-stale=10",
        "max-age=60",
        70,
        Short::Serve,
    );
    check(
        "cache-control: max-stale=10",
        "max-age=60",
        71,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
    check(
        "cache-control: max-stale",
        "max-age=60, must-revalidate",
        61,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
    check(
        "cache-control: max-stale",
        "max-age=60, proxy-revalidate",
        61,
        Short::Ask(Forward::Stale, OnError::Fail),
    );
    check("cache-control: max-stale", "s-maxage=60", 61, ask);
}

#[test]
fn only_if_cached_never_goes_upstream() {
    let asked = &["cache-control: only-if-cached"][..];
    check_verdict(asked, &["cache-control: max-age=60"], None, 1, Short::Serve);
    check_verdict(
        asked,
        &["cache-control: max-age=60"],
        None,
        61,
        Short::TimeOut,
    );
    check_verdict(
        asked,
        &["cache-control: max-age=60, stale-while-revalidate=9"],
        None,
        61,
        Short::Serve,
    );
}

#[test]
fn stale_answers_need_leave() {
    let fail = || Short::Ask(Forward::Stale, OnError::Fail);
    let serve_stale = || Short::Ask(Forward::Stale, OnError::ServeStale);
    let both = &["cache-control: max-age=60, stale-while-revalidate=10, stale-if-error=100"][..];
    check_verdict(&[], both, None, 60, Short::Behind);
    check_verdict(&[], both, None, 69, Short::Behind);
    check_verdict(&[], both, None, 70, serve_stale());
    check_verdict(&[], both, None, 160, fail());
    // A policy's leave counts where the origin said nothing, and never against must-revalidate or s-maxage.
    check_verdict(&[], &["date: @0"], Some(&POLICY), 35, Short::Behind);
    check_verdict(&[], &["date: @0"], Some(&POLICY), 45, serve_stale());
    check_verdict(
        &[],
        &["cache-control: max-age=20, must-revalidate"],
        Some(&POLICY),
        25,
        fail(),
    );
    check_verdict(
        &[],
        &["cache-control: s-maxage=20"],
        Some(&POLICY),
        25,
        fail(),
    );
    check_verdict(
        &[],
        &["cache-control: s-maxage=20, stale-while-revalidate=9"],
        None,
        25,
        Short::Behind,
    );
    // A client may want a stale answer rather than an error, or a validation all the same.
    check_verdict(
        &["cache-control: stale-if-error=30"],
        &["cache-control: max-age=60"],
        None,
        80,
        serve_stale(),
    );
    check_verdict(
        &["cache-control: no-cache"],
        both,
        None,
        65,
        Short::Ask(Forward::Request, OnError::ServeStale),
    );
}

#[test]
fn a_policy_says_how_long_a_stale_answer_may_stand_in_for_an_error() {
    let stands_in = |response: &[&str], stored_with: Option<&Override>, policy: u64, age: u64| {
        let stored = meta(response, stored_with);
        let asked = RequestDirectives::default();
        on_error(at(T0 + age), &asked, &stored, Some(secs(policy))) == OnError::ServeStale
    };
    let plain = &["cache-control: max-age=60"][..];
    assert!(stands_in(plain, None, 30, 89) && !stands_in(plain, None, 30, 90));
    assert!(!stands_in(plain, None, 0, 60));
    // The last word of the policy counts, whatever it said when the response was stored (for 30 s, then 50 s more).
    let open = &["date: @0"][..];
    assert!(stands_in(open, Some(&POLICY), 500, 200) && !stands_in(open, Some(&POLICY), 5, 45));
    // The origin's own word can be narrowed, not widened.
    let named = &["cache-control: max-age=60, stale-if-error=100"][..];
    assert!(stands_in(named, None, 500, 159) && !stands_in(named, None, 500, 160));
    assert!(!stands_in(named, None, 10, 75));
    for forbidden in [
        "must-revalidate",
        "proxy-revalidate",
        "no-cache",
        "s-maxage=60",
    ] {
        let line = format!("cache-control: max-age=60, {forbidden}");
        assert!(!stands_in(&[&line], None, 500, 61), "{forbidden}");
    }
}

#[test]
fn vary_matches_what_was_asked() {
    #[track_caller]
    fn check(vary: &[&str], first: &[&str], second: &[&str], expected: bool) {
        let key = VaryKey::of(&headers(vary), &headers(first)).expect("a key");
        assert_eq!(
            key.matches(&headers(second)),
            expected,
            "{vary:?} {first:?} {second:?}"
        );
    }
    check(&[], &["a: 1"], &["a: 2"], true);
    check(&["vary: a"], &["a: 1"], &["a: 1"], true);
    check(&["vary: A"], &["a: 1"], &["a: 2"], false);
    check(&["vary: a"], &[], &[], true);
    check(&["vary: a"], &[], &["a: 1"], false);
    check(&["vary: a"], &["a: 1"], &[], false);
    check(&["vary: a, b"], &["a: 1", "b: 2"], &["b: 2", "a: 1"], true);
    check(
        &["vary: a", "vary: b"],
        &["a: 1", "b: 2"],
        &["a: 1", "b: 3"],
        false,
    );
    check(&["vary: a"], &["a: 1", "a: 2"], &["a: 1, 2"], true);
    check(
        &["vary: accept-encoding"],
        &["accept-encoding: gzip,  BR"],
        &["accept-encoding: GZIP,br"],
        true,
    );
    check(
        &["vary: accept-encoding"],
        &["accept-encoding: gzip, br"],
        &["accept-encoding: br"],
        false,
    );
    let any = VaryKey::of(&headers(&["vary: a, *"]), &HeaderMap::new());
    assert_eq!(any, Err(VaryRefusal::Any));
    let many: Vec<String> = (0..40).map(|n| format!("vary: h{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        VaryKey::of(&headers(&many), &HeaderMap::new()),
        Err(VaryRefusal::TooMany)
    );
}

#[test]
fn validation_asks_with_the_stored_validators_alone() {
    let stored = headers(&["etag: \"v1\"", "last-modified: @-100"]);
    let mut request = headers(&[
        "if-none-match: \"client\"",
        "if-match: \"x\"",
        "if-range: \"y\"",
        "accept: a",
    ]);
    assert!(conditional_headers(&stored, &mut request));
    let expected = headers(&[
        "accept: a",
        "if-none-match: \"v1\"",
        "if-modified-since: @-100",
    ]);
    assert_eq!(request, expected);
    let mut untouched = headers(&["if-none-match: \"client\""]);
    assert!(!conditional_headers(
        &headers(&["date: @0"]),
        &mut untouched
    ));
    assert_eq!(untouched, headers(&["if-none-match: \"client\""]));
}

#[test]
fn a_304_updates_only_what_it_is_about() {
    #[track_caller]
    fn check(stored: &[&str], not_modified: &[&str], expected: bool) {
        assert_eq!(
            updates(&headers(stored), &headers(not_modified)),
            expected,
            "{stored:?} {not_modified:?}"
        );
    }
    check(&["etag: \"a\""], &["etag: \"a\""], true);
    check(&["etag: \"a\""], &["etag: \"b\""], false);
    check(&["etag: W/\"a\""], &["etag: \"a\""], true);
    check(&["etag: \"a\""], &[], true);
    check(&["last-modified: @0"], &["etag: \"a\""], false);
    check(&["last-modified: @0"], &["last-modified: @0"], true);
    check(&["last-modified: @0"], &["last-modified: @5"], false);
}

#[test]
fn a_304_replaces_headers_but_those_of_the_body() {
    let mut stored = headers(&[
        "content-length: 5",
        "content-encoding: gzip",
        "etag: \"a\"",
        "x-a: old",
        "x-b: kept",
        "age: 50",
        "cache-control: max-age=1",
    ]);
    let answer = headers(&[
        "content-length: 0",
        "content-encoding: br",
        "x-a: new",
        "x-a: newer",
        "cache-control: max-age=9",
        "connection: x-c",
        "x-c: hop",
        "keep-alive: 5",
        "proxy-authenticate: no",
    ]);
    freshen(&mut stored, &answer);
    let expected = headers(&[
        "content-length: 5",
        "content-encoding: gzip",
        "etag: \"a\"",
        "x-a: new",
        "x-a: newer",
        "x-b: kept",
        "cache-control: max-age=9",
    ]);
    assert_eq!(stored, expected);
}

#[test]
fn a_client_that_has_it_gets_a_304() {
    #[track_caller]
    fn check(request: &[&str], stored: &[&str], expected: bool) {
        assert_eq!(
            client_has_it(&headers(request), StatusCode::OK, &headers(stored)),
            expected,
            "{request:?} {stored:?}"
        );
    }
    check(&[], &["etag: \"a\""], false);
    check(&["if-none-match: \"a\""], &["etag: \"a\""], true);
    check(&["if-none-match: W/\"a\""], &["etag: \"a\""], true);
    check(&["if-none-match: \"b\", W/\"a\""], &["etag: \"a\""], true);
    check(
        &["if-none-match: \"b\"", "if-none-match: \"a\""],
        &["etag: \"a\""],
        true,
    );
    check(&["if-none-match: \"b\""], &["etag: \"a\""], false);
    check(&["if-none-match: \"b,a\""], &["etag: \"a\""], false);
    check(&["if-none-match: a"], &["etag: \"a\""], false);
    check(&["if-none-match: *"], &["date: @0"], true);
    check(
        &["if-none-match: \"b\"", "if-modified-since: @5"],
        &["etag: \"a\"", "last-modified: @0"],
        false,
    );
    check(&["if-modified-since: @0"], &["last-modified: @0"], true);
    check(&["if-modified-since: @-1"], &["last-modified: @0"], false);
    check(&["if-modified-since: @5"], &["date: @0"], true);
    check(
        &["if-modified-since: yesterday"],
        &["last-modified: @0"],
        false,
    );
    assert!(!client_has_it(
        &headers(&["if-none-match: *"]),
        StatusCode::NOT_FOUND,
        &HeaderMap::new()
    ));
    let kept = not_modified_headers(&headers(&[
        "etag: \"a\"",
        "content-type: x",
        "cache-control: y",
        "set-cookie: z",
    ]));
    assert_eq!(kept, headers(&["etag: \"a\"", "cache-control: y"]));
}

#[test]
fn unsafe_methods_invalidate_after_success() {
    #[track_caller]
    fn check(method: &str, status: u16, response: &[&str], expected: &[&str]) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let status = StatusCode::from_u16(status).expect("a status");
        let got = invalidates(&method, "h.test", "/a?b", status, &headers(response));
        let got: Vec<&str> = got
            .iter()
            .map(|target| target.path_and_query.as_str())
            .collect();
        assert_eq!(got, expected, "{method} {status} {response:?}");
    }
    check("POST", 200, &[], &["/a?b"]);
    check("PURGE", 204, &[], &["/a?b"]);
    check("PUT", 303, &["location: /new"], &["/a?b", "/new"]);
    check(
        "POST",
        201,
        &["location: http://H.test/new", "content-location: /a?b"],
        &["/a?b", "/new"],
    );
    check("POST", 201, &["location: http://other.test/new"], &["/a?b"]);
    check("POST", 201, &["location: relative"], &["/a?b"]);
    check("POST", 201, &["location: //other.test/x"], &["/a?b"]);
    check("DELETE", 404, &[], &[]);
    check("POST", 500, &[], &[]);
    check("GET", 200, &["location: /new"], &[]);
    check("HEAD", 200, &[], &[]);
}

#[test]
fn ranges_and_unsafe_methods_pass_by() {
    assert_eq!(bypasses(&Method::GET, &HeaderMap::new(), false), None);
    assert_eq!(bypasses(&Method::HEAD, &HeaderMap::new(), false), None);
    assert_eq!(
        bypasses(&Method::POST, &HeaderMap::new(), false),
        Some(Forward::Method)
    );
    assert_eq!(bypasses(&Method::POST, &HeaderMap::new(), true), None);
    assert_eq!(
        bypasses(&Method::GET, &headers(&["range: bytes=0-"]), false),
        Some(Forward::Bypass)
    );
}

#[test]
fn cache_status_is_written_as_rfc_9211_has_it() {
    let check =
        |status: CacheStatus, expected: &str| assert_eq!(status.to_header("veilgate"), expected);
    check(CacheStatus::hit(30), "veilgate; hit; ttl=30");
    check(CacheStatus::hit(-4), "veilgate; hit; ttl=-4");
    check(
        CacheStatus::forwarded(Forward::UriMiss),
        "veilgate; fwd=uri-miss",
    );
    let full = CacheStatus {
        fwd_status: Some(StatusCode::NOT_MODIFIED),
        stored: true,
        collapsed: true,
        ttl: Some(9),
        detail: Some("updated"),
        ..CacheStatus::forwarded(Forward::Stale)
    };
    check(
        full,
        "veilgate; fwd=stale; fwd-status=304; ttl=9; stored; collapsed; detail=updated",
    );
    assert_eq!(CacheStatus::hit(-1).label(), "stale-hit");
}
