//! One part of a store: entries by key, in the order of their last use, and in the order in which they expire.
//!
//! Invariant: after every `put` the part is within its caps. Expired entries make room first, then the least recently used.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::super::key::{Hashed, KeyHash};
use super::KvSize;

/// What an entry costs beside its value: slot, index, expiry, allocations.
const ENTRY_OVERHEAD_BYTES: usize = 192;

type Index = u32;

#[derive(Debug, Clone, Copy)]
pub(super) struct PartCaps {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl PartCaps {
    /// What a value of this length takes.
    pub(super) fn cost(value_bytes: usize) -> usize {
        value_bytes + ENTRY_OVERHEAD_BYTES
    }
}

pub(super) struct Entry {
    pub(super) value: Bytes,
    pub(super) version: u64,
    pub(super) expires_ns: Option<u64>,
}

struct Slot {
    key: KeyHash,
    entry: Entry,
    newer: Option<Index>,
    older: Option<Index>,
}

pub(super) struct Part {
    caps: PartCaps,
    index: HashMap<KeyHash, Index, Hashed>,
    slots: Vec<Option<Slot>>,
    free: Vec<Index>,
    expiring: BTreeSet<(u64, Index)>,
    newest: Option<Index>,
    oldest: Option<Index>,
    bytes: usize,
    evicted: u64,
}

impl Part {
    pub(super) fn new(caps: PartCaps) -> Self {
        Self {
            caps,
            index: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            expiring: BTreeSet::new(),
            newest: None,
            oldest: None,
            bytes: 0,
            evicted: 0,
        }
    }

    /// A use: the entry is the last to go from here on.
    pub(super) fn find(&mut self, key: KeyHash, now_ns: u64) -> Option<&Entry> {
        let at = *self.index.get(&key)?;
        if self.is_expired(at, now_ns) {
            self.take(at);
            return None;
        }
        self.unlink(at);
        self.link_newest(at);
        self.slot(at).map(|slot| &slot.entry)
    }

    /// In place of what is there. The entry must fit into the caps by itself.
    pub(super) fn put(
        &mut self,
        key: KeyHash,
        value: Bytes,
        version: u64,
        expires_ns: Option<u64>,
        now_ns: u64,
    ) {
        if let Some(&at) = self.index.get(&key) {
            self.take(at);
        }
        self.bytes += PartCaps::cost(value.len());
        let at = self.store(Slot {
            key,
            entry: Entry {
                value,
                version,
                expires_ns,
            },
            newer: None,
            older: None,
        });
        self.index.insert(key, at);
        if let Some(expires) = expires_ns {
            self.expiring.insert((expires, at));
        }
        self.link_newest(at);
        self.make_room(at, now_ns);
    }

    /// Whether there was something that had not expired.
    pub(super) fn remove(&mut self, key: KeyHash, now_ns: u64) -> bool {
        let Some(&at) = self.index.get(&key) else {
            return false;
        };
        let expired = self.is_expired(at, now_ns);
        self.take(at);
        !expired
    }

    pub(super) fn size(&self) -> KvSize {
        KvSize {
            entries: self.index.len(),
            bytes: self.bytes,
            evicted: self.evicted,
        }
    }

    fn make_room(&mut self, kept: Index, now_ns: u64) {
        while self.index.len() > self.caps.entries || self.bytes > self.caps.bytes {
            let expired = self
                .expiring
                .first()
                .filter(|(at_ns, _)| *at_ns <= now_ns)
                .map(|(_, at)| *at);
            let Some(at) = expired.or(self.oldest).filter(|at| *at != kept) else {
                return;
            };
            if expired.is_none() {
                self.evicted += 1;
            }
            self.take(at);
        }
    }

    fn is_expired(&self, at: Index, now_ns: u64) -> bool {
        self.slot(at)
            .and_then(|slot| slot.entry.expires_ns)
            .is_some_and(|expires| expires <= now_ns)
    }

    fn take(&mut self, at: Index) {
        self.unlink(at);
        let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(at);
        self.index.remove(&slot.key);
        self.bytes -= PartCaps::cost(slot.entry.value.len());
        if let Some(expires) = slot.entry.expires_ns {
            self.expiring.remove(&(expires, at));
        }
    }

    fn store(&mut self, slot: Slot) -> Index {
        if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(slot);
            return at;
        }
        self.slots.push(Some(slot));
        // The cap on entries is far below four thousand million.
        (self.slots.len() - 1) as Index
    }

    fn unlink(&mut self, at: Index) {
        let Some((newer, older)) = self.slot(at).map(|slot| (slot.newer, slot.older)) else {
            return;
        };
        match newer.and_then(|newer| self.slot_mut(newer)) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match older.and_then(|older| self.slot_mut(older)) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, at: Index) {
        let before = self.newest.replace(at);
        if let Some(slot) = self.slot_mut(at) {
            (slot.newer, slot.older) = (None, before);
        }
        match before.and_then(|before| self.slot_mut(before)) {
            Some(before) => before.newer = Some(at),
            None => self.oldest = Some(at),
        }
    }

    fn slot(&self, at: Index) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn slot_mut(&mut self, at: Index) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)?.as_mut()
    }
}

#[cfg(test)]
impl Part {
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}
