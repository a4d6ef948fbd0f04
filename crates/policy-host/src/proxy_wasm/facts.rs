//! What all VMs of one policy have in common: configurations, grants, metrics, queues, and what was refused.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde_json::Value;

use super::meters::Meters;
use super::queues::Queues;
use crate::spec::Grant;

/// What the guest is configured with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) plugin: Vec<u8>,
    pub(super) vm: Vec<u8>,
    pub(super) root_id: String,
    pub(super) vm_id: String,
    pub(super) request_body: BodyMode,
    pub(super) response_body: BodyMode,
}

/// How body callbacks get a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BodyMode {
    /// Piece by piece, as it passes.
    #[default]
    Stream,
    /// Once, when all of it is there.
    Whole,
    /// Not at all.
    None,
}

/// The form of a policy's configuration that says more than the plugin's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    plugin: Value,
    #[serde(default)]
    vm: Option<Value>,
    #[serde(default)]
    root_id: String,
    #[serde(default)]
    vm_id: String,
    #[serde(default)]
    request_body: BodyMode,
    #[serde(default)]
    response_body: BodyMode,
}

impl Settings {
    pub(super) fn of(config_json: &str) -> Self {
        if let Ok(wrapped) = serde_json::from_str::<Wrapped>(config_json) {
            return Self {
                plugin: bytes(wrapped.plugin),
                vm: wrapped.vm.map(bytes).unwrap_or_default(),
                root_id: wrapped.root_id,
                vm_id: wrapped.vm_id,
                request_body: wrapped.request_body,
                response_body: wrapped.response_body,
            };
        }
        let plugin = match config_json.trim() {
            "" | "{}" | "null" => Vec::new(),
            whole => whole.as_bytes().to_vec(),
        };
        Self {
            plugin,
            ..Self::default()
        }
    }
}

/// Text as it is, anything else as JSON.
fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

pub(super) struct Facts {
    pub(super) settings: Settings,
    pub(super) grants: Vec<Grant>,
    pub(super) meters: Meters,
    pub(super) queues: Queues,
    refusals: [AtomicU64; Refusal::ALL.len()],
}

/// What a filter asked for and did not get, though it may import it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Limits,
    Breakers,
    Kv,
    HttpCall,
    Grpc,
    Tcp,
    Metric,
    Wasi,
}

impl Refusal {
    const ALL: [Refusal; 8] = [
        Refusal::Limits,
        Refusal::Breakers,
        Refusal::Kv,
        Refusal::HttpCall,
        Refusal::Grpc,
        Refusal::Tcp,
        Refusal::Metric,
        Refusal::Wasi,
    ];

    pub(super) fn of_grant(grant: Grant) -> Option<Self> {
        match grant.name() {
            "limits" => Some(Refusal::Limits),
            "breakers" => Some(Refusal::Breakers),
            "kv" => Some(Refusal::Kv),
            "http-call" => Some(Refusal::HttpCall),
            _ => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Refusal::Limits => "limits",
            Refusal::Breakers => "breakers",
            Refusal::Kv => "kv",
            Refusal::HttpCall => "http-call",
            Refusal::Grpc => "grpc",
            Refusal::Tcp => "tcp",
            Refusal::Metric => "metric",
            Refusal::Wasi => "wasi",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Refusal::Limits | Refusal::Breakers | Refusal::Kv | Refusal::HttpCall => {
                "it was not granted: add it to the policy's `grants`"
            }
            Refusal::Grpc => "this gateway makes no gRPC calls for policies",
            Refusal::Tcp => "policies see HTTP only",
            Refusal::Metric => "its name cannot be shown, or there are too many",
            Refusal::Wasi => "policies have no files, sockets or processes",
        }
    }
}

impl Facts {
    pub(super) fn new(settings: Settings, grants: Vec<Grant>) -> Self {
        Self {
            settings,
            grants,
            meters: Meters::default(),
            queues: Queues::default(),
            refusals: Default::default(),
        }
    }

    /// Counted each time, logged the first time.
    pub(super) fn refuse(&self, policy: &str, refusal: Refusal) {
        let before = self.refusals[refusal as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!("gateway_policy_refusals_total",
            "policy" => policy.to_owned(), "what" => refusal.label())
        .increment(1);
        if before == 0 {
            tracing::warn!(target: "policy", policy, what = refusal.label(), advice = refusal.advice(),
                "the policy asked for something that it does not get");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, plugin: &str, vm: &str) {
        let settings = Settings::of(config);
        assert_eq!(settings.plugin, plugin.as_bytes(), "{config}");
        assert_eq!(settings.vm, vm.as_bytes(), "{config}");
    }

    #[test]
    fn the_plugin_s_configuration_is_the_whole_or_what_the_wrapper_holds() {
        check("{}", "", "");
        check(" null ", "", "");
        check(r#"{"a":1}"#, r#"{"a":1}"#, "");
        check(r#""text""#, r#""text""#, "");
        check(r#"{"plugin":"text"}"#, "text", "");
        check(r#"{"plugin":{"a":[1]},"vm":"v"}"#, r#"{"a":[1]}"#, "v");
        // A key that the wrapper does not have: it is a configuration that happens to have a plugin.
        check(
            r#"{"plugin":"x","other":1}"#,
            r#"{"plugin":"x","other":1}"#,
            "",
        );
        assert_eq!(Settings::of(r#"{"plugin":"","root_id":"r"}"#).root_id, "r");
    }
}
