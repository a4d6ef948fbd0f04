//! The memory of a guest that is called directly, read and written as the canonical ABI says. Every pointer, length and text that a
//! guest gives is held against its memory before anything is done with it; what the host copies for one call is bounded.

use smallvec::SmallVec;
use wasmtime::{AsContextMut, Memory, StoreContextMut, TypedFunc};

use super::abi::{Load, Place, Save};
use crate::state::HostState;

/// The room that the largest type takes which the host answers with: everything about a request.
const LARGEST: usize = 96;
/// Longer lists are put together on the heap: eight verdicts, or a dozen fields.
const LIST_IN_PLACE: usize = 384;

/// `cabi_realloc`: old pointer, old size, alignment, new size.
type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// What the host has of a guest. Away while the guest's allocator or clean-up runs: what they call out meanwhile finds nothing, and
/// traps, as the canonical ABI demands.
#[derive(Default)]
pub(crate) struct Guest {
    /// None: it has none, or its start function runs, which may only call what needs none.
    pub(super) memory: Option<Memory>,
    /// None: nothing that it imports or exports needs one.
    pub(super) realloc: Option<Realloc>,
}

/// The memory of a guest that may call the host now.
pub(super) fn memory(state: &HostState) -> wasmtime::Result<Option<Memory>> {
    let guest = state.guest.as_ref().ok_or_else(out_of_turn)?;
    Ok(guest.memory)
}

pub(super) fn trap(what: &'static str) -> wasmtime::Error {
    wasmtime::Error::msg(what)
}

/// The host was called where it may not be.
fn out_of_turn() -> wasmtime::Error {
    trap("the host cannot be called while the guest allocates or cleans up")
}

pub(super) fn no_memory() -> wasmtime::Error {
    trap("a guest that has no memory yet")
}

/// A guest's memory, to read from.
pub(super) struct Reader<'m> {
    memory: &'m [u8],
    /// How many more bytes the host may take over.
    left: usize,
}

impl<'m> Reader<'m> {
    pub(super) fn new(memory: &'m [u8], left: usize) -> Self {
        Self { memory, left }
    }

    pub(super) fn slice(&self, at: u32, length: usize) -> wasmtime::Result<&'m [u8]> {
        let at = at as usize;
        at.checked_add(length)
            .and_then(|end| self.memory.get(at..end))
            .ok_or_else(|| trap("a pointer or a length that is out of bounds of the memory"))
    }

    /// One value that begins at `at`.
    pub(super) fn value<T: Load>(&mut self, at: u32) -> wasmtime::Result<T> {
        aligned(at, T::PLACE)?;
        let from = self.slice(at, T::PLACE.size)?;
        T::load(self, from)
    }

    pub(super) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        // In the words of wasmtime, which says the same of a component.
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| {
            trap("too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted")
        })?;
        Ok(())
    }

    pub(super) fn bytes(&mut self, at: u32, length: u32) -> wasmtime::Result<Vec<u8>> {
        let slice = self.slice(at, length as usize)?;
        self.charge(slice.len())?;
        Ok(slice.to_vec())
    }

    pub(super) fn text(&mut self, at: u32, length: u32) -> wasmtime::Result<String> {
        self.text_in_place(at, length).map(str::to_owned)
    }

    /// The same, not copied. It is charged all the same: what the host does with it takes time.
    pub(super) fn text_in_place(&mut self, at: u32, length: u32) -> wasmtime::Result<&'m str> {
        let slice = self.slice(at, length as usize)?;
        self.charge(slice.len())?;
        std::str::from_utf8(slice).map_err(|_| trap("a string that is not UTF-8"))
    }

    /// The bytes of a list.
    pub(super) fn elements(&self, at: u32, length: u32, each: Place) -> wasmtime::Result<&'m [u8]> {
        let whole = (length as usize)
            .checked_mul(each.size)
            .ok_or_else(|| trap("a list that is longer than the memory"))?;
        aligned(at, each)?;
        self.slice(at, whole)
    }

    pub(super) fn list<T: Load>(&mut self, at: u32, length: u32) -> wasmtime::Result<Vec<T>> {
        const { assert!(T::PLACE.size > 0, "elements that take no room") };
        let slice = self.elements(at, length, T::PLACE)?;
        let length = length as usize;
        self.charge(length.saturating_mul(size_of::<T>()))?;
        let mut items = Vec::with_capacity(length);
        for item in slice.chunks_exact(T::PLACE.size) {
            items.push(T::load(self, item)?);
        }
        Ok(items)
    }
}

