//! A store of limits outside of this process, which several gateways share: what it is asked, what it keeps of a key, and how it
//! must decide. The gateway brings one; this crate knows no store's protocol.
//!
//! A step is atomic and goes by the store's own clock, so that gateways whose clocks differ agree. The store says what it had
//! before; the words for the guest are made of that here, by the code that decides the limits of one process. [`LimitStep::apply`]
//! is the definition of what a store does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::NANOS_PER_US;
use crate::primitives::shared::{self, Taken};
use crate::primitives::{MAX_LIMIT, RateSpec};
use crate::services::Later;

/// How far ahead a bucket can be from full: a century. Twice that and the time of today is under 2^53 µs, so that a store which
/// counts in doubles is exact.
pub const MAX_SPAN_US: u64 = 100 * 31_557_600 * 1_000_000;
/// The most that a window can count: twice the largest limit, since a correction may leave a debt.
pub const MAX_COUNT: u64 = 2 * MAX_LIMIT;
/// The most that one correction moves a count.
pub const MAX_CORRECTION: u64 = MAX_LIMIT;

/// The store, and what decides without it.
#[derive(Clone)]
pub struct SharedLimits {
    pub store: Arc<dyn LimitStore>,
    pub without: WithoutStore,
}

/// What a limit says while the store is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutStore {
    /// This gateway counts for itself.
    #[default]
    Local,
    Allow,
    Deny,
}

pub trait LimitStore: Send + Sync {
    /// One atomic step. An answer that is not there within so long is an error.
    fn step(&self, step: &LimitStep, within: Duration) -> Later<LimitAnswer>;
}

/// One limit of one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitEntry {
    /// Up to 180 printable ASCII characters; whoever called is in it by a hash only.
    pub key: String,
    pub spec: RateSpec,
    pub cost: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitStep {
    /// From all or from none, in this order; a key may be there twice.
    Take(Vec<LimitEntry>),
    /// What is there; nothing is taken.
    Peek(LimitEntry),
    /// Moves a count without asking; the entry's cost is not looked at.
    Settle(LimitEntry, i64),
}

/// A time in µs, and parts of one: as many make one as the limit has tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros {
    pub whole: u64,
    pub parts: u64,
}

/// What is kept of a key, until it would decide as if there were nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitState {
    Bucket {
        full_at: Micros,
    },
    Window {
        index: u64,
        previous: u64,
        current: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitAnswer {
    /// The store's clock, since the Unix epoch.
    pub now_us: u64,
    /// Of `Take`: whether all was taken.
    pub taken: bool,
    /// Of each entry, before the step; None: nothing was kept.
    pub before: Vec<Option<LimitState>>,
}

impl LimitEntry {
    /// Its cost, or one more than can ever pass, which is as good.
    pub fn countable_cost(&self) -> u64 {
        self.cost.min(self.spec.capacity() + 1)
    }
}

impl LimitStep {
    pub fn entries(&self) -> &[LimitEntry] {
        match self {
            LimitStep::Take(entries) => entries,
            LimitStep::Peek(entry) | LimitStep::Settle(entry, _) => std::slice::from_ref(entry),
        }
    }

    /// What a store that keeps `kept` makes of it at this time. None: something kept is not a state of that limit.
    pub fn apply(
        &self,
        kept: &mut HashMap<String, LimitState>,
        now_us: u64,
    ) -> Option<LimitAnswer> {
        let entries = self.entries();
        let before: Vec<Option<LimitState>> = entries
            .iter()
            .map(|entry| kept.get(&entry.key).copied())
            .collect();
        let states = shared::states(entries, &before)?;
        let now_ns = now_us.saturating_mul(NANOS_PER_US);
        let mut taken = false;
        match self {
            LimitStep::Take(_) => {
                let outcome: Taken = shared::take_each(entries, &states, now_ns);
                taken = outcome.taken;
                if taken {
                    for (entry, state) in entries.iter().zip(outcome.after) {
                        let state = shared::stored(state, &entry.spec);
                        kept.insert(entry.key.clone(), state);
                    }
                }
            }
            LimitStep::Peek(_) => {}
            LimitStep::Settle(entry, delta) => {
                let after = shared::settle(states[0], &entry.spec, now_us, *delta);
                kept.insert(entry.key.clone(), shared::stored(after, &entry.spec));
            }
        }
        Some(LimitAnswer {
            now_us,
            taken,
            before,
        })
    }
}
