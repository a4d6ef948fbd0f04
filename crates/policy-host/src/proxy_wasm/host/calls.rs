//! Calls of other services. gRPC is not offered: it answers that it failed, as a service that cannot be reached does.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;

use super::headers::local_fields;
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::calls::{self, NotBegun};
use crate::proxy_wasm::facts::Refusal;
use crate::proxy_wasm::maps;
use crate::proxy_wasm::memory::{Answer, Guest, charge, give, put_u32, slice, split, text};
use crate::services::OutboundCall;
use crate::spec::Grant;

/// A request's body, and a reply's: documents, not downloads.
const MAX_CALL_BODY_BYTES: usize = 1 << 20;
/// A path with its query.
const MAX_PATH_BYTES: usize = 8 * 1024;

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
    charge(guest, headers_size as usize)?;
    put_u32(guest, token_at, 0)?;
    let (memory, state) = split(guest)?;
    let upstream = text(memory, upstream, upstream_size)?;
    let headers = slice(memory, headers, headers_size)?;
    let body = slice(memory, body, body_size)?;
    slice(memory, trailers, trailers_size)?;
    state.granted(Grant::HttpCall)?;
    let call = outgoing(
        upstream,
        headers,
        body,
        timeout_ms,
        state.base.shared.max_wait,
    );
    let begun = calls::begin(state, call.ok_or(Status::BadArgument)?);
    let token = begun.map_err(|not| match not {
        NotBegun::Upstream => Status::BadArgument,
        NotBegun::Limit => Status::InternalFailure,
    })?;
    put_u32(guest, token_at, token)
}

/// None: not a request. Its authority is the upstream's, whatever `:authority` says.
fn outgoing(
    upstream: &str,
    headers: &[u8],
    body: &[u8],
    timeout_ms: u32,
    max_wait: Duration,
) -> Option<OutboundCall> {
    let pseudo = maps::parsed(headers)?;
    let find = |name: &[u8]| {
        let found = pseudo.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    };
    let method = Method::from_bytes(find(b":method")?).ok()?;
    let path =
        find(b":path").filter(|path| path.starts_with(b"/") && path.len() <= MAX_PATH_BYTES)?;
    if method == Method::CONNECT || body.len() > MAX_CALL_BODY_BYTES {
        return None;
    }
    let timeout = match timeout_ms {
        0 => max_wait,
        ms => Duration::from_millis(ms.into()).min(max_wait),
    };
    Some(OutboundCall {
        upstream: upstream.to_owned(),
        method,
        path_and_query: PathAndQuery::try_from(path).ok()?,
        headers: local_fields(headers)?,
        body: Bytes::copy_from_slice(body),
        timeout,
        max_reply_bytes: MAX_CALL_BODY_BYTES,
    })
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
