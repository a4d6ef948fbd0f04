//! Streams: in whose name the guest acts, what goes on, what is broken off.

use crate::proxy_wasm::abi::{Half, Status};
use crate::proxy_wasm::memory::{Answer, Guest};

pub(super) fn act_as(guest: &mut Guest<'_>, context: u32) -> Answer {
    known(guest.data_mut().act_as(context))
}

/// A context is deleted with its exchange, whatever the guest still meant to do.
pub(super) fn done(_: &mut Guest<'_>) -> Answer {
    Ok(())
}

pub(super) fn resume(guest: &mut Guest<'_>, stream: u32) -> Answer {
    let half = Half::from_guest(stream).ok_or(Status::BadArgument)?;
    known(guest.data_mut().resume(half))
}

pub(super) fn resume_request(guest: &mut Guest<'_>) -> Answer {
    known(guest.data_mut().resume(Half::Request))
}

pub(super) fn resume_response(guest: &mut Guest<'_>) -> Answer {
    known(guest.data_mut().resume(Half::Response))
}

/// The exchange is broken off.
pub(super) fn close(guest: &mut Guest<'_>, stream: u32) -> Answer {
    Half::from_guest(stream).ok_or(Status::BadArgument)?;
    let stream = guest.data_mut().acting().ok_or(Status::BadArgument)?;
    stream.closed = true;
    Ok(())
}

/// Routes are matched once, before any policy.
pub(super) fn clear_route(_: &mut Guest<'_>) -> Answer {
    Ok(())
}

fn known(known: bool) -> Answer {
    if known {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}
