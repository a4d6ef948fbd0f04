//! One exchange of a test file, checked: what arrives, how the upstream behaves, what is expected.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use policy_host::{
    FaultKind, Identity, OutboundReply, RequestInfo, RequestParts, ServiceError, Source,
};
use toml::Spanned;

use super::raw::{
    Any, RawAttempt, RawCall, RawExchange, RawExpect, RawExpectEntry, RawExpectRecord, RawRequest,
    RawResponse,
};
use super::services::CallRule;
use super::values::{self, BodyExpectation, FieldExpectations};
use crate::config::Fields;
use crate::config::report::Problem;
use crate::config::values::Span;

/// More repetitions show nothing more, and a typo should not run for hours.
const MAX_REPEAT: u64 = 100_000;
/// The client's port, where the file names only an address.
const CLIENT_PORT: u16 = 40_000;

pub(crate) struct Step {
    pub name: String,
    pub advance_ms: u64,
    pub repeat: u64,
    pub every_ms: u64,
    /// Not an exchange: the tick hook is called.
    pub tick: bool,
    pub request: RequestParts,
    pub info: RequestInfo,
    pub request_body: Vec<Bytes>,
    /// What the route uses unless a policy chooses.
    pub upstream: String,
    pub attempts: Vec<AttemptPart>,
    pub response: ResponsePart,
    /// What upstreams answer to the policy's own calls in this exchange.
    pub calls: Vec<CallRule>,
    /// Why the outbox takes no record. None: it takes them.
    pub outbox: Option<ServiceError>,
    pub expect: Expectation,
}

#[derive(Debug, Clone)]
pub(crate) struct AttemptPart {
    /// None: that of the response.
    pub status: Option<StatusCode>,
    pub error: Option<String>,
    pub latency_ms: u64,
}

pub(crate) struct ResponsePart {
    /// None: that of the last attempt.
    pub status: Option<StatusCode>,
    pub headers: HeaderMap,
    pub body: Vec<Bytes>,
    pub source: Source,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Continue,
    Respond,
    Defer,
    GiveUp,
    Unavailable,
    /// A body was longer than the policy takes.
    TooLarge,
    /// The policy broke a body off.
    Abort,
}

impl Decision {
    const ALL: [Self; 7] = [
        Self::Continue,
        Self::Respond,
        Self::Defer,
        Self::GiveUp,
        Self::Unavailable,
        Self::TooLarge,
        Self::Abort,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Respond => "respond",
            Self::Defer => "defer",
            Self::GiveUp => "give-up",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too-large",
            Self::Abort => "abort",
        }
    }
}

/// Nothing in it is looked at unless it was written.
#[derive(Default)]
pub(crate) struct Expectation {
    pub decision: Option<Decision>,
    pub fault: Option<FaultKind>,
    pub status: Option<StatusCode>,
    pub headers: FieldExpectations,
    pub body: Option<BodyExpectation>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub authority: Option<String>,
    pub request_headers: FieldExpectations,
    pub request_body: Option<BodyExpectation>,
    pub upstream: Option<String>,
    pub endpoint: Option<u32>,
    pub hash_key: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub verdicts: Option<Vec<String>>,
    pub reasons: Option<Vec<String>>,
    pub cache: Option<CacheExpectation>,
    pub attrs: Vec<(String, String)>,
    pub log: Vec<String>,
    pub kv: Vec<EntryExpectation>,
    /// The policy's own metrics, by name and labels.
    pub metrics: Vec<(String, f64)>,
    pub calls: Option<u64>,
    /// Kind and body of what it appends to the outbox.
    pub outbox: Option<Vec<(String, Option<BodyExpectation>)>>,
}

/// What is expected under one key of a key-value store.
pub(crate) struct EntryExpectation {
    pub store: String,
    pub key: String,
    /// None: there is no such entry.
    pub value: Option<BodyExpectation>,
}

