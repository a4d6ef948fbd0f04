//! The store: shards under locks of their own, one budget of bytes over all of them, and who is fetching what.
//!
//! A resource lives in one shard, so that invalidation looks in one place. The budget is common: a shard full of one popular
//! resource may take nearly all of it. Under a shard's lock only the memory of recent writes and purges is locked, never another shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_cache::{Meta, Override, VaryKey};
use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::{Mutex, RwLock};

use super::flight::{Flights, Turn};
use super::key::{Keys, Tag, UriKey};
use super::shard::Shard;

/// A power of two; more than the workers of any machine this runs on keeps them from meeting.
const SHARDS: usize = 32;

/// What an entry costs beside its headers and body: slot, maps, allocations.
const ENTRY_OVERHEAD_BYTES: u64 = 512;

/// What a header field costs beside its text, in the map.
const FIELD_OVERHEAD_BYTES: u64 = 64;

/// What a tag costs: twice its hash, and its place in the index.
const TAG_BYTES: u64 = 96;

/// Writes and purges remembered, each, for responses that were on their way when they came. A response slower than so many of them
/// may be stored although one of them made it stale: the window is that of any cache that remembers none.
const RECENT: usize = 256;

/// A stored response.
pub struct Stored {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub meta: Meta,
    pub vary: VaryKey,
    /// What a policy said when it was stored, for revalidations that no policy sees.
    pub policy: Option<Override>,
    pub tags: Box<[Tag]>,
}

/// What is stored for a request.
pub enum Found {
    Variant(Arc<Stored>),
    /// Only responses to requests with other headers.
    OtherVariants,
    Nothing,
}

pub struct Store {
    shards: Vec<Part>,
    flights: Flights,
    writes: Mutex<Recent<UriKey>>,
    purges: Mutex<Recent<Tag>>,
    size: AtomicU64,
    max_bytes: u64,
    max_object_bytes: u64,
    size_gauge: Gauge,
    evictions: Counter,
    purged: Counter,
}

/// How many resources were invalidated, and tags purged, until some moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    writes: u64,
    purges: u64,
}

/// What became of a response that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Stored,
    TooLarge,
    /// It was invalidated or purged while it was on its way.
    Overtaken,
}

/// What was invalidated last, and how many there ever were.
struct Recent<T> {
    count: u64,
    last: VecDeque<T>,
}

impl<T> Recent<T> {
    fn note(&mut self, what: T) {
        self.count += 1;
        if self.last.len() == RECENT {
            self.last.pop_front();
        }
        self.last.push_back(what);
    }

    fn any_since(&self, count: u64, is_it: impl Fn(&T) -> bool) -> bool {
        let since = usize::try_from(self.count.saturating_sub(count)).unwrap_or(usize::MAX);
        self.last.iter().rev().take(since).any(is_it)
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            count: 0,
            last: VecDeque::new(),
        }
    }
}

struct Part {
    shard: RwLock<Shard>,
    size: AtomicU64,
}

impl Stored {
    /// All that it takes in memory, as near as can be said.
    pub fn bytes(&self) -> u64 {
        let fields: u64 = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().len() + value.len()) as u64 + FIELD_OVERHEAD_BYTES)
            .sum();
        let tags = self.tags.len() as u64 * TAG_BYTES;
        self.body.len() as u64 + fields + self.vary.bytes() as u64 + tags + ENTRY_OVERHEAD_BYTES
    }
}

impl Store {
    pub fn new(max_bytes: u64, max_object_bytes: u64) -> Self {
        let part = || Part {
            shard: RwLock::default(),
            size: AtomicU64::new(0),
        };
        Self {
            shards: (0..SHARDS).map(|_| part()).collect(),
            flights: Flights::new(),
            writes: Mutex::default(),
            purges: Mutex::default(),
            size: AtomicU64::new(0),
            max_bytes,
            max_object_bytes: max_object_bytes.min(max_bytes),
            size_gauge: gauge!("gateway_cache_size_bytes"),
            evictions: counter!("gateway_cache_evictions_total"),
            purged: counter!("gateway_cache_purged_total"),
        }
    }

    pub fn max_object_bytes(&self) -> u64 {
        self.max_object_bytes
    }

    pub fn find(&self, keys: &Keys, request: &HeaderMap) -> Found {
        self.part(&keys.uri).shard.read().find(&keys.key, request)
    }

