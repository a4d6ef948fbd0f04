//! The warm instances of one policy: one slot per worker. A call takes the instance of its thread's own slot, or of the next that is
//! free; it waits only when every slot is in use, and then no longer than a call may take.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::instance::Instance;

pub(crate) struct Pool {
    slots: Box<[Slot]>,
}

/// Alone on its cache lines: neighbours belong to other threads.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct Slot {
    /// None: none was made yet, or the last one failed.
    instance: Mutex<Option<Box<Instance>>>,
    tally: Tally,
}

/// What some instances did, all together.
#[derive(Default)]
pub(crate) struct Tally {
    calls: AtomicU64,
    fuel: AtomicU64,
}

impl Tally {
    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_fuel(&self, used: u64) {
        self.fuel.fetch_add(used, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn fuel(&self) -> u64 {
        self.fuel.load(Ordering::Relaxed)
    }
}

pub(crate) struct Checkout<'a> {
    slot: &'a Slot,
    instance: MutexGuard<'a, Option<Box<Instance>>>,
}

impl Pool {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots.max(1)).map(|_| Slot::default()).collect(),
        }
    }

    pub(crate) fn checkout(&self) -> Checkout<'_> {
        let home = thread_number() % self.slots.len();
        let (before, after) = self.slots.split_at(home);
        let free = after
            .iter()
            .chain(before)
            .find_map(|slot| Some((slot, slot.instance.try_lock()?)));
        let (slot, instance) =
            free.unwrap_or_else(|| (&self.slots[home], self.slots[home].instance.lock()));
        slot.tally.count_call();
        Checkout { slot, instance }
    }

    /// For filling every slot at load.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Checkout<'_>> {
        self.slots.iter().map(|slot| Checkout {
            slot,
            instance: slot.instance.lock(),
        })
    }

    pub(crate) fn calls(&self) -> u64 {
        self.slots.iter().map(|slot| slot.tally.calls()).sum()
    }

    pub(crate) fn fuel(&self) -> u64 {
        self.slots.iter().map(|slot| slot.tally.fuel()).sum()
    }
}

impl Checkout<'_> {
    /// The slot is empty until `put_back`: if a call unwinds, its instance is gone with it.
    pub(crate) fn take(&mut self) -> Option<Box<Instance>> {
        self.instance.take()
    }

    /// Of the instance that waits here, if one does.
    pub(crate) fn memory_bytes(&self) -> usize {
        let instance = self.instance.as_ref();
        instance.map_or(0, |instance| instance.memory_bytes())
    }

    pub(crate) fn put_back(&mut self, instance: Box<Instance>) {
        *self.instance = Some(instance);
    }

    pub(crate) fn count_fuel(&self, used: u64) {
        self.slot.tally.count_fuel(used);
    }
}

/// Threads in the order in which they first called a policy.
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    MINE.with(Cell::get)
}
