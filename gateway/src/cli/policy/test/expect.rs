//! What was seen of an exchange against what the file expects: every difference, in the words of the file.

mod services;

use bytes::Bytes;
use http::HeaderMap;
use policy_host::{BodyKey, CacheDirectives, FaultKind};
use serde_json::Value as Json;

use super::super::trial::{
    BodyExpectation, CacheExpectation, CallRule, Expectation, FieldExpectation, FieldExpectations,
    Line, Seen,
};

/// An expectation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Mismatch {
    /// The key in the file.
    pub what: String,
    pub expected: String,
    pub got: String,
}

/// How a policy failed in one exchange.
pub(super) struct Fault {
    pub kind: FaultKind,
    pub detail: String,
}

/// What the exchange left behind, in the order in which it is expected.
pub(super) struct Left {
    pub stored: Vec<Option<Bytes>>,
    pub metrics: Vec<Option<f64>>,
}

#[derive(Default)]
struct Found(Vec<Mismatch>);

impl Found {
    fn note(&mut self, what: &str, expected: impl Into<String>, got: impl Into<String>) {
        self.0.push(Mismatch {
            what: what.to_owned(),
            expected: expected.into(),
            got: got.into(),
        });
    }

    /// Nothing is expected unless it was written.
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: Option<&T>, got: &T) {
        if let Some(expected) = expected
            && expected != got
        {
            self.note(what, format!("{expected:?}"), format!("{got:?}"));
        }
    }

    fn word(&mut self, what: &str, expected: Option<&str>, got: &str) {
        if let Some(expected) = expected
            && expected != got
        {
            self.note(what, expected, got);
        }
    }
}

/// `calls` are the exchange's own rules for calls.
pub(super) fn compare(
    calls: &[CallRule],
    expect: &Expectation,
    seen: &Seen,
    fault: Option<&Fault>,
    log: &[Line],
    left: &Left,
) -> Vec<Mismatch> {
    let mut found = Found::default();
    faults(expect, fault, &mut found);
    found.word(
        "decision",
        expect.decision.map(|decision| decision.name()),
        seen.decision.name(),
    );
    response(expect, seen, &mut found);
    request(expect, seen, &mut found);
    route(expect, seen, &mut found);
    found.same("reasons", expect.reasons.as_ref(), &seen.reasons);
    if let Some(cache) = &expect.cache {
        directives(cache, &seen.cache, &mut found);
    }
    for (key, value) in &expect.attrs {
        let got = seen
            .attrs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str());
        if got != Some(value) {
            found.note(
                &format!("attrs.{key}"),
                quoted(value),
                got.map_or("none".to_owned(), quoted),
            );
        }
    }
    logged(expect, log, &mut found);
    remains(expect, left, &mut found);
    services::compare(calls, expect, &seen.done, &mut found);
    found.0
}

