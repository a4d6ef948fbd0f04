//! What is known of an endpoint's behaviour lately: latency (peak-sensitive average and percentiles), rate, share of errors.
//!
//! Pure: every call says what time it is, as the time since the endpoint was made. Memory is constant.

use std::time::Duration;

/// The average forgets half of an old peak in about seven of these seconds.
const EWMA_DECAY: Duration = Duration::from_secs(10);

/// An attempt that failed counts as at least this slow in the average, or an endpoint that refuses at once would look fast.
const FAILURE_PENALTY: Duration = Duration::from_secs(1);

/// Rates and percentiles cover between one and two windows.
const WINDOW: Duration = Duration::from_secs(10);

/// Four buckets to each power of two: at most 19 % off. From 1 µs to 2^28 µs, that is 268 s; longer counts as that.
const SUB_BITS: u32 = 2;
const BUCKETS: usize = 28 << SUB_BITS;

/// The statistics of one endpoint.
#[derive(Debug, Clone)]
pub struct Stats {
    ewma_us: f64,
    sampled: Duration,
    window_start: Duration,
    current: Window,
    previous: Window,
}

/// Counts of one stretch of time; windows of several endpoints add up.
#[derive(Debug, Clone)]
pub struct Window {
    attempts: u64,
    failures: u64,
    latency: Box<[u32; BUCKETS]>,
    span: Duration,
}

/// How an attempt came out, as far as statistics go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// No answer, or one that blames the server.
    Failed,
}

impl Stats {
    pub fn new() -> Self {
        Self {
            ewma_us: 0.0,
            sampled: Duration::ZERO,
            window_start: Duration::ZERO,
            current: Window::empty(),
            previous: Window::empty(),
        }
    }

    /// An attempt ended `latency` after it began.
    pub fn record(&mut self, now: Duration, latency: Duration, outcome: Outcome) {
        self.rotate(now);
        self.current.attempts += 1;
        let slot = &mut self.current.latency[bucket(latency)];
        *slot = slot.saturating_add(1);
        let felt = match outcome {
            Outcome::Answered => latency,
            Outcome::Failed => {
                self.current.failures += 1;
                latency.max(FAILURE_PENALTY)
            }
        };
        self.average(now, felt);
    }

    /// A response broke off after its head had been counted as an answer.
    pub fn record_broken_body(&mut self, now: Duration) {
        self.rotate(now);
        self.current.failures += 1;
        self.current.attempts = self.current.attempts.max(self.current.failures);
    }

    /// Peak-sensitive: a slower sample counts at once, a faster one little by little.
    fn average(&mut self, now: Duration, latency: Duration) {
        let sample = latency.as_secs_f64() * 1e6;
        if sample >= self.ewma_us {
            self.ewma_us = sample;
        } else {
            let passed = now.saturating_sub(self.sampled).as_secs_f64();
            let kept = (-passed / EWMA_DECAY.as_secs_f64()).exp();
            self.ewma_us = self.ewma_us * kept + sample * (1.0 - kept);
        }
        self.sampled = now;
    }

    /// Microseconds; decays while nothing is sent, so that an endpoint that was slow once gets another try.
    pub fn ewma_us(&self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.sampled).as_secs_f64();
        self.ewma_us * (-passed / EWMA_DECAY.as_secs_f64()).exp()
    }

    /// The last one to two windows as one.
    pub fn recent(&mut self, now: Duration) -> Window {
        self.rotate(now);
        let mut sum = self.previous.clone();
        sum.add(&self.current);
        sum.span = self.previous.span + now.saturating_sub(self.window_start);
        sum
    }

    fn rotate(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.window_start);
        if passed < WINDOW {
            return;
        }
        let ended = std::mem::replace(&mut self.current, Window::empty());
        self.previous = if passed < WINDOW * 2 {
            Window {
                span: passed,
                ..ended
            }
        } else {
            Window::empty()
        };
        self.window_start = now;
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    pub fn empty() -> Self {
        Self {
            attempts: 0,
            failures: 0,
            latency: Box::new([0; BUCKETS]),
            span: Duration::ZERO,
        }
    }

    /// Adds what another endpoint saw in the same time.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failures += other.failures;
        for (mine, theirs) in self.latency.iter_mut().zip(other.latency.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.span = self.span.max(other.span);
    }

    /// Attempts per second.
    pub fn rate(&self) -> f64 {
        let seconds = self.span.as_secs_f64();
        // Below a second the quotient would say more about the clock than about the traffic.
        self.attempts as f64 / seconds.max(1.0)
    }

    pub fn error_rate(&self) -> f64 {
        if self.attempts == 0 {
            return 0.0;
        }
        self.failures as f64 / self.attempts as f64
    }

    /// The latency, in microseconds, that `share` (0 to 1) of the attempts did not exceed; 0 if there were none.
    pub fn percentile_us(&self, share: f64) -> u64 {
        let total: u64 = self.latency.iter().map(|count| u64::from(*count)).sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.latency.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && *count > 0 {
                return upper_edge_us(index);
            }
        }
        0
    }
}

