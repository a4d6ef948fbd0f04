//! Metrics. Their values are the policy's, whichever VM counts.

use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::facts::Refusal;
use crate::proxy_wasm::memory::{Answer, Guest, put_u32, put_u64, split, text};
use crate::proxy_wasm::meters::Kind;

pub(super) fn define(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32, id_at: u32) -> Answer {
    let kind = match kind {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => Kind::Histogram,
        _ => return Err(Status::BadArgument.into()),
    };
    let (memory, state) = split(guest)?;
    let name = text(memory, name, size)?;
    let defined = state.facts.meters.define(&state.base.shared, kind, name);
    let Some(id) = defined else {
        state
            .facts
            .refuse(&state.base.shared.policy, Refusal::Metric);
        return Err(Status::BadArgument.into());
    };
    put_u32(guest, id_at, id)
}

pub(super) fn record(guest: &mut Guest<'_>, id: u32, value: u64) -> Answer {
    known(guest.data().facts.meters.record(id, value))
}

pub(super) fn increment(guest: &mut Guest<'_>, id: u32, delta: i64) -> Answer {
    known(guest.data().facts.meters.increment(id, delta))
}

pub(super) fn read(guest: &mut Guest<'_>, id: u32, value_at: u32) -> Answer {
    let value = guest.data().facts.meters.value(id);
    put_u64(guest, value_at, value.ok_or(Status::NotFound)?)
}

fn known(known: bool) -> Answer {
    if known {
        Ok(())
    } else {
        Err(Status::NotFound.into())
    }
}
