//! Time, and how often the guest wants to hear of it.

use crate::clock::NANOS_PER_MS;
use crate::proxy_wasm::memory::{Answer, Guest, put_u64};

pub(super) fn now(guest: &mut Guest<'_>, time_at: u32) -> Answer {
    let wall_ms = guest.data().base.shared.clock.wall_ms();
    put_u64(guest, time_at, wall_ms.saturating_mul(NANOS_PER_MS))
}

/// 0 ends it.
pub(super) fn tick_period(guest: &mut Guest<'_>, ms: u32) -> Answer {
    guest.data_mut().tick_ms = ms;
    Ok(())
}
