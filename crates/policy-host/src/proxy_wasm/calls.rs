//! Calls that filters begin. Each goes on by itself; its answer waits in the mailbox of the stream that it was begun for, or of the root
//! context, until the guest can be told.

use std::sync::Arc;

use super::reply::Reply;
use super::state::VmState;
use super::stream::Mailbox;
use crate::services::OutboundCall;

/// Calls of one exchange, and of one root context at a time: as many as a component's hook may begin.
const MAX_CALLS: u32 = 8;

/// Why a call was not begun.
pub(super) enum NotBegun {
    /// The policy may not call this upstream.
    Upstream,
    /// There are too many, or nobody who would send it.
    Limit,
}

/// The token by which the guest will know the answer.
pub(super) fn begin(state: &mut VmState, call: OutboundCall) -> Result<u32, NotBegun> {
    let shared = state.base.shared.clone();
    if !shared.calls.contains(&call.upstream) {
        return Err(NotBegun::Upstream);
    }
    let service = shared.services.calls.as_ref().ok_or(NotBegun::Limit)?;
    let mailbox = recipient(state);
    if mailbox.calls() >= MAX_CALLS {
        return Err(NotBegun::Limit);
    }
    let place = shared.calls_in_flight.clone().try_acquire_owned();
    let place = place.map_err(|_| NotBegun::Limit)?;
    // While a VM is started there is no runtime: nothing outside can be asked then.
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| NotBegun::Limit)?;
    let token = state.new_token();
    let sending = service.send(call);
    mailbox.call_began();
    runtime.spawn(async move {
        let reply = Reply::of(sending.await);
        drop(place);
        mailbox.call_ended(token, reply);
    });
    Ok(token)
}

/// Who is to be told: the stream that the guest acts for, else the root context.
fn recipient(state: &mut VmState) -> Arc<Mailbox> {
    let stream = state.streams.get(&state.effective);
    stream.unwrap_or(&state.root_mailbox).clone()
}
