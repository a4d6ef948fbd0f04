//! One named limiter: a bounded table of keys, sharded, one decision under one lock; and the decision over several at once.

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::key::{KeyHash, KeyHasher};
use super::rate::{RateSpec, RateState, RateVerdict};
use super::table::KeyTable;

/// Enough that two workers seldom meet; a power of two.
const SHARDS: usize = 16;

pub(crate) struct Limiter {
    /// Orders the locks of several limiters.
    id: u64,
    spec: RateSpec,
    hasher: KeyHasher,
    shards: Box<[Mutex<KeyTable<RateState>>]>,
}

/// Most requests are under so many limits; more of them cost an allocation.
pub(crate) type Few<T> = SmallVec<[T; 4]>;

/// One part of a `take_all`.
pub(crate) struct Share<'a> {
    pub(crate) limiter: &'a Limiter,
    pub(crate) key: &'a str,
    pub(crate) cost: u64,
}

impl Limiter {
    pub(crate) fn new(id: u64, spec: RateSpec, max_keys: usize) -> Self {
        let per_shard = max_keys.div_ceil(SHARDS);
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(KeyTable::with_capacity(per_shard)))
            .collect();
        Self {
            id,
            spec,
            hasher: KeyHasher::default(),
            shards,
        }
    }

    pub(crate) fn spec(&self) -> &RateSpec {
        &self.spec
    }

    pub(crate) fn take(&self, key: &str, cost: u64, now_ns: u64) -> RateVerdict {
        let key = self.hasher.hash(key);
        self.take_in(
            &mut self.shards[key.shard(SHARDS)].lock(),
            key,
            cost,
            now_ns,
        )
    }

    /// What a request of cost 1 would be told. Takes nothing, and makes no entry.
    pub(crate) fn peek(&self, key: &str, now_ns: u64) -> RateVerdict {
        let key = self.hasher.hash(key);
        let state = self.shards[key.shard(SHARDS)]
            .lock()
            .peek(key)
            .unwrap_or_else(|| RateState::fresh(&self.spec));
        state.peek(&self.spec, now_ns)
    }

    pub(crate) fn settle(&self, key: &str, delta: i64, now_ns: u64) {
        let key = self.hasher.hash(key);
        let mut table = self.shards[key.shard(SHARDS)].lock();
        let state = self.entry(&mut table, key, now_ns);
        *state = state.settle(&self.spec, now_ns, delta);
    }

    fn take_in(
        &self,
        table: &mut KeyTable<RateState>,
        key: KeyHash,
        cost: u64,
        now_ns: u64,
    ) -> RateVerdict {
        let state = self.entry(table, key, now_ns);
        let (after, verdict) = state.take(&self.spec, now_ns, cost);
        *state = after;
        verdict
    }

    fn entry<'t>(
        &self,
        table: &'t mut KeyTable<RateState>,
        key: KeyHash,
        now_ns: u64,
    ) -> &'t mut RateState {
        table.slot(key, RateState::fresh(&self.spec), |state| {
            state.is_idle(&self.spec, now_ns)
        })
    }

    pub(crate) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub(crate) fn evicted_live(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.lock().evicted_live())
            .sum()
    }
}

/// All or none, atomically: every shard involved is locked, in one order for everyone, so that no two calls can wait for each other.
/// The verdict is the tightest. None if `shares` is empty.
pub(crate) fn take_all(shares: &[Share<'_>], now_ns: u64) -> Option<RateVerdict> {
    if let [share] = shares {
        return Some(share.limiter.take(share.key, share.cost, now_ns));
    }
    let mut verdicts = Few::new();
    take_into(&mut verdicts, shares, now_ns);
    tightest(&verdicts, |verdict| (verdict.allowed, verdict.remaining)).copied()
}

/// Which of several verdicts stands for all: a refusal, else the one with least left. `stands` is whether it is allowed, and what
/// remains. None if there are none.
pub(crate) fn tightest<V>(verdicts: &[V], stands: impl Fn(&V) -> (bool, u64)) -> Option<&V> {
    let refused = verdicts.iter().find(|verdict| !stands(verdict).0);
    let least = || verdicts.iter().min_by_key(|verdict| stands(verdict).1);
    refused.or_else(least)
}

/// The same, with a verdict for each share. If one is refused, the others say where they stand.
pub(crate) fn take_each(shares: &[Share<'_>], now_ns: u64) -> Vec<RateVerdict> {
    let mut verdicts = Few::new();
    take_into(&mut verdicts, shares, now_ns);
    verdicts.to_vec()
}

/// The same, to where the caller has room. `verdicts` is empty before.
pub(crate) fn take_into(verdicts: &mut Few<RateVerdict>, shares: &[Share<'_>], now_ns: u64) {
    let keys: Few<KeyHash> = shares
        .iter()
        .map(|share| share.limiter.hasher.hash(share.key))
        .collect();
    let place = |at: usize| (shares[at].limiter.id, keys[at].shard(SHARDS));
    let mut order: Few<usize> = (0..shares.len()).collect();
    order.sort_by_key(|&at| place(at));
    order.dedup_by_key(|at| place(*at));
    let mut locks: Few<MutexGuard<'_, KeyTable<RateState>>> = order
        .iter()
        .map(|&at| shares[at].limiter.shards[keys[at].shard(SHARDS)].lock())
        .collect();
    // The place is in `order`: every place of `shares` is.
    let lock_of = |at: usize| order.partition_point(|&other| place(other) < place(at));

    let mut before: Few<RateState> = SmallVec::new();
    for (at, share) in shares.iter().enumerate() {
        let table = &mut locks[lock_of(at)];
        before.push(*share.limiter.entry(table, keys[at], now_ns));
        verdicts.push(share.limiter.take_in(table, keys[at], share.cost, now_ns));
        if !verdicts[at].allowed {
            break;
        }
    }
    if verdicts.iter().all(|verdict| verdict.allowed) {
        return;
    }
    for (at, state) in before.into_iter().enumerate().rev() {
        *shares[at]
            .limiter
            .entry(&mut locks[lock_of(at)], keys[at], now_ns) = state;
    }
    for (at, share) in shares.iter().enumerate() {
        let limiter = share.limiter;
        let state = *limiter.entry(&mut locks[lock_of(at)], keys[at], now_ns);
        let stands = stand(state, &limiter.spec, now_ns, share.cost, verdicts.get(at));
        match verdicts.get_mut(at) {
            Some(told) => *told = stands,
            None => verdicts.push(stands),
        }
    }
}

/// Where a share stands of which nothing was taken, and what it was told meanwhile, if it had its turn.
pub(super) fn stand(
    state: RateState,
    spec: &RateSpec,
    now_ns: u64,
    cost: u64,
    told: Option<&RateVerdict>,
) -> RateVerdict {
    let (_, alone) = state.take(spec, now_ns, cost);
    match (alone.allowed, told) {
        // Refused only for what an earlier share of the same key had taken.
        (true, Some(verdict)) if !verdict.allowed => *verdict,
        (true, _) => state.peek(spec, now_ns),
        (false, _) => alone,
    }
}

#[cfg(test)]
mod tests;
