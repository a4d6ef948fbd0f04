//! Keeps what is sent under a rate (pure): a link that is never quite full keeps its delay short and loses little.

use std::time::{Duration, Instant};

/// Bytes that may go ahead of the rate: one chunk per request in flight.
const BURST_BYTES: f64 = 64.0 * 1024.0;

/// A bucket that fills at the rate; sending may drain it below zero, and then waits until it is level again.
#[derive(Debug, Clone)]
pub struct Pacer {
    bytes_per_second: Option<f64>,
    level: f64,
    at: Instant,
}

impl Pacer {
    /// `None`: no limit.
    pub fn new(bytes_per_second: Option<u64>, now: Instant) -> Self {
        // A rate below one byte a second would be a wait without end.
        let bytes_per_second = bytes_per_second.map(|rate| rate.max(1) as f64);
        Self {
            bytes_per_second,
            level: BURST_BYTES,
            at: now,
        }
    }

    /// Takes leave for `bytes`; returns how long to wait before they are sent.
    pub fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else {
            return Duration::ZERO;
        };
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + passed * rate).min(BURST_BYTES) - bytes as f64;
        if self.level >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.level / rate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_than_the_rate_and_one_burst_go_out() {
        let start = Instant::now();
        let mut now = start;
        let mut pacer = Pacer::new(Some(100_000), now);
        let mut sent = 0;
        while now < start + Duration::from_secs(60) {
            now += pacer.take(16_384, now);
            sent += 16_384;
        }
        let allowed = 60 * 100_000 + BURST_BYTES as usize + 16_384;
        assert!(sent <= allowed, "{sent} of {allowed}");
        assert!(sent > allowed * 9 / 10, "{sent} of {allowed}");
    }

    #[test]
    fn a_long_silence_is_not_saved_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(1000), start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(pacer.take(BURST_BYTES as usize, later), Duration::ZERO);
        assert!(pacer.take(1000, later) >= Duration::from_millis(999));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut pacer = Pacer::new(None, now);
        assert_eq!(pacer.take(usize::MAX, now), Duration::ZERO);
    }
}
