//! Properties: read by path, or set for the rest of the exchange.

use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::{Answer, Guest, give, slice, split};
use crate::proxy_wasm::properties;

pub(super) fn read(
    guest: &mut Guest<'_>,
    path: u32,
    path_size: u32,
    data_at: u32,
    size_at: u32,
) -> Answer {
    let (memory, state) = split(guest)?;
    let path = slice(memory, path, path_size)?;
    let value = properties::find(state, path).ok_or(Status::NotFound)?;
    let value = value.into_owned();
    give(guest, &value, data_at, size_at)
}

/// Only a stream has properties of its own.
pub(super) fn set(
    guest: &mut Guest<'_>,
    path: u32,
    path_size: u32,
    value: u32,
    size: u32,
) -> Answer {
    let (memory, state) = split(guest)?;
    let (path, value) = (slice(memory, path, path_size)?, slice(memory, value, size)?);
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let stream = state.acting().ok_or(Status::NotFound)?;
    if stream.properties.put(path, value) {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}
