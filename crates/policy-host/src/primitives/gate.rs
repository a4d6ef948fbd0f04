//! In-flight gates: at most so many exchanges of one key at a time. A place is left by dropping it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use super::key::{Hashed, KeyHash, KeyHasher};

/// Enough that two workers seldom meet; a power of two.
const SHARDS: usize = 16;

/// Keys are only kept while someone is inside, so the exchanges in flight bound them.
pub(crate) struct Gate {
    limit: u32,
    hasher: KeyHasher,
    shards: Box<[Mutex<HashMap<KeyHash, u32, Hashed>>]>,
}

impl Gate {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            hasher: KeyHasher::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn enter(self: &Arc<Self>, key: &str) -> Option<GatePlace> {
        let key = self.hasher.hash(key);
        let mut shard = self.shards[key.shard(SHARDS)].lock();
        let inside = shard.get(&key).copied().unwrap_or(0);
        if inside >= self.limit {
            return None;
        }
        shard.insert(key, inside + 1);
        Some(GatePlace {
            gate: self.clone(),
            key,
        })
    }

    pub(crate) fn in_flight(&self, key: &str) -> u32 {
        let key = self.hasher.hash(key);
        self.shards[key.shard(SHARDS)]
            .lock()
            .get(&key)
            .copied()
            .unwrap_or(0)
    }
}

/// A place inside a gate.
#[must_use]
pub(crate) struct GatePlace {
    gate: Arc<Gate>,
    key: KeyHash,
}

impl Drop for GatePlace {
    fn drop(&mut self) {
        let mut shard = self.gate.shards[self.key.shard(SHARDS)].lock();
        if let Entry::Occupied(mut inside) = shard.entry(self.key) {
            match inside.get() {
                0 | 1 => {
                    inside.remove();
                }
                more => {
                    let fewer = more - 1;
                    inside.insert(fewer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_dropped() {
        let gate = Arc::new(Gate::new(2));
        let first = gate.enter("k");
        let second = gate.enter("k");
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter("k").is_none());
        assert!(gate.enter("other").is_some());
        drop(first);
        assert_eq!(gate.in_flight("k"), 1);
        assert!(gate.enter("k").is_some());
        drop(second);
        assert_eq!(gate.in_flight("k"), 0);
        assert!(gate.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn many_threads_never_pass_the_limit() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let gate = Arc::new(Gate::new(3));
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if let Some(place) = gate.enter("k") {
                            most.fetch_max(
                                inside.fetch_add(1, Ordering::SeqCst) + 1,
                                Ordering::SeqCst,
                            );
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(place);
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(gate.in_flight("k"), 0);
    }
}