fn faults(expect: &Expectation, fault: Option<&Fault>, found: &mut Found) {
    let told = |fault: &Fault| {
        format!(
            "{} ({})",
            fault.kind.label(),
            fault.detail.lines().next().unwrap_or_default()
        )
    };
    match (expect.fault, fault) {
        (None, Some(fault)) => found.note("fault", "none", told(fault)),
        (Some(expected), None) => found.note("fault", expected.label(), "none"),
        (Some(expected), Some(fault)) if expected != fault.kind => {
            found.note("fault", expected.label(), told(fault))
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

fn response(expect: &Expectation, seen: &Seen, found: &mut Found) {
    found.same(
        "status",
        expect.status.map(|status| status.as_u16()).as_ref(),
        &seen.response.status.as_u16(),
    );
    headers("headers", &expect.headers, &seen.response.headers, found);
    body("body", expect.body.as_ref(), &seen.response_body, found);
}

fn request(expect: &Expectation, seen: &Seen, found: &mut Found) {
    let request = &seen.request;
    found.word(
        "request.method",
        expect.method.as_deref(),
        request.method.as_str(),
    );
    found.same(
        "request.path",
        expect.path.as_ref(),
        &request.path_and_query,
    );
    found.same(
        "request.authority",
        expect.authority.as_ref(),
        &request.authority,
    );
    headers(
        "request.headers",
        &expect.request_headers,
        &request.headers,
        found,
    );
    body(
        "request.body",
        expect.request_body.as_ref(),
        &seen.request_body,
        found,
    );
}

fn route(expect: &Expectation, seen: &Seen, found: &mut Found) {
    let route = seen.route.as_ref();
    found.same("upstream", expect.upstream.as_ref(), &seen.upstream);
    let number = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
    let chosen = [
        (
            "endpoint",
            expect.endpoint.map(u64::from),
            route.and_then(|route| route.endpoint).map(u64::from),
        ),
        (
            "hash_key",
            expect.hash_key,
            route.and_then(|route| route.hash_key),
        ),
        (
            "timeout (ms)",
            expect.timeout_ms,
            route.and_then(|route| route.timeout_ms),
        ),
    ];
    for (what, expected, got) in chosen {
        if expected.is_some() && expected != got {
            found.note(what, number(expected), number(got));
        }
    }
    found.same("attempts", expect.attempts.as_ref(), &seen.attempts);
    let verdicts: Vec<String> = seen.verdicts.iter().map(|&word| word.to_owned()).collect();
    found.same("verdicts", expect.verdicts.as_ref(), &verdicts);
}

fn directives(expect: &CacheExpectation, got: &CacheDirectives, found: &mut Found) {
    found.same("cache.bypass", expect.bypass.as_ref(), &got.bypass);
    found.same("cache.no_store", expect.no_store.as_ref(), &got.no_store);
    let key_body = matches!(got.body_key, Some(BodyKey::Body | BodyKey::Text(_)));
    found.same("cache.key_body", expect.key_body.as_ref(), &key_body);
    found.same("cache.key", expect.key.as_ref(), &got.key_parts);
    let store = got.store;
    let stale_if_error = store
        .map(|store| store.stale_if_error_ms)
        .filter(|&ms| ms > 0)
        .or(got.stale_if_error_ms);
    let spans = [
        ("cache.ttl", expect.ttl_ms, store.map(|store| store.ttl_ms)),
        (
            "cache.stale_while_revalidate",
            expect.stale_while_revalidate_ms,
            store.map(|store| store.stale_while_revalidate_ms),
        ),
        (
            "cache.stale_if_error",
            expect.stale_if_error_ms,
            stale_if_error,
        ),
    ];
    let span = |value: Option<u64>| value.map_or("none".to_owned(), |ms| format!("{ms}ms"));
    for (what, expected, got) in spans {
        if expected.is_some() && expected != got {
            found.note(what, span(expected), span(got));
        }
    }
    found.same("cache.tags", expect.tags.as_ref(), &got.tags);
}

fn logged(expect: &Expectation, log: &[Line], found: &mut Found) {
    let lines: Vec<&str> = log
        .iter()
        .filter_map(|line| match line {
            Line::Policy(text) => Some(text.as_str()),
            Line::Fault(_) => None,
        })
        .collect();
    for part in &expect.log {
        if !lines.iter().any(|line| line.contains(part)) {
            let got = if lines.is_empty() {
                "no line".to_owned()
            } else {
                lines.join("\n")
            };
            found.note("log", format!("a line with {part:?}"), got);
        }
    }
}

fn remains(expect: &Expectation, left: &Left, found: &mut Found) {
    for (entry, got) in expect.kv.iter().zip(&left.stored) {
        let what = format!("kv {}/{}", entry.store, entry.key);
        match (&entry.value, got) {
            (Some(value), Some(got)) => body(&what, Some(value), got, found),
            (Some(_), None) => found.note(&what, "an entry", "none"),
            (None, Some(got)) => {
                found.note(&what, "none", format!("{:?}", String::from_utf8_lossy(got)))
            }
            (None, None) => {}
        }
    }
    for ((name, value), got) in expect.metrics.iter().zip(&left.metrics) {
        if *got != Some(*value) {
            found.note(
                &format!("metrics {name}"),
                value.to_string(),
                got.map_or("none".to_owned(), |got| got.to_string()),
            );
        }
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn headers(what: &str, expect: &FieldExpectations, got: &HeaderMap, found: &mut Found) {
    for (name, expected) in expect {
        let values: Vec<String> = got
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        if expected.holds(got, name) {
            continue;
        }
        let told = |values: &[String]| match values {
            [] => "none".to_owned(),
            [one] => quoted(one),
            several => format!("{several:?}"),
        };
        let wanted = match expected {
            FieldExpectation::Values(wanted) => told(wanted),
            FieldExpectation::Present => "any value".to_owned(),
            FieldExpectation::Absent => "none".to_owned(),
            FieldExpectation::Contains(part) => format!("a value with {part:?}"),
        };
        found.note(&format!("{what}.{name}"), wanted, told(&values));
    }
}

/// JSON as people compare it: one value per line.
fn pretty(value: &Json) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

fn body(what: &str, expected: Option<&BodyExpectation>, got: &Bytes, found: &mut Found) {
    let text = || {
        String::from_utf8(got.to_vec())
            .unwrap_or_else(|_| format!("{} bytes: {}", got.len(), hex(got)))
    };
    match expected {
        None => {}
        Some(expected) if expected.holds(got) => {}
        Some(BodyExpectation::Exactly(bytes)) => {
            let wanted = String::from_utf8(bytes.to_vec())
                .unwrap_or_else(|_| format!("{} bytes: {}", bytes.len(), hex(bytes)));
            found.note(what, wanted, text());
        }
        Some(BodyExpectation::Contains(part)) => {
            found.note(what, format!("something with {part:?}"), text());
        }
        Some(BodyExpectation::Json(wanted)) => match serde_json::from_slice::<Json>(got) {
            Ok(value) => found.note(what, pretty(wanted), pretty(&value)),
            Err(error) => found.note(
                what,
                pretty(wanted),
                format!("no JSON ({error}): {}", text()),
            ),
        },
        Some(BodyExpectation::JsonHas(wanted)) => match serde_json::from_slice::<Json>(got) {
            Ok(value) => has(what, wanted, Some(&value), found),
            Err(error) => found.note(
                what,
                pretty(wanted),
                format!("no JSON ({error}): {}", text()),
            ),
        },
    }
}

/// Tables are compared by the keys of what is wanted; all else must be the same.
fn has(what: &str, wanted: &Json, got: Option<&Json>, found: &mut Found) {
    match (wanted, got) {
        (Json::Object(wanted), Some(Json::Object(got))) => {
            for (key, wanted) in wanted {
                has(&format!("{what}.{key}"), wanted, got.get(key), found);
            }
        }
        (wanted, Some(got)) if wanted == got => {}
        (wanted, got) => found.note(what, pretty(wanted), got.map_or("none".to_owned(), pretty)),
    }
}

/// The beginning of bytes that are no text.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let digits: String = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if bytes.len() > SHOWN {
        format!("{digits}…")
    } else {
        digits
    }
}
