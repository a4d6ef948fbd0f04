//! Where the time comes from. Everything that decides takes the time as an argument; only the edge of this crate asks a `Clock`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub const NANOS_PER_MS: u64 = 1_000_000;
pub const NANOS_PER_US: u64 = 1000;

/// Two clocks: the wall clock is data for guests, the monotonic one is what limiters, breakers and pauses count with.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. May jump.
    fn wall_ms(&self) -> u64;
    /// Nanoseconds since some fixed point. Never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until told otherwise: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now_ns: AtomicU64,
}

impl ManualClock {
    pub fn starting_at_ms(ms: u64) -> Self {
        Self {
            now_ns: AtomicU64::new(ms * NANOS_PER_MS),
        }
    }

    pub fn advance_ms(&self, ms: u64) {
        self.now_ns.fetch_add(ms * NANOS_PER_MS, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.monotonic_ns() / NANOS_PER_MS
    }

    fn monotonic_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }
}