#[derive(Default)]
pub(crate) struct CacheExpectation {
    pub bypass: Option<bool>,
    pub no_store: Option<bool>,
    pub key_body: Option<bool>,
    pub key: Option<Vec<String>>,
    pub ttl_ms: Option<u64>,
    pub stale_while_revalidate_ms: Option<u64>,
    pub stale_if_error_ms: Option<u64>,
    pub tags: Option<Vec<String>>,
}

pub(super) fn check(
    index: usize,
    exchange: &Spanned<RawExchange>,
    fields: &mut Fields<'_>,
) -> Step {
    let raw = exchange.get_ref();
    let response = response(&raw.response, fields);
    let (request, info) = request(&raw.request, fields);
    Step {
        name: raw
            .name
            .clone()
            .unwrap_or_else(|| format!("exchange {}", index + 1)),
        advance_ms: millis(raw.advance),
        repeat: fields.count(raw.repeat.as_ref(), 1, 1..=MAX_REPEAT),
        every_ms: millis(raw.every),
        tick: raw.tick,
        request_body: chunks(
            raw.request.body.as_ref(),
            raw.request.chunks.as_ref(),
            fields,
        ),
        upstream: raw
            .request
            .upstream
            .clone()
            .unwrap_or_else(|| "origin".to_owned()),
        request,
        info,
        attempts: attempts(raw.attempt.as_deref(), response.source, fields),
        response,
        calls: calls(&raw.call, fields),
        outbox: fields.word(raw.outbox.as_ref(), &OUTBOX, None),
        expect: expectation(&raw.expect, fields),
    }
}

const OUTBOX: [(&str, Option<ServiceError>); 3] = [
    ("takes", None),
    ("unavailable", Some(ServiceError::Unavailable)),
    ("limit", Some(ServiceError::Limit)),
];

pub(super) fn calls(raw: &[Spanned<RawCall>], fields: &mut Fields<'_>) -> Vec<CallRule> {
    raw.iter().map(|call| call_rule(call, fields)).collect()
}

fn call_rule(call: &Spanned<RawCall>, fields: &mut Fields<'_>) -> CallRule {
    const ERRORS: [(&str, ServiceError); 4] = [
        ("unavailable", ServiceError::Unavailable),
        ("timeout", ServiceError::Timeout),
        ("limit", ServiceError::Limit),
        ("not-found", ServiceError::NotFound),
    ];
    let raw = call.get_ref();
    if raw.error.is_some() && (raw.status.is_some() || raw.body.is_some()) {
        fields.problem(Problem::new(
            call.span(),
            "a call has an answer (`status`, `body`) or `error`, not both",
        ));
    }
    let answer = match &raw.error {
        Some(error) => Err(fields.word(Some(error), &ERRORS, ServiceError::Unavailable)),
        None => Ok(OutboundReply {
            status: status(raw.status.as_ref(), fields).unwrap_or(StatusCode::OK),
            headers: values::headers(&raw.headers, fields),
            body: chunks(raw.body.as_ref(), None, fields).concat().into(),
        }),
    };
    let request = &raw.request;
    CallRule {
        upstream: raw.upstream.clone(),
        method: request.method.clone(),
        path: request.path.clone(),
        headers: values::expected_headers(&request.headers, fields),
        body: request
            .body
            .as_ref()
            .and_then(|body| values::expected_body(body, fields)),
        answer,
        delay_ms: millis(raw.delay),
        times: raw
            .times
            .as_ref()
            .map(|times| fields.count(Some(times), 1, 0..=MAX_REPEAT)),
    }
}