/// Bucket of a latency: the position of its highest bit and the two bits below.
fn bucket(latency: Duration) -> usize {
    let us = u64::try_from(latency.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    let exponent = us.ilog2();
    let sub = match exponent.checked_sub(SUB_BITS) {
        Some(shift) => us >> shift,
        None => us << (SUB_BITS - exponent),
    } & ((1 << SUB_BITS) - 1);
    let index = (u64::from(exponent) << SUB_BITS) | sub;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The first latency past a bucket.
fn upper_edge_us(index: usize) -> u64 {
    let exponent = index >> SUB_BITS;
    let sub = (index & ((1 << SUB_BITS) - 1)) as u64;
    (((1 << SUB_BITS) + sub + 1) << exponent).div_ceil(1 << SUB_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn every_latency_lies_below_the_edge_of_its_bucket() {
        for us in (0..3_000).chain([10_000, 123_456, 99_999_999, u64::from(u32::MAX)]) {
            let edge = upper_edge_us(bucket(Duration::from_micros(us)));
            let capped = us.clamp(1, (1 << 28) - 1);
            assert!(edge > capped, "{us} {edge}");
            assert!(edge as f64 <= capped as f64 * 1.25 + 1.0, "{us} {edge}");
        }
    }

    #[test]
    fn percentiles_and_rates_cover_recent_windows_only() {
        let mut stats = Stats::new();
        for n in 0..100 {
            let outcome = if n < 10 {
                Outcome::Failed
            } else {
                Outcome::Answered
            };
            let ms = if n == 99 { 500.0 } else { 1.0 };
            stats.record(secs(0.05 * f64::from(n)), secs(ms / 1e3), outcome);
        }
        let recent = stats.recent(secs(5.0));
        assert!((recent.rate() - 20.0).abs() < 0.1);
        assert!((recent.error_rate() - 0.1).abs() < 1e-9);
        assert!((1_000..1_300).contains(&recent.percentile_us(0.5)));
        assert!((500_000..650_000).contains(&recent.percentile_us(1.0)));
        assert!((stats.recent(secs(15.0)).rate() - 100.0 / 15.0).abs() < 0.1);
        let later = stats.recent(secs(60.0));
        assert_eq!((later.percentile_us(0.5), later.rate()), (0, 0.0));
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut stats = Stats::new();
        stats.record(secs(1.0), secs(0.001), Outcome::Answered);
        stats.record(secs(1.1), secs(0.4), Outcome::Answered);
        assert!(stats.ewma_us(secs(1.1)) >= 399_999.0);
        stats.record(secs(1.2), secs(0.001), Outcome::Answered);
        let soon = stats.ewma_us(secs(1.2));
        assert!((300_000.0..400_000.0).contains(&soon), "{soon}");
        assert!(stats.ewma_us(secs(61.0)) < 2_000.0);
    }

    #[test]
    fn a_quick_failure_does_not_look_fast() {
        let mut stats = Stats::new();
        stats.record(secs(1.0), secs(0.000_05), Outcome::Failed);
        assert!(stats.ewma_us(secs(1.0)) >= 1e6);
    }
}
