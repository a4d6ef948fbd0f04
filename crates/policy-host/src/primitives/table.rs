//! A map that never holds more than its capacity. When it is full, a new key takes the place of one whose loss changes nothing, else
//! of one that was not used for a round of the hand (second chance).
//!
//! So a flood of new keys can make the table forget a key that is over its limit; `evicted_live` counts it, and the capacity is the
//! operator's to raise.

use std::collections::HashMap;

use super::key::{Hashed, KeyHash};

/// Entries looked at for one eviction: bounds the time of one decision under the lock.
const EVICT_SCAN: usize = 16;

pub(crate) struct KeyTable<V> {
    index: HashMap<KeyHash, usize, Hashed>,
    entries: Vec<Entry<V>>,
    hand: usize,
    capacity: usize,
    evicted_live: u64,
}

struct Entry<V> {
    key: KeyHash,
    value: V,
    used: bool,
}

impl<V: Copy> KeyTable<V> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            index: HashMap::default(),
            entries: Vec::new(),
            hand: 0,
            capacity: capacity.max(1),
            evicted_live: 0,
        }
    }

    pub(crate) fn peek(&self, key: KeyHash) -> Option<V> {
        self.index.get(&key).map(|&at| self.entries[at].value)
    }

    /// The value of `key`, which begins as `fresh`. `idle` says of a value whether losing it changes nothing.
    pub(crate) fn slot(&mut self, key: KeyHash, fresh: V, idle: impl Fn(&V) -> bool) -> &mut V {
        let at = match self.index.get(&key) {
            Some(&at) => {
                self.entries[at].used = true;
                at
            }
            None => self.insert(key, fresh, idle),
        };
        &mut self.entries[at].value
    }

    fn insert(&mut self, key: KeyHash, fresh: V, idle: impl Fn(&V) -> bool) -> usize {
        // A key counts as used from its second time on: those of a flood come once, and go first.
        let entry = Entry {
            key,
            value: fresh,
            used: false,
        };
        let at = if self.entries.len() < self.capacity {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let at = self.victim(&idle);
            let old = std::mem::replace(&mut self.entries[at], entry);
            self.index.remove(&old.key);
            if !idle(&old.value) {
                self.evicted_live += 1;
            }
            at
        };
        self.index.insert(key, at);
        at
    }

    fn victim(&mut self, idle: &impl Fn(&V) -> bool) -> usize {
        let mut unused = None;
        for _ in 0..EVICT_SCAN.min(self.entries.len()) {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[at];
            if idle(&entry.value) {
                return at;
            }
            if !std::mem::replace(&mut entry.used, false) && unused.is_none() {
                unused = Some(at);
            }
        }
        unused.unwrap_or(self.hand)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn evicted_live(&self) -> u64 {
        self.evicted_live
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::KeyHasher;
    use super::*;

    #[test]
    fn it_never_grows_past_its_capacity_and_prefers_idle_victims() {
        let hasher = KeyHasher::default();
        let mut table = KeyTable::with_capacity(8);
        for n in 0..8u64 {
            // Zero is idle; only key 3 is.
            *table.slot(hasher.hash(&n.to_string()), 0, |v| *v == 0) = u64::from(n != 3);
        }
        *table.slot(hasher.hash("new"), 0, |v| *v == 0) = 1;
        assert_eq!((table.len(), table.evicted_live()), (8, 0));
        assert_eq!(table.peek(hasher.hash("3")), None);
        for n in 100..1100u64 {
            *table.slot(hasher.hash(&n.to_string()), 0, |v| *v == 0) = 1;
        }
        assert_eq!((table.len(), table.evicted_live()), (8, 1000));
        assert_eq!(table.index.len(), 8);
        assert_eq!(table.peek(hasher.hash("1099")), Some(1));
    }

    #[test]
    fn a_key_in_use_outlives_a_flood_of_others() {
        let hasher = KeyHasher::default();
        let mut table = KeyTable::with_capacity(8);
        for n in 0..500u64 {
            *table.slot(hasher.hash("kept"), 0, |_| false) += 1;
            table.slot(hasher.hash(&n.to_string()), 0, |_| false);
        }
        assert_eq!(table.peek(hasher.hash("kept")), Some(500));
    }
}
