//! A call's tasks in the order in which their keys lie on the device.

use super::keys::{Keys, Slot};

pub struct Order {
    /// Of each task that there is something to do for: its key's place, and its index in the call.
    tasks: Vec<(Slot, usize)>,
}

/// Tasks next to each other, whose keys lie in one buffer.
pub struct Run {
    pub shelf: usize,
    pub first: usize,
    pub len: usize,
}

impl Order {
    /// `keys_of`: of each task, which of the call's keys.
    pub fn new(
        keys: &Keys,
        places: &[usize],
        keys_of: impl Iterator<Item = u32>,
        wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let slot = |key: u32| keys.slot(places[key as usize]);
        let mut tasks: Vec<(Slot, usize)> = keys_of
            .enumerate()
            .filter(|&(index, _)| wanted(index))
            .map(|(index, key)| (slot(key), index))
            .collect();
        tasks.sort_unstable();
        Self { tasks }
    }

    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Their indexes in the call.
    pub fn tasks(&self) -> impl Iterator<Item = usize> + Clone {
        self.tasks.iter().map(|&(_, index)| index)
    }

    /// Of each, where its key is.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.tasks.iter().map(|&(slot, _)| slot)
    }

    /// One for each shelf.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let mut next = 0;
        self.tasks
            .chunk_by(|a, b| a.0.shelf == b.0.shelf)
            .map(move |run| {
                let first = next;
                next += run.len();
                Run {
                    shelf: run[0].0.shelf,
                    first,
                    len: run.len(),
                }
            })
    }
}
