//! Buffers: bodies while they pass, configurations, the body of a call's answer.

use crate::proxy_wasm::abi::{BufferId, Half, Status};
use crate::proxy_wasm::memory::{Answer, Guest, charge, give, put_u32, slice, split};
use crate::proxy_wasm::state::VmState;

/// What a filter may make of one body: what it holds back is bounded by the policy's `max_body_bytes`, what it writes by this.
pub(in crate::proxy_wasm) const MAX_WRITTEN_BYTES: usize = 8 << 20;

fn read(state: &VmState, id: BufferId) -> Option<&[u8]> {
    let acting = || state.stream.as_deref().filter(|_| state.is_acting());
    match id {
        BufferId::RequestBody => acting()?.request.body.as_deref(),
        BufferId::ResponseBody => acting()?.response.body.as_deref(),
        BufferId::CallResponseBody => state.reply.as_ref().map(|reply| reply.body()),
        BufferId::VmConfiguration => Some(&state.facts.settings.vm),
        BufferId::PluginConfiguration => Some(&state.facts.settings.plugin),
        BufferId::Absent => None,
    }
}

fn buffer(number: u32) -> Answer<BufferId> {
    Ok(BufferId::from_guest(number).ok_or(Status::BadArgument)?)
}

pub(super) fn bytes(
    guest: &mut Guest<'_>,
    number: u32,
    start: u32,
    max: u32,
    data_at: u32,
    size_at: u32,
) -> Answer {
    let id = buffer(number)?;
    let end = start.checked_add(max).ok_or(Status::BadArgument)?;
    let whole = read(guest.data(), id).ok_or(Status::NotFound)?;
    let end = (end as usize).min(whole.len());
    // A copy: the guest's allocator runs before the bytes are written, and may call the host.
    let part = whole.get(start as usize..end).unwrap_or_default().to_vec();
    give(guest, &part, data_at, size_at)
}

pub(super) fn configuration(guest: &mut Guest<'_>, data_at: u32, size_at: u32) -> Answer {
    let whole = guest.data().facts.clone();
    give(guest, &whole.settings.plugin, data_at, size_at)
}

pub(super) fn status(guest: &mut Guest<'_>, number: u32, size_at: u32, unused_at: u32) -> Answer {
    let id = buffer(number)?;
    let len = read(guest.data(), id).ok_or(Status::NotFound)?.len();
    put_u32(guest, size_at, len as u32)?;
    put_u32(guest, unused_at, 0)
}

/// The bytes from `start` on, `size` of them, become others; what is past the end is taken as the end.
pub(super) fn set(
    guest: &mut Guest<'_>,
    number: u32,
    start: u32,
    size: u32,
    data: u32,
    len: u32,
) -> Answer {
    let half = match buffer(number)? {
        BufferId::RequestBody => Half::Request,
        BufferId::ResponseBody => Half::Response,
        BufferId::CallResponseBody | BufferId::VmConfiguration | BufferId::PluginConfiguration => {
            return Err(Status::BadArgument.into());
        }
        BufferId::Absent => return Err(Status::NotFound.into()),
    };
    charge(guest, len as usize)?;
    let (memory, state) = split(guest)?;
    let bytes = slice(memory, data, len)?;
    let flow = state.acting().ok_or(Status::NotFound)?.flow(half);
    let body = flow.body.as_mut().ok_or(Status::NotFound)?;
    let start = (start as usize).min(body.len());
    let end = start.saturating_add(size as usize).min(body.len());
    if body.len() - (end - start) + bytes.len() > MAX_WRITTEN_BYTES {
        return Err(Status::BadArgument.into());
    }
    body.splice(start..end, bytes.iter().copied());
    flow.changed = true;
    let moved = body.len();
    charge(guest, moved)
}
