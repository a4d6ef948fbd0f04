//! The algorithms against models that are slow and obvious, on random traffic.

use proptest::prelude::*;

use super::*;

fn spec(algorithm: Algorithm, limit: u64, per_ms: u64, burst: u64) -> RateSpec {
    RateSpec::new(algorithm, limit, per_ms, burst).unwrap()
}

/// A bucket of tokens in exact fractions: `level` counts in 1/`per_ns` of a token.
struct TokenBucket {
    level: u128,
    at_ns: u64,
}

impl TokenBucket {
    fn take(&mut self, limit: u64, per_ns: u64, capacity: u64, now_ns: u64, cost: u64) -> bool {
        let full = u128::from(capacity) * u128::from(per_ns);
        let refill = u128::from(now_ns - self.at_ns) * u128::from(limit);
        self.level = (self.level + refill).min(full);
        self.at_ns = now_ns;
        let wanted = u128::from(cost) * u128::from(per_ns);
        let enough = wanted <= self.level;
        if enough {
            self.level -= wanted;
        }
        enough
    }
}

/// Calls as (pause since the one before in µs, cost).
fn traffic() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![Just(0), 1..2_000u64, 1..3_000_000u64];
    prop::collection::vec((pause, 0..12u64), 1..200)
}

proptest! {
    #[test]
    fn gcra_is_a_token_bucket(calls in traffic(), limit in 1..50u64, per_ms in 1..2_000u64, burst in 0..20u64) {
        let spec = spec(Algorithm::Gcra, limit, per_ms, burst);
        let capacity = if burst == 0 { limit } else { burst };
        let per_ns = per_ms * NANOS_PER_MS;
        let mut model = TokenBucket { level: u128::from(capacity) * u128::from(per_ns), at_ns: 0 };
        let mut state = RateState::fresh(&spec);
        let mut now = 0;
        for (pause_us, cost) in calls {
            now += pause_us * 1000;
            let (after, verdict) = state.take(&spec, now, cost);
            prop_assert_eq!(verdict.allowed, model.take(limit, per_ns, capacity, now, cost));
            prop_assert_eq!(u128::from(verdict.remaining), model.level / u128::from(per_ns));
            prop_assert_eq!(after.is_idle(&spec, now), model.level == u128::from(capacity) * u128::from(per_ns));
            state = after;
        }
    }

    #[test]
    fn a_fixed_window_counts_between_multiples_of_per(calls in traffic(), limit in 1..50u64, per_ms in 1..2_000u64) {
        let spec = spec(Algorithm::FixedWindow, limit, per_ms, 0);
        let mut taken = std::collections::HashMap::<u64, u64>::new();
        let mut state = RateState::fresh(&spec);
        let mut now = 0;
        for (pause_us, cost) in calls {
            now += pause_us * 1000;
            let window = taken.entry(now / (per_ms * NANOS_PER_MS)).or_default();
            let (after, verdict) = state.take(&spec, now, cost);
            prop_assert_eq!(verdict.allowed, *window + cost <= limit);
            *window += if verdict.allowed { cost } else { 0 };
            prop_assert_eq!(verdict.remaining, limit - *window);
            state = after;
        }
    }

    #[test]
    fn a_sliding_window_weighs_the_last_window(calls in traffic(), limit in 1..50u64, per_ms in 1..2_000u64) {
        let spec = spec(Algorithm::SlidingWindow, limit, per_ms, 0);
        let per = per_ms * NANOS_PER_MS;
        let mut taken = std::collections::HashMap::<u64, u64>::new();
        let mut state = RateState::fresh(&spec);
        let mut now = 0;
        for (pause_us, cost) in calls {
            now += pause_us * 1000;
            let index = now / per;
            let previous = index.checked_sub(1).and_then(|before| taken.get(&before)).copied().unwrap_or(0);
            let current = taken.get(&index).copied().unwrap_or(0);
            let used = u128::from(previous) * u128::from(per - now % per) + u128::from(current + cost) * u128::from(per);
            let (after, verdict) = state.take(&spec, now, cost);
            prop_assert_eq!(verdict.allowed, used <= u128::from(limit) * u128::from(per));
            if verdict.allowed {
                *taken.entry(index).or_default() += cost;
            }
            state = after;
        }
    }

    /// For every algorithm: after `retry_after` the same request passes, and a millisecond before that it does not.
    #[test]
    fn retry_after_is_the_first_millisecond_that_works(
        calls in traffic(), limit in 1..50u64, per_ms in 1..2_000u64, burst in 0..20u64, which in 0..3usize,
    ) {
        let algorithm = [Algorithm::Gcra, Algorithm::SlidingWindow, Algorithm::FixedWindow][which];
        let spec = spec(algorithm, limit, per_ms, burst);
        let mut state = RateState::fresh(&spec);
        let mut now = 0;
        for (pause_us, cost) in calls {
            now += pause_us * 1000;
            let (after, verdict) = state.take(&spec, now, cost);
            prop_assert_eq!(verdict.allowed, verdict.retry_after_ms == 0);
            if !verdict.allowed && cost <= verdict.limit {
                let then = now + verdict.retry_after_ms * NANOS_PER_MS;
                prop_assert!(state.take(&spec, then, cost).1.allowed);
                if verdict.retry_after_ms > 1 {
                    prop_assert!(!state.take(&spec, then - NANOS_PER_MS, cost).1.allowed);
                }
            }
            let fresh_again = now + verdict.reset_ms * NANOS_PER_MS;
            prop_assert!(after.is_idle(&spec, fresh_again));
            state = after;
        }
    }

    #[test]
    fn nothing_overflows_whatever_the_numbers(
        limit in 1..=MAX_LIMIT, per_ms in 1..=MAX_PER_MS, burst in 0..=MAX_LIMIT, which in 0..3usize,
        calls in prop::collection::vec((any::<u32>(), any::<u64>(), any::<i64>()), 1..40),
    ) {
        let algorithm = [Algorithm::Gcra, Algorithm::SlidingWindow, Algorithm::FixedWindow][which];
        let spec = spec(algorithm, limit, per_ms, burst);
        let mut state = RateState::fresh(&spec);
        let mut now = 0u64;
        for (pause_ms, cost, delta) in calls {
            now += u64::from(pause_ms) * NANOS_PER_MS;
            let (after, verdict) = state.take(&spec, now, cost);
            prop_assert!(!verdict.allowed || cost <= verdict.limit);
            prop_assert!(verdict.remaining <= verdict.limit);
            state = after.settle(&spec, now, delta);
            let _ = state.peek(&spec, now);
        }
    }
}

#[test]
fn a_correction_gives_back_or_leaves_a_debt() {
    for algorithm in [
        Algorithm::Gcra,
        Algorithm::SlidingWindow,
        Algorithm::FixedWindow,
    ] {
        let spec = spec(algorithm, 10, 1000, 0);
        let (state, _) = RateState::fresh(&spec).take(&spec, 0, 8);
        assert_eq!(state.peek(&spec, 0).remaining, 2);
        assert_eq!(state.settle(&spec, 0, -5).peek(&spec, 0).remaining, 7);
        assert_eq!(
            state.settle(&spec, 0, -100).peek(&spec, 0).remaining,
            10,
            "no more than full"
        );
        let owing = state.settle(&spec, 0, 12);
        assert!(!owing.peek(&spec, 0).allowed);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (limit, per, burst) in [
        (0, 1, 0),
        (MAX_LIMIT + 1, 1, 0),
        (1, 0, 0),
        (1, MAX_PER_MS + 1, 0),
        (1, 1, MAX_LIMIT + 1),
    ] {
        assert!(RateSpec::new(Algorithm::Gcra, limit, per, burst).is_err());
    }
}
