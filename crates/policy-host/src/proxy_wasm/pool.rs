//! The VMs of one policy: one per worker. A stream begins on the VM of its thread and stays there; a VM serves many streams, one call
//! at a time. A VM that failed is replaced at its next use, and the streams that it had are lost.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::vm::Vm;

#[derive(Default)]
pub(crate) struct Slot {
    place: Mutex<Place>,
    /// Streams whose exchanges are gone, with the generation that knew them: their contexts are to be deleted.
    orphans: Mutex<Vec<(u64, u32)>>,
}

#[derive(Default)]
pub(super) struct Place {
    /// None: the last one failed.
    pub(super) vm: Option<Box<Vm>>,
    /// Counts the VMs that were here.
    pub(super) generation: u64,
    /// When its tick is due; none before it was first asked.
    pub(super) next_tick_ns: Option<u64>,
}

impl Slot {
    pub(super) fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock()
    }

    pub(super) fn orphaned(&self, generation: u64, context: u32) {
        self.orphans.lock().push((generation, context));
    }

    /// The orphans of this generation; those of earlier ones went with their VM.
    pub(super) fn take_orphans(&self, generation: u64) -> Vec<u32> {
        let mut orphans = self.orphans.lock();
        if orphans.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut *orphans)
            .into_iter()
            .filter(|(of, _)| *of == generation)
            .map(|(_, context)| context)
            .collect()
    }
}

impl Place {
    pub(super) fn install(&mut self, vm: Vm) {
        self.generation += 1;
        self.next_tick_ns = None;
        self.vm = Some(Box::new(vm));
    }
}

pub(super) fn slots(workers: usize) -> Box<[Arc<Slot>]> {
    (0..workers.max(1)).map(|_| Arc::default()).collect()
}