    /// Takes a response in that was asked for at this moment, in place of `instead_of`, and makes room for it.
    pub fn insert(
        &self,
        keys: Keys,
        stored: Stored,
        instead_of: Option<&Arc<Stored>>,
        asked: Moment,
    ) -> Kept {
        let bytes = stored.bytes();
        let part = self.part(&keys.uri);
        let mut shard = part.shard.write();
        // Under the shard's lock: who invalidates notes it before, and looks into the shard after.
        if self.overtaken(&keys.uri, &stored.tags, asked) {
            return Kept::Overtaken;
        }
        let mut dropped = Vec::new();
        if let Some(old) = instead_of {
            dropped.extend(shard.forget(&keys, old));
        }
        let fits = bytes <= self.max_object_bytes;
        if fits {
            dropped.extend(shard.insert(keys, Arc::new(stored)));
        }
        drop(shard);
        if !fits {
            self.shrink(part, &dropped);
            return Kept::TooLarge;
        }
        self.grow(part, bytes);
        self.shrink(part, &dropped);
        self.make_room();
        self.size_gauge.set(self.size_bytes() as f64);
        Kept::Stored
    }

    /// A validation succeeded: the same body under new headers.
    pub fn refresh(&self, keys: &Keys, old: &Arc<Stored>, new: Stored) -> bool {
        let part = self.part(&keys.uri);
        let (before, after) = (old.bytes(), new.bytes());
        let done = part.shard.write().refresh(keys, old, Arc::new(new));
        if done {
            self.grow(part, after);
            self.lessen(part, before);
        }
        done
    }

    pub fn forget(&self, keys: &Keys, old: &Arc<Stored>) {
        let part = self.part(&keys.uri);
        let dropped = part.shard.write().forget(keys, old);
        self.shrink(part, dropped.as_slice());
    }

    /// What a response that is asked for now must be held against when it is stored.
    pub fn moment(&self) -> Moment {
        Moment {
            writes: self.writes.lock().count,
            purges: self.purges.lock().count,
        }
    }

    fn overtaken(&self, uri: &UriKey, tags: &[Tag], asked: Moment) -> bool {
        let written = self
            .writes
            .lock()
            .any_since(asked.writes, |written| written == uri);
        let purged = || {
            self.purges
                .lock()
                .any_since(asked.purges, |purged| tags.contains(purged))
        };
        written || (!tags.is_empty() && purged())
    }

    pub fn invalidate(&self, uri: &UriKey) -> usize {
        self.writes.lock().note(*uri);
        let part = self.part(uri);
        let dropped = part.shard.write().invalidate(uri);
        self.shrink(part, &dropped);
        dropped.len()
    }

    /// Drops what bears the tag, and keeps out what is on its way.
    pub fn purge(&self, tag: &Tag) -> usize {
        self.purges.lock().note(*tag);
        let mut count = 0;
        for part in &self.shards {
            let dropped = part.shard.write().purge(tag);
            self.shrink(part, &dropped);
            count += dropped.len();
        }
        self.purged.increment(count as u64);
        self.size_gauge.set(self.size_bytes() as f64);
        count
    }

    /// Whose turn it is to fetch the key.
    pub fn turn(&self, keys: &Keys, may_lead: bool, now: SystemTime) -> Turn {
        self.flights.turn(keys.key, may_lead, now)
    }

    /// The key's responses are not stored: for a while nobody waits for them.
    pub fn note_unstorable(&self, keys: &Keys, now: SystemTime) {
        self.flights.note_unstorable(keys.key, now);
    }

    pub fn size_bytes(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub fn objects(&self) -> usize {
        self.shards.iter().map(|part| part.shard.read().len()).sum()
    }

    /// Evicts from whichever shard holds most, until the budget is kept.
    fn make_room(&self) {
        while self.size_bytes() > self.max_bytes {
            let fullest = self
                .shards
                .iter()
                .max_by_key(|part| part.size.load(Ordering::Relaxed));
            let Some(part) = fullest else {
                return;
            };
            let Some(dropped) = part.shard.write().evict() else {
                return;
            };
            self.evictions.increment(1);
            self.shrink(part, &[dropped]);
        }
    }

    fn part(&self, uri: &UriKey) -> &Part {
        &self.shards[uri.spread() % SHARDS]
    }

    fn grow(&self, part: &Part, bytes: u64) {
        part.size.fetch_add(bytes, Ordering::Relaxed);
        self.size.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lessen(&self, part: &Part, bytes: u64) {
        part.size.fetch_sub(bytes, Ordering::Relaxed);
        self.size.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn shrink(&self, part: &Part, dropped: &[Arc<Stored>]) {
        for stored in dropped {
            self.lessen(part, stored.bytes());
        }
    }
}

#[cfg(test)]
impl Store {
    /// Entries of the index of tags.
    pub fn tags(&self) -> usize {
        self.shards
            .iter()
            .map(|part| part.shard.read().tags())
            .sum()
    }
}
