//! A test file as written: serde types that refuse unknown keys. What a key means is in docs/policy-test.md, and `file.rs` checks it.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

use crate::config::values::{Size, Span};

pub(super) type Text = Spanned<String>;
/// A body, an expectation, a header: text or a table; `values.rs` reads them.
pub(super) type Any = Spanned<Value>;
pub(super) type Named = BTreeMap<String, Any>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    #[serde(default)]
    pub policy: RawPolicy,
    #[serde(default)]
    pub clock: RawClock,
    #[serde(default)]
    pub upstream: Vec<RawUpstream>,
    #[serde(default)]
    pub call: Vec<Spanned<RawCall>>,
    #[serde(default)]
    pub exchange: Vec<Spanned<RawExchange>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub module: Option<String>,
    pub name: Option<String>,
    pub grants: Option<Vec<Text>>,
    pub config: Option<Spanned<toml::Table>>,
    #[serde(default)]
    pub kv_shared: Vec<String>,
    pub on_fault: Option<Text>,
    pub fuel: Option<Spanned<u64>>,
    pub max_memory_bytes: Option<Spanned<Size>>,
    pub max_body_bytes: Option<Spanned<Size>>,
    pub deadline: Option<Span>,
    pub refused: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClock {
    pub start: Option<Spanned<toml::value::Datetime>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub name: Text,
    pub endpoints: Option<Vec<RawEndpoint>>,
    #[serde(default)]
    pub rate: f64,
    #[serde(default)]
    pub error_rate: f64,
    pub p50: Option<Span>,
    pub p99: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    pub address: String,
    pub healthy: Option<bool>,
    pub weight: Option<u32>,
    #[serde(default)]
    pub in_flight: u32,
    pub ewma: Option<Span>,
    #[serde(default)]
    pub zone: String,
}

/// What an upstream answers to a call of the policy's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCall {
    pub upstream: String,
    #[serde(default)]
    pub request: RawExpectMessage,
    pub status: Option<Spanned<u64>>,
    #[serde(default)]
    pub headers: Named,
    pub body: Option<Any>,
    pub error: Option<Text>,
    pub delay: Option<Span>,
    pub times: Option<Spanned<u64>>,
}

/// A request of a policy's own, as far as it matters.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpectMessage {
    pub method: Option<String>,
    pub path: Option<String>,
    #[serde(default)]
    pub headers: Named,
    pub body: Option<Any>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpectRecord {
    pub kind: String,
    pub body: Option<Any>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExchange {
    pub name: Option<String>,
    pub advance: Option<Span>,
    pub repeat: Option<Spanned<u64>>,
    pub every: Option<Span>,
    #[serde(default)]
    pub tick: bool,
    #[serde(default)]
    pub request: RawRequest,
    pub attempt: Option<Vec<Spanned<RawAttempt>>>,
    #[serde(default)]
    pub response: RawResponse,
    #[serde(default)]
    pub call: Vec<Spanned<RawCall>>,
    pub outbox: Option<Text>,
    #[serde(default)]
    pub expect: RawExpect,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    pub method: Option<Text>,
    pub path: Option<Text>,
    pub authority: Option<Text>,
    #[serde(default)]
    pub headers: Named,
    pub body: Option<Any>,
    pub chunks: Option<Spanned<Vec<Any>>>,
    pub client: Option<Text>,
    #[serde(default)]
    pub identity: RawIdentity,
    pub protocol: Option<Text>,
    #[serde(default)]
    pub tls: bool,
    pub sni: Option<String>,
    pub route: Option<String>,
    pub upstream: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub tenant: Option<String>,
    pub subject: Option<String>,
    pub method: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttempt {
    pub status: Option<Spanned<u64>>,
    pub error: Option<String>,
    pub latency: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResponse {
    pub status: Option<Spanned<u64>>,
    #[serde(default)]
    pub headers: Named,
    pub body: Option<Any>,
    pub chunks: Option<Spanned<Vec<Any>>>,
    pub source: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    pub decision: Option<Text>,
    pub fault: Option<Text>,
    pub status: Option<Spanned<u64>>,
    #[serde(default)]
    pub headers: Named,
    pub body: Option<Any>,
    #[serde(default)]
    pub request: RawExpectRequest,
    pub upstream: Option<String>,
    pub endpoint: Option<u32>,
    pub hash_key: Option<u64>,
    pub timeout: Option<Span>,
    pub attempts: Option<u32>,
    pub verdicts: Option<Vec<Text>>,
    pub reasons: Option<Vec<String>>,
    pub cache: Option<RawExpectCache>,
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    #[serde(default)]
    pub log: Vec<String>,
    #[serde(default)]
    pub kv: Vec<Spanned<RawExpectEntry>>,
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    pub calls: Option<u64>,
    pub outbox: Option<Vec<RawExpectRecord>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpectEntry {
    pub store: String,
    pub key: String,
    pub value: Option<Any>,
    #[serde(default)]
    pub absent: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpectRequest {
    pub method: Option<String>,
    pub path: Option<String>,
    pub authority: Option<String>,
    #[serde(default)]
    pub headers: Named,
    pub body: Option<Any>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpectCache {
    pub bypass: Option<bool>,
    pub no_store: Option<bool>,
    pub key_body: Option<bool>,
    pub key: Option<Vec<String>>,
    pub ttl: Option<Span>,
    pub stale_while_revalidate: Option<Span>,
    pub stale_if_error: Option<Span>,
    pub tags: Option<Vec<String>>,
}
