//! WASI preview 1 for core modules: enough for a language's runtime to start, and nothing that reaches the machine. Every name of it
//! can be imported; what is not here answers that there is no such file, or no such function.

mod files;

use wasmtime::{Caller, Linker};

use super::facts::Refusal;
use super::memory::{Guest, split};
use super::state::VmState;
use crate::error::HostRefusal;

pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// WASI's own error numbers.
pub(super) const SUCCESS: u32 = 0;
pub(super) const BAD_FILE: u32 = 8;
const FAULT: u32 = 21;
const INVALID: u32 = 28;
const NOT_THERE: u32 = 52;

/// One call of `random_get`: seeds are 8 to 64 bytes.
const MAX_RANDOM_BYTES: u32 = 4096;

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    link_environment(linker)?;
    link_time(linker)?;
    files::link(linker)
}

/// Writes or says that the guest pointed out of its memory.
pub(super) fn put(guest: &mut Guest<'_>, at: u32, bytes: &[u8]) -> u32 {
    let place = split(guest).ok().and_then(|(memory, _)| {
        let at = at as usize;
        memory.get_mut(at..at.checked_add(bytes.len())?)
    });
    match place {
        Some(place) => {
            place.copy_from_slice(bytes);
            SUCCESS
        }
        None => FAULT,
    }
}

/// No arguments, no environment.
fn link_environment(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    for name in ["environ_sizes_get", "args_sizes_get"] {
        linker.func_wrap(
            MODULE,
            name,
            |mut guest: Guest<'_>, count: u32, size: u32| {
                put(&mut guest, count, &[0; 4]) | put(&mut guest, size, &[0; 4])
            },
        )?;
    }
    for name in ["environ_get", "args_get"] {
        linker.func_wrap(MODULE, name, |_: u32, _: u32| SUCCESS)?;
    }
    linker.func_wrap(MODULE, "random_get", random)?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.func_wrap(MODULE, "proc_exit", |_: u32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg("the guest ended itself (proc_exit)"))
    })?;
    linker.func_wrap(MODULE, "proc_raise", |_: u32| NOT_THERE)?;
    Ok(())
}

fn random(mut guest: Guest<'_>, at: u32, len: u32) -> wasmtime::Result<u32> {
    if len > MAX_RANDOM_BYTES {
        return Err(HostRefusal("more than 4096 random bytes in one call").into());
    }
    let mut bytes = vec![0; len as usize];
    getrandom::fill(&mut bytes)
        .map_err(|_| wasmtime::Error::from(HostRefusal("the system gives no random bytes")))?;
    Ok(put(&mut guest, at, &bytes))
}

fn link_time(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut guest: Guest<'_>, id: u32, _precision: u64, at: u32| {
            let clock = &guest.data().base.shared.clock;
            let now = match id {
                0 => clock.wall_ms().saturating_mul(crate::clock::NANOS_PER_MS),
                1 => clock.monotonic_ns(),
                _ => return INVALID,
            };
            put(&mut guest, at, &now.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_res_get",
        |mut guest: Guest<'_>, _: u32, at: u32| {
            put(&mut guest, at, &crate::clock::NANOS_PER_MS.to_le_bytes())
        },
    )?;
    linker.func_wrap(MODULE, "poll_oneoff", poll)?;
    Ok(())
}

/// A guest that sleeps is told at once that the time has come: nobody waits here. One event, for its first subscription.
fn poll(mut guest: Guest<'_>, input: u32, output: u32, count: u32, count_at: u32) -> u32 {
    if count == 0 {
        return INVALID;
    }
    let mut event = [0; 32];
    let read = split(&mut guest).ok().and_then(|(memory, _)| {
        let at = input as usize;
        event[..8].copy_from_slice(memory.get(at..at.checked_add(8)?)?);
        Some(())
    });
    if read.is_none() {
        return FAULT;
    }
    put(&mut guest, output, &event) | put(&mut guest, count_at, &1_u32.to_le_bytes())
}

/// The first use of what is not there is logged.
pub(super) fn absent(guest: &Caller<'_, VmState>) {
    let state = guest.data();
    state.facts.refuse(&state.base.shared.policy, Refusal::Wasi);
}
