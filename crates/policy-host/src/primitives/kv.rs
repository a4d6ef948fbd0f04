//! One named key-value store: sharded, bounded by entries and bytes, with times to live and versions.
//!
//! Invariants: a version never comes twice in one store, so a compare-and-swap cannot take a value that went and came back for the
//! one it read; every operation is one atomic step under one lock; what is expired is never seen.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use self::part::{Part, PartCaps};
use super::key::{KeyHash, KeyHasher};
use crate::clock::NANOS_PER_MS;

mod part;

/// Enough that two workers seldom meet; a power of two.
const MAX_PARTS: usize = 16;
/// A part holds several of the largest values, else a few of them would push out everything else.
const MIN_PART_BYTES: usize = 512 * 1024;

/// What the operator lets one store have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvCaps {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
}

pub(crate) struct KvStore {
    caps: KvCaps,
    hasher: KeyHasher,
    parts: Box<[Mutex<Part>]>,
    last_version: AtomicU64,
}

/// An entry as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KvEntry {
    pub(crate) value: Bytes,
    pub(crate) version: u64,
    /// None: until the store needs the room.
    pub(crate) expires_in_ms: Option<u64>,
}

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KvError {
    #[error("the key or the value is too long, or the counter would overflow")]
    Limit,
    #[error("the entry has another version")]
    Conflict,
    #[error("the time to live is 0, or the value is not a decimal number")]
    Invalid,
}

/// What a store holds, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KvSize {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    /// Entries that went before their time, to make room.
    pub(crate) evicted: u64,
}

impl KvStore {
    pub(crate) fn new(caps: KvCaps) -> Self {
        let wanted = (caps.bytes / MIN_PART_BYTES).clamp(1, MAX_PARTS);
        let count = 1 << wanted.ilog2();
        let part = PartCaps {
            entries: (caps.entries / count).max(1),
            bytes: caps.bytes / count,
        };
        Self {
            caps,
            hasher: KeyHasher::default(),
            parts: (0..count).map(|_| Mutex::new(Part::new(part))).collect(),
            last_version: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, key: &str, now_ns: u64) -> Option<KvEntry> {
        let (key, part) = self.place(key);
        let mut part = part.lock();
        let entry = part.find(key, now_ns)?;
        Some(KvEntry {
            value: entry.value.clone(),
            version: entry.version,
            expires_in_ms: entry
                .expires_ns
                .map(|at| (at - now_ns).div_ceil(NANOS_PER_MS)),
        })
    }

    /// The new version.
    pub(crate) fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        now_ns: u64,
    ) -> Result<u64, KvError> {
        self.fits(key, value.len())?;
        let expires = expiry(ttl_ms, now_ns)?;
        let (key, part) = self.place(key);
        let mut part = part.lock();
        let version = self.next_version();
        part.put(key, value.into(), version, expires, now_ns);
        Ok(version)
    }

    /// `version` 0: only if there is no entry.
    pub(crate) fn cas(
        &self,
        key: &str,
        version: u64,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        now_ns: u64,
    ) -> Result<u64, KvError> {
        self.fits(key, value.len())?;
        let expires = expiry(ttl_ms, now_ns)?;
        let (key, part) = self.place(key);
        let mut part = part.lock();
        if part.find(key, now_ns).map_or(0, |entry| entry.version) != version {
            return Err(KvError::Conflict);
        }
        let version = self.next_version();
        part.put(key, value.into(), version, expires, now_ns);
        Ok(version)
    }

    pub(crate) fn delete(&self, key: &str, now_ns: u64) -> bool {
        let (key, part) = self.place(key);
        part.lock().remove(key, now_ns)
    }

    /// The time to live is that of the first increment.
    pub(crate) fn incr(
        &self,
        key: &str,
        delta: i64,
        ttl_ms: Option<u64>,
        now_ns: u64,
    ) -> Result<i64, KvError> {
        self.fits(key, 0)?;
        let expires = expiry(ttl_ms, now_ns)?;
        let (key, part) = self.place(key);
        let mut part = part.lock();
        let (before, expires) = match part.find(key, now_ns) {
            Some(entry) => (number(&entry.value)?, entry.expires_ns),
            None => (0, expires),
        };
        let after = before.checked_add(delta).ok_or(KvError::Limit)?;
        let version = self.next_version();
        part.put(key, after.to_string().into(), version, expires, now_ns);
        Ok(after)
    }

    pub(crate) fn size(&self) -> KvSize {
        self.parts.iter().fold(KvSize::default(), |sum, part| {
            let size = part.lock().size();
            KvSize {
                entries: sum.entries + size.entries,
                bytes: sum.bytes + size.bytes,
                evicted: sum.evicted + size.evicted,
            }
        })
    }

    fn fits(&self, key: &str, value_bytes: usize) -> Result<(), KvError> {
        let one = PartCaps::cost(value_bytes);
        let fits = key.len() <= self.caps.key_bytes
            && value_bytes <= self.caps.value_bytes
            && one <= self.caps.bytes / self.parts.len();
        fits.then_some(()).ok_or(KvError::Limit)
    }

    fn place(&self, key: &str) -> (KeyHash, &Mutex<Part>) {
        let key = self.hasher.hash(key);
        (key, &self.parts[key.shard(self.parts.len())])
    }

    fn next_version(&self) -> u64 {
        self.last_version.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn expiry(ttl_ms: Option<u64>, now_ns: u64) -> Result<Option<u64>, KvError> {
    match ttl_ms {
        Some(0) => Err(KvError::Invalid),
        Some(ttl) => Ok(Some(
            now_ns.saturating_add(ttl.saturating_mul(NANOS_PER_MS)),
        )),
        None => Ok(None),
    }
}

fn number(value: &[u8]) -> Result<i64, KvError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(KvError::Invalid)
}

#[cfg(test)]
mod tests;