pub(super) fn aligned(at: u32, place: Place) -> wasmtime::Result<()> {
    match (at as usize).is_multiple_of(place.align) {
        true => Ok(()),
        false => Err(trap("a pointer that is not aligned")),
    }
}

/// A guest's memory, to write to.
pub(super) struct Writer<'a> {
    store: StoreContextMut<'a, HostState>,
    guest: &'a Guest,
}

impl Writer<'_> {
    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
        let memory = self.guest.memory.ok_or_else(no_memory)?;
        let memory = memory.data_mut(&mut self.store);
        let at = at as usize;
        at.checked_add(bytes.len())
            .and_then(|end| memory.get_mut(at..end))
            .ok_or_else(|| trap("a pointer that is out of bounds of the memory"))?
            .copy_from_slice(bytes);
        Ok(())
    }

    /// Room in the guest, made by its own allocator.
    fn room(&mut self, place: Place) -> wasmtime::Result<u32> {
        if place.size == 0 {
            return Ok(place.align as u32);
        }
        let realloc = self.guest.realloc.as_ref();
        let realloc = realloc.ok_or_else(|| trap("a guest that has no `cabi_realloc`"))?;
        let size = u32::try_from(place.size).map_err(|_| trap("more than a memory can hold"))?;
        let at = realloc.call(&mut self.store, (0, 0, place.align as u32, size))?;
        aligned(at, place)?;
        Ok(at)
    }

    /// Where it is now, and how long it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> wasmtime::Result<(u32, u32)> {
        let place = Place {
            size: bytes.len(),
            align: 1,
        };
        let at = self.room(place)?;
        self.put(at, bytes)?;
        Ok((at, bytes.len() as u32))
    }

    /// One value to where the guest wants it.
    pub(super) fn value<T: Save>(&mut self, value: T, at: u32) -> wasmtime::Result<()> {
        const {
            assert!(
                T::PLACE.size <= LARGEST,
                "a larger type than was thought of"
            )
        };
        let mut bytes = [0; LARGEST];
        let bytes = &mut bytes[..T::PLACE.size];
        value.save(self, bytes)?;
        self.put(at, bytes)
    }

    pub(super) fn list<T: Save>(&mut self, items: Vec<T>) -> wasmtime::Result<(u32, u32)> {
        const { assert!(T::PLACE.size > 0, "elements that take no room") };
        let length = items.len();
        let whole = length
            .checked_mul(T::PLACE.size)
            .ok_or_else(|| trap("more than a memory can hold"))?;
        let place = Place {
            size: whole,
            align: T::PLACE.align,
        };
        let start = self.room(place)?;
        let mut bytes: SmallVec<[u8; LIST_IN_PLACE]> = SmallVec::from_elem(0, whole);
        for (item, to) in items.into_iter().zip(bytes.chunks_exact_mut(T::PLACE.size)) {
            item.save(self, to)?;
        }
        self.put(start, &bytes)?;
        Ok((start, length as u32))
    }
}

/// Lends the guest's memory for writing; nothing that its allocator calls meanwhile reaches the host.
pub(super) fn write<R>(
    mut store: impl AsContextMut<Data = HostState>,
    work: impl FnOnce(&mut Writer<'_>) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let guest = store.as_context_mut().data_mut().guest.take();
    let guest = guest.ok_or_else(out_of_turn)?;
    let written = work(&mut Writer {
        store: store.as_context_mut(),
        guest: &guest,
    });
    store.as_context_mut().data_mut().guest = Some(guest);
    written
}
