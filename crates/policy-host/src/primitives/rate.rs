//! The three limiting algorithms as pure functions of (specification, state, now, cost), in exact integers: no drift, no rounding in
//! the guest's favour. Waits are rounded up to whole milliseconds.

use super::SpecError;
use crate::clock::{NANOS_PER_MS, NANOS_PER_US};

/// Largest limit and burst: far above what one gateway can serve in a window, low enough that nothing overflows.
pub const MAX_LIMIT: u64 = 1_000_000_000;
/// Longest window: a month, for quotas.
pub const MAX_PER_MS: u64 = 31 * 24 * 3600 * 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// A bucket of `burst` (else `limit`) tokens that refills evenly, `limit` in `per`.
    Gcra,
    /// At most `limit` in any `per`, reckoned from this window's count and the last one's share.
    SlidingWindow,
    /// At most `limit` between two multiples of `per`.
    FixedWindow,
}

/// What a limiter enforces; checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RateSpec {
    algorithm: Algorithm,
    limit: u64,
    per_ns: u64,
    capacity: u64,
}

impl RateSpec {
    pub fn new(
        algorithm: Algorithm,
        limit: u64,
        per_ms: u64,
        burst: u64,
    ) -> Result<Self, SpecError> {
        if limit == 0 || limit > MAX_LIMIT {
            return Err(SpecError("`limit` must be 1 to 1,000,000,000"));
        }
        if per_ms == 0 || per_ms > MAX_PER_MS {
            return Err(SpecError("`per` must be 1 ms to 31 days"));
        }
        if burst > MAX_LIMIT {
            return Err(SpecError("`burst` must be at most 1,000,000,000"));
        }
        let capacity = match algorithm {
            Algorithm::Gcra if burst > 0 => burst,
            Algorithm::Gcra | Algorithm::SlidingWindow | Algorithm::FixedWindow => limit,
        };
        Ok(Self {
            algorithm,
            limit,
            per_ns: per_ms * NANOS_PER_MS,
            capacity,
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Tokens that come back in a period, or pass in one.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The period.
    pub fn per_us(&self) -> u64 {
        self.per_ns / NANOS_PER_US
    }

    /// The most that can pass at once.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateVerdict {
    pub allowed: bool,
    pub remaining: u64,
    /// The most that can pass at once.
    pub limit: u64,
    /// How long until the same request can pass; zero when it was allowed.
    pub retry_after_ms: u64,
    /// How long until nothing of what was taken counts any more.
    pub reset_ms: u64,
}

/// What is known of one key. Time in a bucket counts in nanoseconds times `limit`, so that a token is `per_ns`: no division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateState {
    /// The time at which the bucket is full again.
    Bucket { full_at: u128 },
    Window {
        index: u64,
        previous: u64,
        current: u64,
    },
}

impl RateState {
    pub(crate) fn fresh(spec: &RateSpec) -> Self {
        match spec.algorithm {
            Algorithm::Gcra => RateState::Bucket { full_at: 0 },
            Algorithm::SlidingWindow | Algorithm::FixedWindow => RateState::Window {
                index: 0,
                previous: 0,
                current: 0,
            },
        }
    }

    /// Whether a fresh state would decide the same.
    pub(crate) fn is_idle(&self, spec: &RateSpec, now_ns: u64) -> bool {
        match self.rolled(spec, now_ns) {
            RateState::Bucket { full_at } => full_at <= scaled(spec, now_ns),
            RateState::Window {
                previous, current, ..
            } => previous == 0 && current == 0,
        }
    }

    /// Windows that ended since are put behind.
    fn rolled(self, spec: &RateSpec, now_ns: u64) -> Self {
        let RateState::Window {
            index,
            previous: _,
            current,
        } = self
        else {
            return self;
        };
        let now = now_ns / spec.per_ns;
        if now <= index {
            return self;
        }
        let follows = now == index + 1 && spec.algorithm == Algorithm::SlidingWindow;
        RateState::Window {
            index: now,
            previous: if follows { current } else { 0 },
            current: 0,
        }
    }

    /// One decision: the state after it, and what to say. Refused takes nothing.
    pub(crate) fn take(self, spec: &RateSpec, now_ns: u64, cost: u64) -> (Self, RateVerdict) {
        let state = self.rolled(spec, now_ns);
        match state.wait_ns(spec, now_ns, cost) {
            None => {
                let after = state.charged(spec, now_ns, i128::from(cost));
                (after, after.verdict(spec, now_ns, None))
            }
            Some(wait) => (state, state.verdict(spec, now_ns, Some(wait))),
        }
    }

    /// What a request of cost 1 would be told. Takes nothing.
    pub(crate) fn peek(self, spec: &RateSpec, now_ns: u64) -> RateVerdict {
        let state = self.rolled(spec, now_ns);
        state.verdict(spec, now_ns, state.wait_ns(spec, now_ns, 1))
    }

    /// Moves the count by `delta` without asking, by at most `MAX_LIMIT` at a time: a correction. It may leave a debt.
    pub(crate) fn settle(self, spec: &RateSpec, now_ns: u64, delta: i64) -> Self {
        let delta = i128::from(delta).clamp(-i128::from(MAX_LIMIT), i128::from(MAX_LIMIT));
        self.rolled(spec, now_ns).charged(spec, now_ns, delta)
    }

    fn charged(self, spec: &RateSpec, now_ns: u64, delta: i128) -> Self {
        match self {
            RateState::Bucket { full_at } => {
                let now = scaled(spec, now_ns);
                let full_at = full_at
                    .max(now)
                    .saturating_add_signed(delta.saturating_mul(i128::from(spec.per_ns)));
                RateState::Bucket {
                    full_at: full_at.max(now),
                }
            }
            RateState::Window {
                index,
                previous,
                current,
            } => {
                let current = (i128::from(current) + delta).clamp(0, i128::from(2 * MAX_LIMIT));
                RateState::Window {
                    index,
                    previous,
                    current: u64::try_from(current).unwrap_or(0),
                }
            }
        }
    }

    /// None: `cost` passes now. Some: how long until it would, if nothing else came.
    fn wait_ns(&self, spec: &RateSpec, now_ns: u64, cost: u64) -> Option<u128> {
        if cost > spec.capacity {
            // It can never pass: the honest answer is when the key is as free as it gets.
            return Some(u128::from(self.reset_ns(spec, now_ns)));
        }
        match *self {
            RateState::Bucket { full_at } => {
                let now = scaled(spec, now_ns);
                let bound = now + u128::from(spec.capacity) * u128::from(spec.per_ns);
                let wanted = full_at.max(now) + u128::from(cost) * u128::from(spec.per_ns);
                let over = wanted.checked_sub(bound).filter(|over| *over > 0)?;
                Some(over.div_ceil(u128::from(spec.limit)))
            }
            RateState::Window {
                previous, current, ..
            } => window_wait(spec, now_ns, previous, current, cost),
        }
    }

    fn reset_ns(&self, spec: &RateSpec, now_ns: u64) -> u64 {
        let ns = match *self {
            RateState::Bucket { full_at } => full_at
                .saturating_sub(scaled(spec, now_ns))
                .div_ceil(u128::from(spec.limit)),
            RateState::Window {
                previous, current, ..
            } => {
                let rest = u128::from(spec.per_ns - now_ns % spec.per_ns);
                match (spec.algorithm, previous, current) {
                    (_, 0, 0) => 0,
                    (Algorithm::SlidingWindow, _, 1..) => rest + u128::from(spec.per_ns),
                    (Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::Gcra, _, _) => {
                        rest
                    }
                }
            }
        };
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    fn remaining(&self, spec: &RateSpec, now_ns: u64) -> u64 {
        let left = match *self {
            RateState::Bucket { full_at } => {
                let owed = full_at.saturating_sub(scaled(spec, now_ns));
                (u128::from(spec.capacity) * u128::from(spec.per_ns)).saturating_sub(owed)
                    / u128::from(spec.per_ns)
            }
            RateState::Window {
                previous, current, ..
            } => {
                let per = u128::from(spec.per_ns);
                let used = u128::from(previous) * (per - u128::from(now_ns) % per)
                    + u128::from(current) * per;
                (u128::from(spec.limit) * per).saturating_sub(used) / per
            }
        };
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    fn verdict(&self, spec: &RateSpec, now_ns: u64, wait_ns: Option<u128>) -> RateVerdict {
        RateVerdict {
            allowed: wait_ns.is_none(),
            remaining: self.remaining(spec, now_ns),
            limit: spec.capacity,
            retry_after_ms: wait_ns.map_or(0, |wait| whole_ms(wait).max(1)),
            reset_ms: whole_ms(u128::from(self.reset_ns(spec, now_ns))),
        }
    }
}

fn scaled(spec: &RateSpec, ns: u64) -> u128 {
    u128::from(ns) * u128::from(spec.limit)
}

fn whole_ms(ns: u128) -> u64 {
    u64::try_from(ns.div_ceil(u128::from(NANOS_PER_MS))).unwrap_or(u64::MAX)
}

/// `cost` is at most the limit. With `elapsed` of `per` gone, the last window still counts for its share of the rest.
fn window_wait(
    spec: &RateSpec,
    now_ns: u64,
    previous: u64,
    current: u64,
    cost: u64,
) -> Option<u128> {
    let per = u128::from(spec.per_ns);
    let elapsed = u128::from(now_ns) % per;
    let (limit, previous, current, cost) = (
        u128::from(spec.limit),
        u128::from(previous),
        u128::from(current),
        u128::from(cost),
    );
    if previous * (per - elapsed) + (current + cost) * per <= limit * per {
        return None;
    }
    if current + cost <= limit {
        // Within this window: until the last one's share has shrunk enough. It is not zero, or the cost had passed.
        let enough = per - ((limit - current - cost) * per / previous.max(1)).min(per);
        return Some(enough.saturating_sub(elapsed));
    }
    let rest = per - elapsed;
    Some(match spec.algorithm {
        // In the next window this one's count is what shrinks.
        Algorithm::SlidingWindow => rest + (per - ((limit - cost) * per / current.max(1)).min(per)),
        Algorithm::FixedWindow | Algorithm::Gcra => rest,
    })
}

#[cfg(test)]
mod tests;