fn millis(span: Option<Span>) -> u64 {
    let span = span.map_or(Duration::ZERO, |span| span.0);
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn request(raw: &RawRequest, fields: &mut Fields<'_>) -> (RequestParts, RequestInfo) {
    let text = |value: Option<&Spanned<String>>, default: &str| {
        value.map_or_else(|| default.to_owned(), |text| text.get_ref().clone())
    };
    let method = match &raw.method {
        Some(name) => Method::from_bytes(name.get_ref().as_bytes()).unwrap_or_else(|_| {
            fields.problem(Problem::new(
                name.span(),
                format!("{:?} is no method", name.get_ref()),
            ));
            Method::GET
        }),
        None => Method::GET,
    };
    if let Some(path) = &raw.path
        && !path.get_ref().starts_with('/')
    {
        fields.problem(Problem::new(path.span(), "a path begins with `/`"));
    }
    let parts = RequestParts {
        method,
        path_and_query: text(raw.path.as_ref(), "/"),
        authority: text(raw.authority.as_ref(), "example.test"),
        headers: values::headers(&raw.headers, fields),
    };
    let protocol = fields.word(
        raw.protocol.as_ref(),
        &[("h1", "h1"), ("h2", "h2"), ("h3", "h3")],
        "h1",
    );
    let identity = &raw.identity;
    let info = RequestInfo {
        id: String::new(),
        client: client(raw.client.as_ref(), fields),
        protocol,
        tls: raw.tls,
        sni: raw.sni.clone(),
        route: Arc::from(raw.route.as_deref().unwrap_or("main")),
        received_ms: 0,
        identity: Identity {
            tenant: identity.tenant.clone(),
            subject: identity.subject.clone(),
            method: match &identity.method {
                Some(method) => method.clone().into(),
                None if identity.subject.is_some() || identity.tenant.is_some() => "token".into(),
                None => "none".into(),
            },
        },
    };
    (parts, info)
}

fn client(text: Option<&Spanned<String>>, fields: &mut Fields<'_>) -> SocketAddr {
    let default = SocketAddr::from(([192, 0, 2, 1], CLIENT_PORT));
    let Some(text) = text else { return default };
    let alone = IpAddr::from_str(text.get_ref()).map(|ip| SocketAddr::new(ip, CLIENT_PORT));
    alone
        .or_else(|_| text.get_ref().parse())
        .unwrap_or_else(|_| {
            let problem = Problem::new(text.span(), format!("{:?} is no address", text.get_ref()));
            fields.problem(problem.help("write an IP address, with or without a port"));
            default
        })
}

fn chunks(
    body: Option<&Any>,
    chunks: Option<&Spanned<Vec<Any>>>,
    fields: &mut Fields<'_>,
) -> Vec<Bytes> {
    match (body, chunks) {
        (Some(_), Some(chunks)) => {
            fields.problem(Problem::new(
                chunks.span(),
                "a message has `body` or `chunks`, not both",
            ));
            Vec::new()
        }
        (Some(body), None) => vec![values::body(body, fields)],
        (None, Some(chunks)) => chunks
            .get_ref()
            .iter()
            .map(|chunk| values::body(chunk, fields))
            .collect(),
        (None, None) => Vec::new(),
    }
}

fn status(value: Option<&Spanned<u64>>, fields: &mut Fields<'_>) -> Option<StatusCode> {
    let code = fields.count(Some(value?), 200, 100..=599);
    u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
}

fn response(raw: &RawResponse, fields: &mut Fields<'_>) -> ResponsePart {
    const SOURCES: [(&str, Source); 5] = [
        ("upstream", Source::Upstream),
        ("cache", Source::Cache),
        ("stale-cache", Source::StaleCache),
        ("fhe", Source::Fhe),
        ("local", Source::Local),
    ];
    ResponsePart {
        status: status(raw.status.as_ref(), fields),
        headers: values::headers(&raw.headers, fields),
        body: chunks(raw.body.as_ref(), raw.chunks.as_ref(), fields),
        source: fields.word(raw.source.as_ref(), &SOURCES, Source::Upstream),
    }
}

fn attempts(
    raw: Option<&[Spanned<RawAttempt>]>,
    source: Source,
    fields: &mut Fields<'_>,
) -> Vec<AttemptPart> {
    let Some(list) = raw else {
        let one = AttemptPart {
            status: None,
            error: None,
            latency_ms: 1,
        };
        return if source == Source::Upstream {
            vec![one]
        } else {
            Vec::new()
        };
    };
    if let (Some(first), Source::Cache | Source::Fhe | Source::Local) = (list.first(), source) {
        let problem = Problem::new(
            first.span(),
            "there is no attempt where the response is not the upstream's",
        );
        fields.problem(problem.help("take out the attempts, or `source` of the response"));
    }
    list.iter()
        .map(|attempt| {
            let raw = attempt.get_ref();
            if let (Some(status), Some(_)) = (&raw.status, &raw.error) {
                fields.problem(Problem::new(
                    status.span(),
                    "an attempt has `status` or `error`, not both",
                ));
            }
            AttemptPart {
                status: status(raw.status.as_ref(), fields),
                error: raw.error.clone(),
                latency_ms: raw.latency.map_or(1, |_| millis(raw.latency)),
            }
        })
        .collect()
}

fn expectation(raw: &RawExpect, fields: &mut Fields<'_>) -> Expectation {
    let decisions = Decision::ALL.map(|decision| (decision.name(), Some(decision)));
    let faults = FaultKind::ALL.map(|kind| (kind.label(), Some(kind)));
    for verdict in raw.verdicts.iter().flatten() {
        fields.word(
            Some(verdict),
            &["accept", "retry", "give-up"].map(|word| (word, ())),
            (),
        );
    }
    let request = &raw.request;
    Expectation {
        decision: fields.word(raw.decision.as_ref(), &decisions, None),
        fault: fields.word(raw.fault.as_ref(), &faults, None),
        status: status(raw.status.as_ref(), fields),
        headers: values::expected_headers(&raw.headers, fields),
        body: raw
            .body
            .as_ref()
            .and_then(|body| values::expected_body(body, fields)),
        method: request.method.clone(),
        path: request.path.clone(),
        authority: request.authority.clone(),
        request_headers: values::expected_headers(&request.headers, fields),
        request_body: request
            .body
            .as_ref()
            .and_then(|body| values::expected_body(body, fields)),
        upstream: raw.upstream.clone(),
        endpoint: raw.endpoint,
        hash_key: raw.hash_key,
        timeout_ms: raw.timeout.map(|_| millis(raw.timeout)),
        attempts: raw.attempts,
        verdicts: raw
            .verdicts
            .as_ref()
            .map(|list| list.iter().map(|text| text.get_ref().clone()).collect()),
        reasons: raw.reasons.clone(),
        cache: raw.cache.as_ref().map(|cache| CacheExpectation {
            bypass: cache.bypass,
            no_store: cache.no_store,
            key_body: cache.key_body,
            key: cache.key.clone(),
            ttl_ms: cache.ttl.map(|_| millis(cache.ttl)),
            stale_while_revalidate_ms: cache.stale_while_revalidate.map(|span| millis(Some(span))),
            stale_if_error_ms: cache.stale_if_error.map(|span| millis(Some(span))),
            tags: cache.tags.clone(),
        }),
        attrs: raw.attrs.clone().into_iter().collect(),
        log: raw.log.clone(),
        kv: raw
            .kv
            .iter()
            .filter_map(|entry| stored(entry, fields))
            .collect(),
        metrics: raw.metrics.clone().into_iter().collect(),
        calls: raw.calls,
        outbox: raw.outbox.as_ref().map(|records| {
            records
                .iter()
                .map(|record| expected_record(record, fields))
                .collect()
        }),
    }
}

fn expected_record(
    record: &RawExpectRecord,
    fields: &mut Fields<'_>,
) -> (String, Option<BodyExpectation>) {
    let body = record
        .body
        .as_ref()
        .and_then(|body| values::expected_body(body, fields));
    (record.kind.clone(), body)
}

fn stored(entry: &Spanned<RawExpectEntry>, fields: &mut Fields<'_>) -> Option<EntryExpectation> {
    let raw = entry.get_ref();
    let value = match (&raw.value, raw.absent) {
        (Some(value), false) => Some(values::expected_body(value, fields)?),
        (None, true) => None,
        _ => {
            let problem = Problem::new(entry.span(), "what is expected of this entry?");
            fields.problem(problem.help("write `value`, or `absent = true`"));
            return None;
        }
    };
    Some(EntryExpectation {
        store: raw.store.clone(),
        key: raw.key.clone(),
        value,
    })
}
