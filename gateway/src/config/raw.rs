//! The file as written: serde types that refuse unknown keys. What a key means, its default and its range are in `check.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::values::{Size, Span};

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub server: RawServer,
    #[serde(default)]
    pub listener: Vec<Spanned<RawListener>>,
    pub admin: Option<RawAdmin>,
    #[serde(default)]
    pub limits: RawLimits,
    pub limits_store: Option<RawLimitsStore>,
    #[serde(default)]
    pub upstream: Vec<Spanned<RawUpstream>>,
    #[serde(default)]
    pub policy: Vec<Spanned<RawPolicy>>,
    #[serde(default)]
    pub policies: RawPolicies,
    #[serde(default)]
    pub route: Vec<Spanned<RawRoute>>,
    pub cache: Option<RawCache>,
    pub fhe: Option<Spanned<RawFhe>>,
    pub outbox: Option<Spanned<RawOutbox>>,
    pub sync: Option<Spanned<RawSync>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub name: Option<Text>,
    pub workers: Option<Spanned<u64>>,
    pub drain_timeout: Option<Span>,
    pub access_log: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub addr: Text,
    pub protocols: Option<Spanned<Vec<Text>>>,
    pub tls: Option<RawListenerTls>,
    pub alt_svc: Option<bool>,
    #[serde(default)]
    pub allow_plain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListenerTls {
    pub cert: String,
    pub key: String,
    pub client_ca: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    pub listen: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub max_connections: Option<Spanned<u64>>,
    pub max_exchanges: Option<Spanned<u64>>,
    pub tls_handshake_timeout: Option<Span>,
    pub header_timeout: Option<Span>,
    pub idle_timeout: Option<Span>,
    pub body_timeout: Option<Span>,
    pub max_headers: Option<Spanned<u64>>,
    pub max_header_bytes: Option<Spanned<Size>>,
    pub max_target_bytes: Option<Spanned<Size>>,
    pub max_body_bytes: Option<Size>,
    pub h2_max_streams: Option<Spanned<u64>>,
    pub h2_max_resets: Option<Spanned<u64>>,
    pub kv_max_bytes: Option<Spanned<Size>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimitsStore {
    pub url: Text,
    pub user: Option<Text>,
    pub password_file: Option<String>,
    pub ca: Option<Text>,
    pub prefix: Option<Text>,
    pub timeout: Option<Spanned<Span>>,
    pub on_unavailable: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub name: Text,
    #[serde(default)]
    pub endpoints: Vec<Text>,
    #[serde(default)]
    pub endpoint: Vec<RawEndpoint>,
    pub balance: Option<Text>,
    pub connect_timeout: Option<Span>,
    pub first_byte_timeout: Option<Span>,
    pub between_bytes_timeout: Option<Span>,
    pub idle_timeout: Option<Span>,
    pub max_connections: Option<Spanned<u64>>,
    pub retries: Option<Spanned<u64>>,
    #[serde(default)]
    pub tls: RawUpstreamTls,
    pub health: Option<RawHealth>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    pub url: Text,
    pub weight: Option<Spanned<u64>>,
    pub zone: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstreamTls {
    pub ca: Option<String>,
    pub server_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHealth {
    pub path: Text,
    pub interval: Option<Span>,
    pub timeout: Option<Span>,
    pub healthy_after: Option<Spanned<u64>>,
    pub unhealthy_after: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicies {
    pub cache_dir: Option<String>,
    pub cache_bytes: Option<Spanned<Size>>,
    pub watch: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub name: Text,
    pub module: String,
    pub digest: Option<Text>,
    pub canary: Option<RawCanary>,
    #[serde(default)]
    pub grants: Vec<Text>,
    pub limits: Option<Text>,
    #[serde(default)]
    pub kv_shared: Vec<Text>,
    #[serde(default)]
    pub calls: Vec<Text>,
    pub instances: Option<Spanned<u64>>,
    pub max_wait: Option<Spanned<Span>>,
    pub config: Option<Spanned<toml::Table>>,
    pub on_fault: Option<Text>,
    pub instance: Option<Text>,
    pub fuel: Option<Spanned<u64>>,
    pub max_memory_bytes: Option<Spanned<Size>>,
    pub deadline: Option<Span>,
    pub max_body_bytes: Option<Spanned<Size>>,
    pub tick: Option<Spanned<Span>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCanary {
    pub method: Option<Text>,
    pub path: Option<Text>,
    pub host: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<Text, Text>,
    pub expect: Option<Text>,
    pub status: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    pub name: Text,
    pub host: Option<Text>,
    pub path: Option<Text>,
    pub path_prefix: Option<Text>,
    #[serde(default)]
    pub methods: Vec<Text>,
    #[serde(default)]
    pub policies: Vec<Text>,
    pub upstream: Option<Text>,
    pub handler: Option<Text>,
    pub record: Option<Text>,
    pub max_body_bytes: Option<Size>,
    pub timeout: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCache {
    pub max_bytes: Option<Spanned<Size>>,
    pub max_object_bytes: Option<Spanned<Size>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFhe {
    pub keys_dir: String,
    pub programs_dir: String,
    pub jobs_dir: Option<String>,
    pub job_ttl: Option<Spanned<Span>>,
    pub counters_dir: Option<String>,
    pub max_streams: Option<Spanned<u64>>,
    pub job_store_bytes: Option<Spanned<Size>>,
    pub key_cache_bytes: Option<Size>,
    pub key_store_bytes: Option<Size>,
    pub program_memory_bytes: Option<Size>,
    pub max_request_bytes: Option<Size>,
    pub batch_size: Option<Spanned<u64>>,
    pub batch_wait: Option<Span>,
    pub batch_time: Option<Span>,
    pub max_queue: Option<Spanned<u64>>,
    pub max_tenant_queue: Option<Spanned<u64>>,
    pub queue_bytes: Option<Spanned<Size>>,
    pub max_wait: Option<Span>,
    pub threads: Option<Spanned<u64>>,
    pub devices: Option<Text>,
    pub device_key_memory: Option<Spanned<Size>>,
    pub nice: Option<Spanned<u64>>,
    pub key_ttl: Option<Spanned<Span>>,
    pub rotation_grace: Option<Spanned<Span>>,
    pub prewarm: Option<bool>,
    pub anonymous: Option<bool>,
    pub max_keys: Option<Spanned<u64>>,
    pub max_key_bytes: Option<Size>,
    pub priority: Option<Spanned<u64>>,
    #[serde(default)]
    pub tenant: Vec<RawFheTenant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFheTenant {
    pub name: Text,
    pub token_hash: Option<Text>,
    pub token_file: Option<String>,
    pub max_keys: Option<Spanned<u64>>,
    pub max_key_bytes: Option<Size>,
    pub priority: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutbox {
    pub dir: String,
    pub site: Text,
    pub quota_bytes: Option<Spanned<Size>>,
    pub min_free_bytes: Option<Size>,
    pub commit_wait: Option<Span>,
    pub seal_after: Option<Span>,
    pub hold: Option<Span>,
    pub durable_timeout: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSync {
    pub aggregator: Text,
    pub server_name: Text,
    pub ca: String,
    pub cert: String,
    pub key: String,
    pub rate_bytes_per_second: Option<Spanned<Size>>,
}
