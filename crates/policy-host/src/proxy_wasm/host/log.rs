//! `proxy_log`: lines for the gateway's log, within the budget that every policy has.

use tracing::Level;

use crate::bindings::veilgate::policy::log::{self, Host, Level as Line};
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::{Answer, Guest, charge, put_u32, slice, split};

/// Bytes of a message that are looked at: longer ones are over the budget of a call anyway.
const MAX_MESSAGE_BYTES: u32 = 64 * 1024;

pub(super) fn write(guest: &mut Guest<'_>, level: u32, data: u32, size: u32) -> Answer {
    let level = line_level(level).ok_or(Status::BadArgument)?;
    let (memory, state) = split(guest)?;
    let message = slice(memory, data, size)?;
    if level == Line::Error {
        state.note_complaint(message);
    }
    if size > MAX_MESSAGE_BYTES || !state.base.enabled(level)? {
        return Ok(());
    }
    let message = String::from_utf8_lossy(message).into_owned();
    state.base.write(level, message)?;
    charge(guest, size as usize)
}

/// Critical is an error, too.
fn line_level(level: u32) -> Option<log::Level> {
    Some(match level {
        0 => Line::Trace,
        1 => Line::Debug,
        2 => Line::Info,
        3 => Line::Warn,
        4 | 5 => Line::Error,
        _ => return None,
    })
}

/// The lowest level that reaches the log.
pub(super) fn level(guest: &mut Guest<'_>, level_at: u32) -> Answer {
    let lowest = [
        tracing::enabled!(target: "policy", Level::TRACE),
        tracing::enabled!(target: "policy", Level::DEBUG),
        tracing::enabled!(target: "policy", Level::INFO),
        tracing::enabled!(target: "policy", Level::WARN),
    ];
    let level = lowest.iter().position(|enabled| *enabled).unwrap_or(4);
    put_u32(guest, level_at, level as u32)
}
