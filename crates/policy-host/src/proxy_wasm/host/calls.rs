//! Calls of other services. gRPC is not offered: it answers that it failed, as a service that cannot be reached does.

use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::facts::Refusal;
use crate::proxy_wasm::memory::{Answer, Guest, charge, give, put_u32, slice, split, text};

#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn http(
    guest: &mut Guest<'_>,
    upstream: u32,
    upstream_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout_ms: u32,
    token_at: u32,
) -> Answer {
    charge(guest, body_size as usize)?;
    let (memory, state) = split(guest)?;
    let _ = (
        text(memory, upstream, upstream_size)?,
        slice(memory, headers, headers_size)?,
        slice(memory, body, body_size)?,
        slice(memory, trailers, trailers_size)?,
        timeout_ms,
    );
    let policy = &state.base.shared.policy;
    state.facts.refuse(policy, Refusal::HttpCall);
    put_u32(guest, token_at, 0)?;
    Err(Status::InternalFailure.into())
}

/// Of the last gRPC call: there was none.
pub(super) fn status(guest: &mut Guest<'_>, code_at: u32, data_at: u32, size_at: u32) -> Answer {
    put_u32(guest, code_at, 0)?;
    give(guest, &[], data_at, size_at)
}

fn no_grpc(guest: &Guest<'_>) -> u32 {
    let state = guest.data();
    state.facts.refuse(&state.base.shared.policy, Refusal::Grpc);
    Status::InternalFailure as u32
}

#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn grpc_call(
    guest: Guest<'_>,
    _upstream: u32,
    _upstream_size: u32,
    _service: u32,
    _service_size: u32,
    _method: u32,
    _method_size: u32,
    _metadata: u32,
    _metadata_size: u32,
    _message: u32,
    _message_size: u32,
    _timeout_ms: u32,
    _call_at: u32,
) -> u32 {
    no_grpc(&guest)
}

#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn grpc_stream(
    guest: Guest<'_>,
    _upstream: u32,
    _upstream_size: u32,
    _service: u32,
    _service_size: u32,
    _method: u32,
    _method_size: u32,
    _metadata: u32,
    _metadata_size: u32,
    _stream_at: u32,
) -> u32 {
    no_grpc(&guest)
}

/// There is no call that this could be about.
pub(super) fn grpc_send(
    _: &mut Guest<'_>,
    _id: u32,
    _message: u32,
    _size: u32,
    _end: u32,
) -> Answer {
    Err(Status::NotFound.into())
}

pub(super) fn grpc_end(_: &mut Guest<'_>, _id: u32) -> Answer {
    Err(Status::NotFound.into())
}
