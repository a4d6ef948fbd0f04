//! Which primitives there are. A policy defines them by name when it is configured; the same name and specification in the same
//! scope is the same primitive, whoever asks, however often policies are swapped. A changed specification begins afresh.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::SpecError;
use super::breaker::{Breaker, BreakerSnapshot};
use super::circuit::{CircuitSpec, RawCircuitSpec};
use super::gate::Gate;
use super::kv::{KvCaps, KvStore};
use super::limiter::Limiter;
use super::meters::Meters;
use super::rate::RateSpec;

/// One name: what a person would write.
pub const MAX_NAME_BYTES: usize = 64;
/// Most places of a gate: more is no gate.
pub const MAX_GATE_LIMIT: u32 = 1_000_000;

/// What the operator lets one scope have.
#[derive(Debug, Clone, Copy)]
pub struct PrimitiveCaps {
    /// Limiters, and gates, and breakers, each.
    pub names_per_scope: usize,
    /// Keys of one limiter; about 100 bytes each when in use.
    pub keys_per_limiter: usize,
    /// Key-value stores of one policy. Shared ones are the operator's to declare, and not counted.
    pub stores_per_scope: usize,
    /// Entries of one store.
    pub kv_entries: usize,
    /// One store's memory: values, and what an entry costs beside (about 200 bytes).
    pub kv_max_bytes: usize,
    pub kv_key_bytes: usize,
    pub kv_value_bytes: usize,
}

impl Default for PrimitiveCaps {
    fn default() -> Self {
        Self {
            names_per_scope: 64,
            keys_per_limiter: 65_536,
            stores_per_scope: 8,
            kv_entries: 65_536,
            kv_max_bytes: 16 << 20,
            kv_key_bytes: 256,
            kv_value_bytes: 64 * 1024,
        }
    }
}

/// Why a primitive was not defined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    #[error("the name must be 1 to 64 bytes")]
    Name,
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("this policy has as many of these as it may")]
    TooMany,
    #[error("the name is taken, by another kind of metric or by another policy")]
    Conflict,
}

/// The shared state of all policies. One for the life of the process.
pub struct Primitives {
    caps: PrimitiveCaps,
    next_id: AtomicU64,
    limiters: Mutex<Named<Limiter>>,
    gates: Mutex<Named<Gate>>,
    breakers: Mutex<Named<Breaker>>,
    stores: Mutex<Named<KvStore>>,
    meters: Meters,
}

/// No policy's scope: a slash is in none of their names, and what stands before it is not what stands before that of shared limits.
const SHARED_STORES: &str = "kv/shared";

/// A key-value store, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSize {
    /// The policy it belongs to; None: shared.
    pub scope: Option<String>,
    pub name: String,
    pub entries: usize,
    pub bytes: usize,
    /// Entries that went before their time, to make room.
    pub evicted: u64,
}

type Named<T> = HashMap<Box<str>, HashMap<Box<str>, Vec<Arc<T>>>>;

impl Primitives {
    pub fn new(caps: PrimitiveCaps) -> Arc<Self> {
        Arc::new(Self {
            caps,
            next_id: AtomicU64::new(0),
            limiters: Mutex::default(),
            gates: Mutex::default(),
            breakers: Mutex::default(),
            stores: Mutex::default(),
            meters: Meters::default(),
        })
    }

    pub(crate) fn limiter(
        &self,
        scope: &str,
        name: &str,
        spec: RateSpec,
    ) -> Result<Arc<Limiter>, DefineError> {
        self.define(
            &self.limiters,
            self.caps.names_per_scope,
            (scope, name),
            |old| *old.spec() == spec,
            || {
                Limiter::new(
                    self.next_id.fetch_add(1, Ordering::Relaxed),
                    spec,
                    self.caps.keys_per_limiter,
                )
            },
        )
    }

    pub(crate) fn gate(
        &self,
        scope: &str,
        name: &str,
        limit: u32,
    ) -> Result<Arc<Gate>, DefineError> {
        if limit == 0 || limit > MAX_GATE_LIMIT {
            return Err(SpecError("`limit` must be 1 to 1,000,000").into());
        }
        self.define(
            &self.gates,
            self.caps.names_per_scope,
            (scope, name),
            |old| old.limit() == limit,
            || Gate::new(limit),
        )
    }

    pub(crate) fn breaker(
        &self,
        scope: &str,
        name: &str,
        raw: RawCircuitSpec,
    ) -> Result<Arc<Breaker>, DefineError> {
        let spec = CircuitSpec::new(raw)?;
        self.define(
            &self.breakers,
            self.caps.names_per_scope,
            (scope, name),
            |old| *old.spec() == spec,
            || Breaker::new(spec),
        )
    }

