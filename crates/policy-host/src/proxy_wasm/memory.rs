//! The guest's memory: what it points at is read within its bounds, and what it is given is put where its own allocator says.

use wasmtime::{Caller, Extern, Memory, TypedFunc};

use super::abi::Status;
use super::state::VmState;
use crate::error::HostRefusal;

pub(super) type Guest<'a> = Caller<'a, VmState>;

/// Copying is not Wasm, but it is work: from here on it costs fuel, a unit for so many bytes.
const BYTES_PER_FUEL: usize = 16;
/// What is copied for the price of the call itself.
const FREE_BYTES: usize = 4096;

/// Why a host function did not do what it was asked.
pub(super) enum Stop {
    /// The guest is told.
    Status(Status),
    /// The call ends.
    Trap(wasmtime::Error),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Stop::Status(status)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Stop::Trap(error)
    }
}

pub(super) type Answer<T = ()> = Result<T, Stop>;

/// What the guest's call returns.
pub(super) fn settled(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Stop::Status(status)) => Ok(status as u32),
        Err(Stop::Trap(error)) => Err(error),
    }
}

/// The memory and the allocator of one instance: looked up once. Start functions run before they are known.
#[derive(Default)]
pub(super) struct Links {
    memory: Option<Memory>,
    allocate: Option<TypedFunc<u32, u32>>,
    /// The guest's allocator is running: it may call host functions, but none that allocates.
    allocating: bool,
}

impl Links {
    pub(super) fn new(memory: Memory, allocate: Option<TypedFunc<u32, u32>>) -> Self {
        Self {
            memory: Some(memory),
            allocate,
            allocating: false,
        }
    }
}

/// The memory's bytes and the state, at once.
pub(super) fn split<'c>(guest: &'c mut Guest<'_>) -> Answer<(&'c mut [u8], &'c mut VmState)> {
    let memory = match guest.data().links.memory {
        Some(memory) => memory,
        // A start function calls a host function: the instance is not known yet, but its memory can be found.
        None => guest
            .get_export("memory")
            .and_then(Extern::into_memory)
            .ok_or(Status::InvalidMemory)?,
    };
    Ok(memory.data_and_store_mut(guest))
}

/// What a guest points at.
pub(super) fn slice(memory: &[u8], at: u32, len: u32) -> Answer<&[u8]> {
    let (at, len) = (at as usize, len as usize);
    let end = at.checked_add(len).ok_or(Status::InvalidMemory)?;
    Ok(memory.get(at..end).ok_or(Status::InvalidMemory)?)
}

/// The same as text.
pub(super) fn text(memory: &[u8], at: u32, len: u32) -> Answer<&str> {
    Ok(std::str::from_utf8(slice(memory, at, len)?).map_err(|_| Status::BadArgument)?)
}

fn put<const N: usize>(memory: &mut [u8], at: u32, bytes: [u8; N]) -> Answer {
    let at = at as usize;
    let end = at.checked_add(N).ok_or(Status::InvalidMemory)?;
    memory
        .get_mut(at..end)
        .ok_or(Status::InvalidMemory)?
        .copy_from_slice(&bytes);
    Ok(())
}

pub(super) fn put_u32(guest: &mut Guest<'_>, at: u32, value: u32) -> Answer {
    put(split(guest)?.0, at, value.to_le_bytes())
}

pub(super) fn put_u64(guest: &mut Guest<'_>, at: u32, value: u64) -> Answer {
    put(split(guest)?.0, at, value.to_le_bytes())
}

/// Pays for work that the host does on the guest's word.
pub(super) fn charge(guest: &mut Guest<'_>, bytes: usize) -> Answer {
    if bytes <= FREE_BYTES {
        return Ok(());
    }
    let cost = (bytes / BYTES_PER_FUEL) as u64;
    match guest.get_fuel()?.checked_sub(cost) {
        Some(left) => Ok(guest.set_fuel(left)?),
        None => Err(Stop::Trap(wasmtime::Trap::OutOfFuel.into())),
    }
}

/// Hands bytes over: in a place that the guest's allocator gives, and belongs to the guest from now on. Never asks it for 0 bytes:
/// the Go SDK panics.
pub(super) fn give(guest: &mut Guest<'_>, bytes: &[u8], data_at: u32, size_at: u32) -> Answer {
    let len = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
    // Before anything is allocated that nobody would free.
    let (memory, _) = split(guest)?;
    put(memory, size_at, len.to_le_bytes())?;
    put(memory, data_at, 0_u32.to_le_bytes())?;
    if len == 0 {
        return Ok(());
    }
    charge(guest, bytes.len())?;
    let at = allocate(guest, len)?;
    let (memory, _) = split(guest)?;
    let place = (at as usize)
        .checked_add(bytes.len())
        .and_then(|end| memory.get_mut(at as usize..end))
        .filter(|_| at != 0)
        .ok_or_else(|| refused("its allocator answered an address that is not in its memory"))?;
    place.copy_from_slice(bytes);
    put(memory, data_at, at.to_le_bytes())?;
    put(memory, size_at, len.to_le_bytes())
}

fn allocate(guest: &mut Guest<'_>, len: u32) -> Answer<u32> {
    let links = &mut guest.data_mut().links;
    if links.allocating {
        return Err(refused(
            "its allocator called a host function that allocates",
        ));
    }
    let Some(allocate) = links.allocate.clone() else {
        return Err(refused(
            "it has no allocator (`proxy_on_memory_allocate` or `malloc`), or used it before it was started",
        ));
    };
    links.allocating = true;
    let answer = allocate.call(&mut *guest, len);
    guest.data_mut().links.allocating = false;
    Ok(answer?)
}

pub(super) fn refused(what: &'static str) -> Stop {
    Stop::Trap(HostRefusal(what).into())
}
