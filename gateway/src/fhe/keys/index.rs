//! Which keys are there and whose, in memory: states, quotas, and what is due. Pure: no disk, no clock.

use std::collections::HashMap;

use fhe::KeyId;

use super::uploads::UploadId;
use super::{KeyInfo, KeyStoreError, Meta};
use crate::fhe::Tenant;

/// Keys that were replaced and are in their grace do not count among those in use, but there are at most so many times
/// `max_keys` in all.
const WITH_REPLACED: usize = 2;
/// What is written behind is at most so old: a key's last use is for people and for the order of pre-warming.
const USE_GRAIN_S: u64 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its place is taken, its file is being written.
    Storing,
    Ready,
    /// Nobody finds it any more; its files may still be there.
    Removing,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub info: KeyInfo,
    pub state: State,
    pub meta: Meta,
    /// The last use that is on disk.
    pub written_use: Option<u64>,
}

pub(super) type Name = (Tenant, KeyId);

#[derive(Default)]
pub(super) struct Index {
    pub keys: HashMap<Name, Entry>,
    /// Space that unfinished uploads will need.
    pub reserved: HashMap<UploadId, (Tenant, u64)>,
}

/// What is to be let in.
pub(super) struct Candidate<'c> {
    pub tenant: &'c Tenant,
    pub bytes: u64,
    pub replaces: Option<KeyId>,
    /// The upload that it comes from: its space is reserved already.
    pub upload: Option<UploadId>,
}

impl Index {
    /// A key that can be used.
    pub fn ready(&self, name: &Name, now: u64) -> Result<&Entry, KeyStoreError> {
        match self.keys.get(name) {
            Some(entry) if entry.state != State::Ready => Err(KeyStoreError::Unknown),
            Some(entry) if entry.meta.expired(now) => Err(KeyStoreError::Expired),
            Some(entry) => Ok(entry),
            None => Err(KeyStoreError::Unknown),
        }
    }

    pub fn of<'i>(&'i self, tenant: &'i Tenant) -> impl Iterator<Item = (KeyId, &'i Entry)> {
        self.keys
            .iter()
            .filter(move |((of, _), _)| of == tenant)
            .map(|((_, id), entry)| (*id, entry))
    }

    /// Whether any tenant still has these bytes.
    pub fn anyone_has(&self, id: KeyId) -> bool {
        self.keys
            .iter()
            .any(|((_, other), entry)| *other == id && entry.state == State::Ready)
    }

    pub fn bytes(&self) -> u64 {
        let stored: u64 = self.keys.values().map(|entry| entry.info.bytes).sum();
        let reserved: u64 = self.reserved.values().map(|(_, bytes)| bytes).sum();
        stored + reserved
    }

    /// That the tenant's quotas and the space for all let it in. An unfinished upload counts as the key that it will be.
    pub fn admit(&self, new: &Candidate<'_>, max_bytes: u64) -> Result<(), KeyStoreError> {
        let settings = new.tenant.settings();
        let others = || {
            self.reserved
                .iter()
                .filter(|(upload, _)| Some(**upload) != new.upload)
                .map(|(_, reserved)| reserved)
        };
        let (mut in_use, mut all, mut bytes) = (0, 0, 0);
        for (id, entry) in self.of(new.tenant) {
            let replaced = entry.meta.replaced_by.is_some() || Some(id) == new.replaces;
            in_use += usize::from(!replaced);
            all += 1;
            bytes += entry.info.bytes;
        }
        for (_, reserved) in others().filter(|(of, _)| of == new.tenant) {
            (in_use, all, bytes) = (in_use + 1, all + 1, bytes + reserved);
        }
        if in_use >= settings.max_keys || all >= WITH_REPLACED * settings.max_keys {
            return Err(KeyStoreError::TooMany {
                limit: settings.max_keys,
            });
        }
        if bytes + new.bytes > settings.max_key_bytes {
            return Err(KeyStoreError::TooMuch {
                limit: settings.max_key_bytes,
            });
        }
        let stored: u64 = self.keys.values().map(|entry| entry.info.bytes).sum();
        let reserved: u64 = others().map(|(_, bytes)| bytes).sum();
        if stored + reserved + new.bytes > max_bytes {
            return Err(KeyStoreError::Full { limit: max_bytes });
        }
        Ok(())
    }

    /// Keys whose time has come, and those that could not be removed before.
    pub fn due(&self, now: u64) -> Vec<Name> {
        let due = |(_, entry): &(&Name, &Entry)| match entry.state {
            State::Storing => false,
            State::Ready => entry.meta.expired(now),
            State::Removing => true,
        };
        self.keys
            .iter()
            .filter(due)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Keys whose last use on disk is too old. `all`: whose last use is not on disk.
    pub fn used_since(&self, all: bool) -> Vec<Name> {
        let old = |entry: &Entry| match (entry.meta.last_used, entry.written_use) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(used), Some(written)) => {
                used != written && (all || used >= written.saturating_add(USE_GRAIN_S))
            }
        };
        self.keys
            .iter()
            .filter(|(_, entry)| entry.state == State::Ready && old(entry))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The most recently used first.
    pub fn by_recency(&self, now: u64) -> Vec<Name> {
        let mut ready: Vec<_> = self
            .keys
            .iter()
            .filter(|(_, entry)| entry.state == State::Ready && !entry.meta.expired(now))
            .map(|(name, entry)| (entry.meta.recency(), name))
            .collect();
        ready.sort_by_key(|(recency, _)| std::cmp::Reverse(*recency));
        ready.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Rotations of which only the new key was written before a crash: (tenant, old, new).
    pub fn unfinished_rotations(&self) -> Vec<(Tenant, KeyId, KeyId)> {
        let replaced = |((tenant, new), entry): (&Name, &Entry)| {
            let old = KeyId(entry.meta.replaces?);
            let known = self.keys.get(&(tenant.clone(), old))?;
            let open = known.meta.replaced_by.is_none();
            open.then(|| (tenant.clone(), old, *new))
        };
        self.keys.iter().filter_map(replaced).collect()
    }
}
