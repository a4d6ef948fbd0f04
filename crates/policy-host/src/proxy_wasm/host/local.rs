//! `proxy_send_local_response`: a filter answers instead of the upstream.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, StatusCode};

use super::headers::local_fields;
use crate::decision::LocalResponse;
use crate::host::convert::MAX_LOCAL_BODY_BYTES;
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::{Answer, Guest, charge, slice, split};

/// No gRPC status: it is not an answer to a gRPC call.
const NO_GRPC: u32 = u32::MAX;

/// Eight arguments are the ABI's.
#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
pub(super) fn respond(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: u32,
) -> Answer {
    charge(guest, body_size as usize)?;
    charge(guest, headers_size as usize)?;
    let (memory, state) = split(guest)?;
    slice(memory, details, details_size)?;
    let status = status_code(status)?;
    let body = slice(memory, body, body_size)?;
    if body.len() > MAX_LOCAL_BODY_BYTES {
        return Err(Status::BadArgument.into());
    }
    let mut headers =
        local_fields(slice(memory, headers, headers_size)?).ok_or(Status::BadArgument)?;
    if grpc_status != NO_GRPC {
        grpc(&mut headers, grpc_status);
    }
    let body = Bytes::copy_from_slice(body);
    let response = LocalResponse {
        status,
        headers,
        body,
    };
    if state.respond(response) {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}

/// What a component may answer, too: final, and a status.
fn status_code(status: u32) -> Answer<StatusCode> {
    let status = u16::try_from(status)
        .ok()
        .filter(|status| (200..600).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok());
    Ok(status.ok_or(Status::BadArgument)?)
}

/// A response that is all trailers, as gRPC's clients know it.
fn grpc(headers: &mut HeaderMap, status: u32) {
    headers.insert("grpc-status", HeaderValue::from(status));
    headers
        .entry(http::header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/grpc"));
}
