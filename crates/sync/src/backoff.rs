//! How long to wait after a failure (pure): full jitter, so that a thousand sites that lost one centre do not come
//! back at once.

use std::time::Duration;

/// No honest server asks for more; a longer wait would look like a dead site.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Waits between nothing and a bound that doubles with each failure.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// The bound goes from `first` up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most: most.max(first),
            failures: 0,
        }
    }

    /// Counts a failure; returns the wait before the next attempt. `chance` is uniform in 0..1. A server's
    /// Retry-After is the least that is waited.
    pub fn after_failure(&mut self, chance: f64, retry_after: Option<Duration>) -> Duration {
        let bound = self
            .first
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.most);
        self.failures = (self.failures + 1).min(31);
        let jittered = bound.mul_f64(chance.clamp(0.0, 1.0));
        match retry_after {
            // On top of it, so that all who were told the same do not come at the same moment.
            Some(wait) => wait
                .min(MAX_RETRY_AFTER)
                .saturating_add(jittered.min(self.first)),
            None => jittered,
        }
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bound_doubles_up_to_the_most_and_starts_over() {
        let mut backoff = Backoff::new(SECOND, 300 * SECOND);
        let waits: Vec<u64> = (0..12)
            .map(|_| backoff.after_failure(1.0, None).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        for _ in 0..100 {
            assert!(backoff.after_failure(1.0, None) <= 300 * SECOND);
        }
        backoff.reset();
        assert_eq!(backoff.after_failure(1.0, None), SECOND);
    }

    #[test]
    fn chance_spreads_the_wait_over_the_whole_bound() {
        let mut backoff = Backoff::new(SECOND, 300 * SECOND);
        assert_eq!(backoff.after_failure(0.0, None), Duration::ZERO);
        assert_eq!(backoff.after_failure(0.5, None), SECOND);
    }

    #[test]
    fn retry_after_is_the_least_and_has_a_limit() {
        let mut backoff = Backoff::new(SECOND, 300 * SECOND);
        assert_eq!(backoff.after_failure(0.0, Some(30 * SECOND)), 30 * SECOND);
        assert!(backoff.after_failure(1.0, Some(30 * SECOND)) <= 31 * SECOND);
        assert!(backoff.after_failure(1.0, Some(Duration::MAX)) <= MAX_RETRY_AFTER + SECOND);
    }
}
