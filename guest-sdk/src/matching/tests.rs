//! What the `match` block accepts, and that hostile requests do not upset it.

use proptest::prelude::*;

use super::Match;
use crate::testing::FakeRequest;
use crate::{config, settings};

fn block(json: &str) -> Match {
    config::parse::<Match>(json)
        .and_then(Match::checked)
        .expect("a good block")
}

/// Both ways to read a block take the same.
fn read(json: &str) -> Option<Match> {
    settings::read(json, Match::read).ok()
}

fn refused(json: &str) -> String {
    match config::parse::<Match>(json).and_then(Match::checked) {
        Ok(block) => panic!("{json} was taken: {block:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_empty_block_matches_everything() {
    assert!(block("{}").matches(&FakeRequest::get("/")));
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let api = block(r#"{"path-prefix": "/api"}"#);
    for (path, expected) in [
        ("/api", true),
        ("/api/x", true),
        ("/apix", false),
        ("/", false),
        ("/x/api", false),
    ] {
        assert_eq!(api.matches(&FakeRequest::get(path)), expected, "{path}");
    }
    assert!(block(r#"{"path-prefix": "/api/"}"#).matches(&FakeRequest::get("/api/x")));
    assert!(block(r#"{"path-prefix": "/"}"#).matches(&FakeRequest::get("/anything")));
}

#[test]
fn hosts_match_whatever_their_case_and_port() {
    let hosts = block(r#"{"host": ["API.example.com", "*.shop.example"]}"#);
    for (authority, expected) in [
        ("api.example.com", true),
        ("Api.Example.Com:8443", true),
        ("a.b.shop.example", true),
        ("shop.example", false),
        ("evilshop.example", false),
        ("example.com", false),
        ("", false),
        ("[::1]:80", false),
    ] {
        assert_eq!(
            hosts.matches(&FakeRequest::get("/").authority(authority)),
            expected,
            "{authority}"
        );
    }
    assert!(block(r#"{"host": "[::1]"}"#).matches(&FakeRequest::get("/").authority("[::1]:80")));
}

#[test]
fn all_conditions_must_hold() {
    let rule = block(
        r#"{"method": ["get", "HEAD"], "header": {"X-Beta": "yes", "x-debug": false, "accept": true}}"#,
    );
    let good = || {
        FakeRequest::get("/")
            .with("x-beta", "no")
            .with("x-beta", "yes")
            .with("accept", "*/*")
    };
    assert!(rule.matches(&good()));
    assert!(!rule.matches(&good().method("POST")));
    assert!(!rule.matches(&good().with("x-debug", "1")));
    assert!(!rule.matches(&FakeRequest::get("/").with("x-beta", "yes")));
}

#[test]
fn errors_name_the_key() {
    for (json, key) in [
        (r#"{"host": "a:80"}"#, "`host`"),
        (r#"{"host": "*"}"#, "`host`"),
        (r#"{"path": "api"}"#, "`path`"),
        (r#"{"path-prefix": ["/a", "/b?c"]}"#, "`path-prefix`"),
        (r#"{"method": "GE T"}"#, "`method`"),
        (r#"{"header": {"a b": true}}"#, "`header`"),
        (r#"{"header": {"a": 3}}"#, "`header.a`"),
        (r#"{"paths": "/a"}"#, "`paths`"),
        (r#"{"method": [1]}"#, "`method[0]`"),
    ] {
        let message = refused(json);
        assert!(message.starts_with(key), "{json}: {message}");
    }
}

proptest! {
    #[test]
    fn no_request_upsets_it(authority in ".*", path in ".*", method in ".*", value in ".*") {
        let rule = block(r#"{"host": ["a.example", "*.b.example", "[::1]"], "path-prefix": "/é", "path": "/x", "header": {"h": "v"}}"#);
        let request = FakeRequest::get(&path).authority(&authority).method(&method).with("h", &value);
        rule.matches(&request);
    }

    #[test]
    fn a_host_under_a_wildcard_matches(label in "[a-z0-9]{1,20}", port in 1_u16..) {
        let authority = format!("{label}.example.com:{port}");
        let matched = block(r#"{"host": "*.example.com"}"#).matches(&FakeRequest::get("/").authority(&authority));
        prop_assert!(matched);
    }
}

#[test]
fn a_parameter_of_the_query_is_compared() {
    let block = block(r#"{"query": {"v": "2", "beta": true, "old": false}}"#);
    let get = || FakeRequest::get("/");
    for (request, expected) in [
        (get().with_query("v", "2").with_query("beta", ""), true),
        (get().with_query("v", "2"), false),
        (get().with_query("v", "3").with_query("beta", ""), false),
        (
            get()
                .with_query("v", "2")
                .with_query("beta", "")
                .with_query("old", "1"),
            false,
        ),
    ] {
        assert_eq!(block.matches(&request), expected, "{request:?}");
    }
}

#[test]
fn both_ways_to_read_a_block_take_the_same() {
    for json in [
        "{}",
        r#"{"host": "*.Example.com", "path-prefix": ["/a", "/b"], "path": "/c", "method": "get"}"#,
        r#"{"header": {"X-A": "1", "x-b": true, "x-c": false}, "query": {"q": "1"}}"#,
        r#"{"host": "a:80"}"#,
        r#"{"path": "x"}"#,
        r#"{"header": {"a b": true}}"#,
        r#"{"header": {"a": 1}}"#,
        r#"{"hosts": "a"}"#,
    ] {
        let derived = config::parse::<Match>(json).and_then(Match::checked).ok();
        assert_eq!(
            read(json).map(|block| format!("{block:?}")),
            derived.map(|block| format!("{block:?}")),
            "{json}"
        );
    }
}
