//! Breakers. There is no callback for an attempt, so nothing here takes a permit.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::{defined, nothing, parsed, written};
use crate::primitives::{Admission, Breaker, CircuitState, RawCircuitSpec};
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::Answer;
use crate::proxy_wasm::state::VmState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Define {
    name: String,
    window_ms: u64,
    min_calls: u32,
    failure_rate: f32,
    slow_call_ms: u64,
    slow_rate: f32,
    open_for_ms: u64,
    probes: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    breaker: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StateName {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Force {
    breaker: String,
    key: String,
    state: StateName,
    for_ms: u64,
}

fn breaker(state: &VmState, name: &str) -> Answer<Arc<Breaker>> {
    let found = state.defined.breakers.get(name);
    Ok(found.cloned().ok_or(Status::NotFound)?)
}

pub(super) fn define(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Define = parsed(arguments)?;
    let raw = RawCircuitSpec {
        window_ms: wanted.window_ms,
        min_calls: wanted.min_calls,
        failure_rate: wanted.failure_rate,
        slow_call_ms: wanted.slow_call_ms,
        slow_rate: wanted.slow_rate,
        open_for_ms: wanted.open_for_ms,
        probes: wanted.probes,
    };
    let shared = &state.base.shared;
    let breaker = shared.primitives.breaker(&shared.scope, &wanted.name, raw);
    defined::keep(&mut state.defined.breakers, shared, &wanted.name, breaker)?;
    nothing()
}

pub(super) fn admit(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: At = parsed(arguments)?;
    let breaker = breaker(state, &wanted.breaker)?;
    written(
        &match breaker.would_admit(&wanted.key, state.base.now_ns()) {
            Admission::Pass => json!({ "admission": "pass" }),
            Admission::Probe => json!({ "admission": "probe" }),
            Admission::Refuse { retry_after_ms } => {
                json!({ "admission": "refuse", "retry_after_ms": retry_after_ms })
            }
        },
    )
}

pub(super) fn state(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: At = parsed(arguments)?;
    let breaker = breaker(state, &wanted.breaker)?;
    let name = match breaker.state(&wanted.key, state.base.now_ns()) {
        CircuitState::Closed => "closed",
        CircuitState::Open => "open",
        CircuitState::HalfOpen => "half-open",
    };
    written(&json!({ "state": name }))
}

pub(super) fn force(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Force = parsed(arguments)?;
    let forced = match wanted.state {
        StateName::Closed => CircuitState::Closed,
        StateName::Open => CircuitState::Open,
        StateName::HalfOpen => CircuitState::HalfOpen,
    };
    let now = state.base.now_ns();
    breaker(state, &wanted.breaker)?.force(&wanted.key, forced, wanted.for_ms, now);
    nothing()
}
