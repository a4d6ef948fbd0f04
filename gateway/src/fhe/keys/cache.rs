//! Expanded keys in memory, within a budget.
//!
//! Invariants: what is held and what is being expanded never take more than the budget together, but for keys that the
//! engines need at this moment and that are larger than all of it; a key that many want at once is expanded once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhe::{KeyId, ParamSet};
use kernels::AcceleratedKey;
use parking_lot::{Condvar, Mutex};

/// By what it was expanded for, too: sums alone need next to nothing of a key with bootstraps.
pub(super) type Expanded = (KeyId, ParamSet);

/// What was not used for so long gives way to a key that is expanded ahead of need; what was used since, does not: nobody
/// gets another's keys out of memory by registering some.
const IDLE: Duration = Duration::from_secs(600);

/// For whom room may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A request waits for it.
    Now,
    /// It may be needed later.
    Later,
}

pub(super) struct Cache {
    budget: u64,
    inner: Mutex<Inner>,
    /// An expansion ended.
    ended: Condvar,
}

#[derive(Default)]
struct Inner {
    clock: u64,
    slots: HashMap<Expanded, Slot>,
}

enum Slot {
    Expanding {
        bytes: u64,
    },
    Held {
        key: Arc<AcceleratedKey>,
        bytes: u64,
        used: u64,
        at: Instant,
    },
}

impl Slot {
    fn bytes(&self) -> u64 {
        match self {
            Self::Expanding { bytes } | Self::Held { bytes, .. } => *bytes,
        }
    }
}

/// What is to be done by whoever asked.
pub(super) enum Turn<'c> {
    Held(Arc<AcceleratedKey>),
    /// Expand it; others wait for this.
    Lead(Lead<'c>),
    /// There is no room, and it is not needed now.
    NoRoom,
}

/// The right to expand one key. Dropped without a key, the next who wants it has its turn.
pub(super) struct Lead<'c> {
    cache: &'c Cache,
    id: Expanded,
    bytes: u64,
}

impl Cache {
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            inner: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// The key, or the turn to expand it. Waits while somebody else does.
    pub fn turn(&self, id: Expanded, bytes: u64, need: Need) -> Turn<'_> {
        let mut inner = self.inner.lock();
        let mut waited = false;
        loop {
            inner.clock += 1;
            let clock = inner.clock;
            match inner.slots.get_mut(&id) {
                Some(Slot::Expanding { .. }) => {
                    self.ended.wait(&mut inner);
                    waited = true;
                }
                Some(Slot::Held { key, used, at, .. }) => {
                    if need == Need::Now {
                        (*used, *at) = (clock, Instant::now());
                        let name = if waited { "shared" } else { "hit" };
                        count(name);
                    }
                    return Turn::Held(key.clone());
                }
                None => break,
            }
        }
        if !inner.make_room(self.budget, bytes, need) {
            return Turn::NoRoom;
        }
        count(match need {
            Need::Now => "miss",
            Need::Later => "warmed",
        });
        inner.slots.insert(id, Slot::Expanding { bytes });
        inner.gauge();
        Turn::Lead(Lead {
            cache: self,
            id,
            bytes,
        })
    }

    /// At once, whatever it was expanded for.
    pub fn forget(&self, id: KeyId) {
        let mut inner = self.inner.lock();
        inner
            .slots
            .retain(|(of, _), slot| *of != id || matches!(slot, Slot::Expanding { .. }));
        inner.gauge();
    }

    /// Keys held, and the bytes of all.
    #[cfg(test)]
    pub fn size(&self) -> (usize, u64) {
        let inner = self.inner.lock();
        (inner.slots.len(), inner.bytes())
    }
}

fn count(result: &'static str) {
    metrics::counter!("gateway_fhe_key_cache_total", "result" => result).increment(1);
}

impl Inner {
    fn bytes(&self) -> u64 {
        self.slots.values().map(Slot::bytes).sum()
    }

    /// Evicts the least recently used until `bytes` more fit. False: they do not, and it is not needed now.
    fn make_room(&mut self, budget: u64, bytes: u64, need: Need) -> bool {
        let before = Instant::now().checked_sub(IDLE);
        let may_go = |slot: &Slot| match (slot, need) {
            (Slot::Expanding { .. }, _) => None,
            (Slot::Held { used, .. }, Need::Now) => Some(*used),
            (Slot::Held { used, at, .. }, Need::Later) => {
                before.is_some_and(|before| *at < before).then_some(*used)
            }
        };
        while self.bytes().saturating_add(bytes) > budget {
            let oldest = self
                .slots
                .iter()
                .filter_map(|(id, slot)| Some((may_go(slot)?, *id)))
                .min_by_key(|(used, _)| *used);
            let Some((_, oldest)) = oldest else {
                return need == Need::Now;
            };
            self.slots.remove(&oldest);
            metrics::counter!("gateway_fhe_key_evictions_total").increment(1);
        }
        true
    }

    fn gauge(&self) {
        metrics::gauge!("gateway_fhe_key_cache_bytes").set(self.bytes() as f64);
        metrics::gauge!("gateway_fhe_key_cache_keys").set(self.slots.len() as f64);
    }
}

impl Lead<'_> {
    /// It is expanded, and from now on held.
    pub fn hold(self, key: Arc<AcceleratedKey>) {
        let mut inner = self.cache.inner.lock();
        inner.clock += 1;
        let held = Slot::Held {
            key,
            bytes: self.bytes,
            used: inner.clock,
            at: Instant::now(),
        };
        inner.slots.insert(self.id, held);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut inner = self.cache.inner.lock();
        if let Some(Slot::Expanding { .. }) = inner.slots.get(&self.id) {
            inner.slots.remove(&self.id);
        }
        inner.gauge();
        self.cache.ended.notify_all();
    }
}