    /// The store of this name; without a scope the one that all who were granted it share.
    pub(crate) fn store(
        &self,
        scope: Option<&str>,
        name: &str,
    ) -> Result<Arc<KvStore>, DefineError> {
        let caps = KvCaps {
            entries: self.caps.kv_entries,
            bytes: self.caps.kv_max_bytes,
            key_bytes: self.caps.kv_key_bytes,
            value_bytes: self.caps.kv_value_bytes,
        };
        let most = scope.map_or(usize::MAX, |_| self.caps.stores_per_scope);
        self.define(
            &self.stores,
            most,
            (scope.unwrap_or(SHARED_STORES), name),
            |_| true,
            || KvStore::new(caps),
        )
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The variants of one name are kept while an instance holds them, so that during a swap the old chain and the new one each find
    /// their own again; the last defined is kept always.
    fn define<T>(
        &self,
        all: &Mutex<Named<T>>,
        most: usize,
        (scope, name): (&str, &str),
        same: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Result<Arc<T>, DefineError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(DefineError::Name);
        }
        let mut all = all.lock();
        let mine = all.entry(scope.into()).or_default();
        let count = mine.len();
        let variants = match mine.entry(name.into()) {
            Entry::Occupied(variants) => variants.into_mut(),
            Entry::Vacant(_) if count >= most => {
                return Err(DefineError::TooMany);
            }
            Entry::Vacant(variants) => variants.insert(Vec::new()),
        };
        if let Some(found) = variants.iter().find(|old| same(old)) {
            return Ok(found.clone());
        }
        variants.retain(|old| Arc::strong_count(old) > 1);
        let made = Arc::new(make());
        variants.push(made.clone());
        Ok(made)
    }

    /// The breakers in force, in order, for metrics and the admin page.
    pub fn snapshot(&self, now_ns: u64) -> Vec<BreakerSnapshot> {
        let mut found: Vec<BreakerSnapshot> = Vec::new();
        for (scope, names) in self.breakers.lock().iter() {
            for (name, variants) in names {
                let Some(breaker) = variants.last() else {
                    continue;
                };
                found.push(BreakerSnapshot {
                    scope: scope.to_string(),
                    name: name.to_string(),
                    keys: breaker.snapshot(now_ns),
                });
            }
        }
        found.sort_by(|a, b| (&a.scope, &a.name).cmp(&(&b.scope, &b.name)));
        found
    }

    /// Per limiter in force: scope, name, keys held, keys forgotten while they still counted.
    pub fn limiter_sizes(&self) -> Vec<(String, String, usize, u64)> {
        let mut found = Vec::new();
        for (scope, names) in self.limiters.lock().iter() {
            for (name, variants) in names {
                let Some(limiter) = variants.last() else {
                    continue;
                };
                found.push((
                    scope.to_string(),
                    name.to_string(),
                    limiter.keys(),
                    limiter.evicted_live(),
                ));
            }
        }
        found.sort();
        found
    }

    /// What a policy (None: those that share it) finds in one of its stores, for tools that test policies.
    pub fn stored(
        &self,
        policy: Option<&str>,
        store: &str,
        key: &str,
        now_ns: u64,
    ) -> Option<Bytes> {
        let found = self
            .stores
            .lock()
            .get(policy.unwrap_or(SHARED_STORES))?
            .get(store)?
            .last()?
            .clone();
        found.get(key, now_ns).map(|entry| entry.value)
    }

    /// The key-value stores, in order.
    pub fn store_sizes(&self) -> Vec<StoreSize> {
        let mut found = Vec::new();
        for (scope, names) in self.stores.lock().iter() {
            for (name, stores) in names {
                let size = stores.last().map(|store| store.size()).unwrap_or_default();
                found.push(StoreSize {
                    scope: (**scope != *SHARED_STORES).then(|| scope.to_string()),
                    name: name.to_string(),
                    entries: size.entries,
                    bytes: size.bytes,
                    evicted: size.evicted,
                });
            }
        }
        found.sort_by(|a, b| (&a.scope, &a.name).cmp(&(&b.scope, &b.name)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Algorithm;

    fn spec(limit: u64) -> RateSpec {
        RateSpec::new(Algorithm::Gcra, limit, 1000, 0).unwrap()
    }

    #[test]
    fn the_same_definition_is_the_same_primitive_and_scopes_are_apart() {
        let primitives = Primitives::new(PrimitiveCaps::default());
        let first = primitives.limiter("p", "l", spec(1)).unwrap();
        assert!(Arc::ptr_eq(
            &first,
            &primitives.limiter("p", "l", spec(1)).unwrap()
        ));
        assert!(!Arc::ptr_eq(
            &first,
            &primitives.limiter("q", "l", spec(1)).unwrap()
        ));
        // A swap under way: both specifications stay findable while someone holds them.
        let second = primitives.limiter("p", "l", spec(2)).unwrap();
        assert!(Arc::ptr_eq(
            &first,
            &primitives.limiter("p", "l", spec(1)).unwrap()
        ));
        assert!(Arc::ptr_eq(
            &second,
            &primitives.limiter("p", "l", spec(2)).unwrap()
        ));
        drop(first);
        let _third = primitives.limiter("p", "l", spec(3)).unwrap();
        assert_eq!(primitives.limiters.lock()["p"]["l"].len(), 2);
    }

    #[test]
    fn the_number_and_length_of_names_are_bounded() {
        let primitives = Primitives::new(PrimitiveCaps {
            names_per_scope: 2,
            ..PrimitiveCaps::default()
        });
        for name in ["a", "b"] {
            assert!(primitives.gate("p", name, 1).is_ok());
        }
        assert_eq!(
            primitives.gate("p", "c", 1).err(),
            Some(DefineError::TooMany)
        );
        assert!(primitives.gate("p", "a", 1).is_ok());
        assert!(primitives.gate("q", "c", 1).is_ok());
        assert_eq!(primitives.gate("p", "", 1).err(), Some(DefineError::Name));
        assert_eq!(
            primitives.gate("p", &"x".repeat(65), 1).err(),
            Some(DefineError::Name)
        );
        assert!(matches!(
            primitives.gate("p", "a", 0),
            Err(DefineError::Spec(_))
        ));
    }
}
