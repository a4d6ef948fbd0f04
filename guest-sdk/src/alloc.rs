//! The allocator of a guest: small blocks from lists by size, the rest from the standard library's.
//!
//! A hook allocates some dozens of small strings and lists and frees them all before it returns. A list by size gives and takes one
//! in about ten instructions, where a general allocator takes a hundred or more: it is a third of what a policy's call costs
//! (Bonwick, "The Slab Allocator", USENIX 1994, is where the idea comes from). Freed blocks stay in their list: a guest keeps, of
//! each size, what it once needed at the same time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Sizes go up in steps of this, which is also what every block is aligned to.
const STEP: usize = 16;
/// The largest block from a list: longer ones are rare, and differ.
const LARGEST: usize = 512;
const LISTS: usize = LARGEST / STEP + 1;
/// What is asked of the standard library at a time.
const CHUNK: usize = 4096;

/// A block that is free begins with the next one.
struct Free {
    next: Option<NonNull<Free>>,
}

pub(crate) struct Lists {
    free: [Cell<Option<NonNull<Free>>>; LISTS],
    /// What is left of the last chunk.
    rest: Cell<*mut u8>,
    rest_bytes: Cell<usize>,
}

// SAFETY: an instance of a policy has one thread; wasm32-unknown-unknown knows no others.
unsafe impl Sync for Lists {}

impl Lists {
    pub(crate) const fn new() -> Self {
        Self {
            free: [const { Cell::new(None) }; LISTS],
            rest: Cell::new(ptr::null_mut()),
            rest_bytes: Cell::new(0),
        }
    }

    /// The list for such a block. None: it is not ours.
    #[inline(always)]
    fn list(layout: Layout) -> Option<usize> {
        let ours = layout.size() <= LARGEST && layout.align() <= STEP;
        ours.then(|| layout.size().div_ceil(STEP))
    }

    #[cold]
    fn carve(&self, list: usize) -> *mut u8 {
        let bytes = list * STEP;
        if self.rest_bytes.get() < bytes {
            let Ok(layout) = Layout::from_size_align(CHUNK, STEP) else {
                return ptr::null_mut();
            };
            // SAFETY: the size is not zero.
            let chunk = unsafe { System.alloc(layout) };
            if chunk.is_null() {
                return chunk;
            }
            self.keep_rest();
            self.rest.set(chunk);
            self.rest_bytes.set(CHUNK);
        }
        let block = self.rest.get();
        // SAFETY: the chunk has at least `bytes` more, as was just checked.
        self.rest.set(unsafe { block.add(bytes) });
        self.rest_bytes.set(self.rest_bytes.get() - bytes);
        block
    }

    /// What is left of a chunk is a block of its size.
    fn keep_rest(&self) {
        let list = self.rest_bytes.get() / STEP;
        if list > 0 {
            self.push(list, self.rest.get());
        }
    }

    #[inline(always)]
    fn push(&self, list: usize, block: *mut u8) {
        let next = self.free[list].get();
        if let Some(block) = NonNull::new(block.cast::<Free>()) {
            // SAFETY: the block is free, at least STEP bytes long and aligned to it: room for a pointer.
            unsafe { block.write(Free { next }) };
            self.free[list].set(Some(block));
        }
    }
}

// SAFETY: a block is in one list or with one caller, never both; it has the size of its list, which is at least what was asked for,
// and the alignment of a chunk. What is not ours by its layout was never ours: the same layout comes back with a block.
unsafe impl GlobalAlloc for Lists {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = Self::list(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        match self.free[list].get() {
            Some(block) => {
                // SAFETY: what is in a list was written by `push`.
                self.free[list].set(unsafe { block.read() }.next);
                block.as_ptr().cast()
            }
            None => self.carve(list),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Self::list(layout) {
            Some(list) => self.push(list, block),
            // SAFETY: the caller's promise.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `size` is not zero, and does not overflow with the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Self::list(layout), Self::list(wanted)) {
            (Some(before), Some(after)) if before == after => block,
            // SAFETY: the caller's promise.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            _ => {
                // SAFETY: two blocks, of the sizes that were asked for.
                unsafe {
                    let new = self.alloc(wanted);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
