//! Limiters and gates.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{defined, nothing, parsed, written};
use crate::primitives::{self, Algorithm, DefineError, Gate, Limiter, RateSpec, RateVerdict};
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::Answer;
use crate::proxy_wasm::state::VmState;

/// Limits that one request can be under at once.
const MAX_SHARES: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AlgorithmName {
    Gcra,
    SlidingWindow,
    FixedWindow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Define {
    name: String,
    limit: u64,
    per_ms: u64,
    algorithm: Option<AlgorithmName>,
    #[serde(default)]
    burst: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Take {
    limiter: String,
    key: String,
    #[serde(default = "one")]
    cost: u64,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peek {
    limiter: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settle {
    limiter: String,
    key: String,
    delta: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeAll {
    shares: Vec<Take>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefineGate {
    name: String,
    limit: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AtGate {
    gate: String,
    key: String,
}

#[derive(Serialize)]
struct Verdict {
    allowed: bool,
    remaining: u64,
    limit: u64,
    retry_after_ms: u64,
    reset_ms: u64,
    degraded: bool,
}

fn verdict(verdict: RateVerdict) -> Answer<Vec<u8>> {
    written(&Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        limit: verdict.limit,
        retry_after_ms: verdict.retry_after_ms,
        reset_ms: verdict.reset_ms,
        degraded: false,
    })
}

fn limiter(state: &VmState, name: &str) -> Answer<Arc<Limiter>> {
    let found = state.defined.limiters.get(name);
    Ok(found.cloned().ok_or(Status::NotFound)?)
}

fn gate(state: &VmState, name: &str) -> Answer<Arc<Gate>> {
    let found = state.defined.gates.get(name);
    Ok(found.cloned().ok_or(Status::NotFound)?)
}

pub(super) fn define(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Define = parsed(arguments)?;
    let algorithm = match wanted.algorithm {
        None | Some(AlgorithmName::Gcra) => Algorithm::Gcra,
        Some(AlgorithmName::SlidingWindow) => Algorithm::SlidingWindow,
        Some(AlgorithmName::FixedWindow) => Algorithm::FixedWindow,
    };
    let shared = &state.base.shared;
    let limiter = RateSpec::new(algorithm, wanted.limit, wanted.per_ms, wanted.burst)
        .map_err(DefineError::from)
        .and_then(|spec| shared.primitives.limiter(&shared.scope, &wanted.name, spec));
    defined::keep(&mut state.defined.limiters, shared, &wanted.name, limiter)?;
    nothing()
}

pub(super) fn take(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Take = parsed(arguments)?;
    let limiter = limiter(state, &wanted.limiter)?;
    verdict(limiter.take(&wanted.key, wanted.cost, state.base.now_ns()))
}

pub(super) fn peek(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Peek = parsed(arguments)?;
    let limiter = limiter(state, &wanted.limiter)?;
    verdict(limiter.peek(&wanted.key, state.base.now_ns()))
}

pub(super) fn settle(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Settle = parsed(arguments)?;
    let limiter = limiter(state, &wanted.limiter)?;
    limiter.settle(&wanted.key, wanted.delta, state.base.now_ns());
    nothing()
}

pub(super) fn take_all(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: TakeAll = parsed(arguments)?;
    if wanted.shares.len() > MAX_SHARES {
        return Err(Status::BadArgument.into());
    }
    let mut limiters = Vec::with_capacity(wanted.shares.len());
    for share in &wanted.shares {
        limiters.push(limiter(state, &share.limiter)?);
    }
    let shares: Vec<_> = limiters
        .iter()
        .zip(&wanted.shares)
        .map(|(limiter, share)| primitives::Share {
            limiter,
            key: &share.key,
            cost: share.cost,
        })
        .collect();
    let tightest = primitives::take_all(&shares, state.base.now_ns());
    verdict(tightest.ok_or(Status::BadArgument)?)
}

pub(super) fn define_gate(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: DefineGate = parsed(arguments)?;
    let shared = &state.base.shared;
    let gate = shared
        .primitives
        .gate(&shared.scope, &wanted.name, wanted.limit);
    defined::keep(&mut state.defined.gates, shared, &wanted.name, gate)?;
    nothing()
}

/// Without an exchange there is nothing that could end, so nothing can be entered.
pub(super) fn enter(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: AtGate = parsed(arguments)?;
    let gate = gate(state, &wanted.gate)?;
    let acting = state.is_acting();
    let exchange = &mut state.base.exchange;
    let may = acting && exchange.is_real() && exchange.permits.may_enter();
    let place = if may { gate.enter(&wanted.key) } else { None };
    let entered = place.is_some();
    if let Some(place) = place {
        exchange.permits.keep_place(place);
    }
    written(&serde_json::json!({ "entered": entered }))
}

pub(super) fn in_flight(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: AtGate = parsed(arguments)?;
    let in_flight = gate(state, &wanted.gate)?.in_flight(&wanted.key);
    written(&serde_json::json!({ "in_flight": in_flight }))
}
