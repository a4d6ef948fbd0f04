//! One part of the store: variants by key, and the order in which they are evicted.
//!
//! Eviction is SIEVE (NSDI '24): a hit only sets a mark, so that readers share the lock; the hand walks from the oldest to the
//! newest, clears marks, and evicts the first it finds unmarked. It keeps what is asked for again and lets scans pass through.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;

use super::key::{ByHash, Key, Keys, Tag, UriKey};
use super::store::{Found, Stored};

/// Variants of one key; the oldest goes when another comes. A header with more values than this varies too much to be cached.
const MAX_VARIANTS: usize = 16;

type Index = u32;

#[derive(Default)]
pub struct Shard {
    slots: Vec<Option<Slot>>,
    free: Vec<Index>,
    by_key: HashMap<Key, Vec<Index>, ByHash>,
    /// The keys of each resource: policies' parts and bodies make many of one.
    of_uri: BTreeSet<(UriKey, Key)>,
    /// Who bears a tag. Within the bounds of the slots, each of which has a few tags.
    tagged: BTreeSet<(Tag, Index)>,
    newest: Option<Index>,
    oldest: Option<Index>,
    hand: Option<Index>,
}

struct Slot {
    keys: Keys,
    stored: Arc<Stored>,
    asked_again: AtomicBool,
    newer: Option<Index>,
    older: Option<Index>,
}

impl Shard {
    /// The variant for a request: the one stored last, if several match.
    pub fn find(&self, key: &Key, request: &HeaderMap) -> Found {
        let Some(variants) = self.by_key.get(key) else {
            return Found::Nothing;
        };
        let slots = variants.iter().rev().filter_map(|index| self.slot(*index));
        for slot in slots {
            if slot.stored.vary.matches(request) {
                slot.asked_again.store(true, Ordering::Relaxed);
                return Found::Variant(slot.stored.clone());
            }
        }
        Found::OtherVariants
    }

    /// Stores a response in place of the variant it replaces; what was dropped comes back.
    pub fn insert(&mut self, keys: Keys, stored: Arc<Stored>) -> Vec<Arc<Stored>> {
        let mut dropped = Vec::new();
        let variants = self.by_key.get(&keys.key).cloned().unwrap_or_default();
        let same = |index: &&Index| {
            self.slot(**index)
                .is_some_and(|slot| slot.stored.vary == stored.vary)
        };
        let replaced: Vec<Index> = match variants.iter().find(same) {
            Some(index) => vec![*index],
            None if variants.len() >= MAX_VARIANTS => {
                variants[..=variants.len() - MAX_VARIANTS].to_vec()
            }
            None => Vec::new(),
        };
        for index in replaced {
            dropped.extend(self.remove(index));
        }
        let index = self.put(Slot {
            keys,
            stored: stored.clone(),
            asked_again: AtomicBool::new(false),
            newer: None,
            older: self.newest,
        });
        if let Some(before) = self.newest.and_then(|before| self.slot_mut(before)) {
            before.newer = Some(index);
        }
        self.newest = Some(index);
        self.oldest = self.oldest.or(Some(index));
        self.by_key.entry(keys.key).or_default().push(index);
        self.of_uri.insert((keys.uri, keys.key));
        self.tagged
            .extend(stored.tags.iter().map(|tag| (*tag, index)));
        dropped
    }

    /// Puts new headers to a stored body, if that is still what is stored.
    pub fn refresh(&mut self, keys: &Keys, old: &Arc<Stored>, new: Arc<Stored>) -> bool {
        let Some(index) = self.index_of(keys, old) else {
            return false;
        };
        for tag in &old.tags {
            self.tagged.remove(&(*tag, index));
        }
        self.tagged.extend(new.tags.iter().map(|tag| (*tag, index)));
        match self.slot_mut(index) {
            Some(slot) => slot.stored = new,
            None => return false,
        }
        true
    }

    /// Drops one variant, if it is still there.
    pub fn forget(&mut self, keys: &Keys, old: &Arc<Stored>) -> Option<Arc<Stored>> {
        let index = self.index_of(keys, old)?;
        self.remove(index)
    }

    /// Drops all variants of a resource.
    pub fn invalidate(&mut self, uri: &UriKey) -> Vec<Arc<Stored>> {
        let keys: Vec<Key> = self
            .of_uri
            .range((*uri, Key::MIN)..=(*uri, Key::MAX))
            .map(|(_, key)| *key)
            .collect();
        let indexes: Vec<Index> = keys
            .iter()
            .filter_map(|key| self.by_key.get(key))
            .flatten()
            .copied()
            .collect();
        indexes
            .into_iter()
            .filter_map(|index| self.remove(index))
            .collect()
    }

    /// Drops all that bears the tag.
    pub fn purge(&mut self, tag: &Tag) -> Vec<Arc<Stored>> {
        let indexes: Vec<Index> = self
            .tagged
            .range((*tag, Index::MIN)..=(*tag, Index::MAX))
            .map(|(_, index)| *index)
            .collect();
        indexes
            .into_iter()
            .filter_map(|index| self.remove(index))
            .collect()
    }

    /// Makes room: drops the next that nobody asked for again.
    pub fn evict(&mut self) -> Option<Arc<Stored>> {
        // Two rounds at most: the first clears every mark.
        for _ in 0..=2 * self.slots.len() {
            let at = self.hand.or(self.oldest)?;
            let slot = self.slot(at)?;
            let (newer, marked) = (slot.newer, slot.asked_again.swap(false, Ordering::Relaxed));
            self.hand = newer;
            if !marked {
                return self.remove(at);
            }
        }
        None
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn index_of(&self, keys: &Keys, stored: &Arc<Stored>) -> Option<Index> {
        let variants = self.by_key.get(&keys.key)?;
        let is_it = |index: &&Index| {
            self.slot(**index)
                .is_some_and(|slot| Arc::ptr_eq(&slot.stored, stored))
        };
        variants.iter().find(is_it).copied()
    }

    fn remove(&mut self, index: Index) -> Option<Arc<Stored>> {
        let slot = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        match slot.newer.and_then(|newer| self.slot_mut(newer)) {
            Some(newer) => newer.older = slot.older,
            None => self.newest = slot.older,
        }
        match slot.older.and_then(|older| self.slot_mut(older)) {
            Some(older) => older.newer = slot.newer,
            None => self.oldest = slot.newer,
        }
        if self.hand == Some(index) {
            self.hand = slot.newer;
        }
        for tag in &slot.stored.tags {
            self.tagged.remove(&(*tag, index));
        }
        if let Some(variants) = self.by_key.get_mut(&slot.keys.key) {
            variants.retain(|other| *other != index);
            if variants.is_empty() {
                self.by_key.remove(&slot.keys.key);
                self.of_uri.remove(&(slot.keys.uri, slot.keys.key));
            }
        }
        Some(slot.stored)
    }

    fn put(&mut self, slot: Slot) -> Index {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(slot);
            return index;
        }
        self.slots.push(Some(slot));
        // Four thousand million slots would be hundreds of gigabytes of entries alone.
        (self.slots.len() - 1) as Index
    }

    fn slot(&self, index: Index) -> Option<&Slot> {
        self.slots.get(index as usize)?.as_ref()
    }

    fn slot_mut(&mut self, index: Index) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut()
    }
}

#[cfg(test)]
impl Shard {
    pub fn tags(&self) -> usize {
        self.tagged.len()
    }
}
