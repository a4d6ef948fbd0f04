//! `proxy_call_foreign_function`: the host's primitives, by name, with JSON in and out. docs/proxy-wasm.md is what this keeps to.

mod breakers;
mod defined;
mod kv;
mod limits;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use defined::Defined;

use super::abi::Status;
use super::memory::{Answer, Guest, charge, give, slice, split, text};
use super::state::VmState;
use crate::spec::Grant;

/// Arguments: a value of a key-value store, and what is around it.
const MAX_ARGUMENT_BYTES: u32 = 2 << 20;

/// One function: takes JSON, gives JSON.
type Function = fn(&mut VmState, &[u8]) -> Answer<Vec<u8>>;

fn function(name: &str) -> Option<(Grant, Function)> {
    Some(match name.strip_prefix("veilgate.")? {
        "limiter.define" => (Grant::Limits, limits::define),
        "limiter.take" => (Grant::Limits, limits::take),
        "limiter.peek" => (Grant::Limits, limits::peek),
        "limiter.settle" => (Grant::Limits, limits::settle),
        "limiter.take_all" => (Grant::Limits, limits::take_all),
        "gate.define" => (Grant::Limits, limits::define_gate),
        "gate.enter" => (Grant::Limits, limits::enter),
        "gate.in_flight" => (Grant::Limits, limits::in_flight),
        "kv.get" => (Grant::Kv, kv::read),
        "kv.set" => (Grant::Kv, kv::set),
        "kv.cas" => (Grant::Kv, kv::cas),
        "kv.delete" => (Grant::Kv, kv::delete),
        "kv.incr" => (Grant::Kv, kv::incr),
        "breaker.define" => (Grant::Breakers, breakers::define),
        "breaker.admit" => (Grant::Breakers, breakers::admit),
        "breaker.state" => (Grant::Breakers, breakers::state),
        "breaker.force" => (Grant::Breakers, breakers::force),
        _ => return None,
    })
}

pub(super) fn call(
    guest: &mut Guest<'_>,
    name: u32,
    name_size: u32,
    arguments: u32,
    size: u32,
    data_at: u32,
    size_at: u32,
) -> Answer {
    charge(guest, size as usize)?;
    let (memory, state) = split(guest)?;
    let name = text(memory, name, name_size)?;
    let arguments = slice(memory, arguments, size)?;
    let (grant, function) = function(name).ok_or(Status::NotFound)?;
    state.granted(grant)?;
    if size > MAX_ARGUMENT_BYTES {
        return Err(Status::BadArgument.into());
    }
    let result = function(state, arguments)?;
    give(guest, &result, data_at, size_at)
}

fn parsed<T: DeserializeOwned>(arguments: &[u8]) -> Answer<T> {
    Ok(serde_json::from_slice(arguments).map_err(|_| Status::BadArgument)?)
}

fn written(result: &impl Serialize) -> Answer<Vec<u8>> {
    Ok(serde_json::to_vec(result).map_err(|_| Status::InternalFailure)?)
}

/// Done, and nothing to tell.
fn nothing() -> Answer<Vec<u8>> {
    Ok(b"{}".to_vec())
}
