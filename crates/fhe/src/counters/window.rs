//! The time that a counter ciphertext is about.

use serde::{Deserialize, Serialize};

use crate::error::{FheError, Thing};

/// A month of 31 days: who counts for longer adds up what was read.
pub const MAX_WINDOW_SECONDS: u32 = 31 * 24 * 3600;
/// The year 9999, so that an end never overflows and can always be written as a date.
const MAX_START: u64 = 253_402_300_799;

/// Whole seconds since 1970 (UTC), from `start` on; a multiple of its length, so that all who count agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    start: u64,
    seconds: u32,
}

impl Window {
    pub fn new(start: u64, seconds: u32) -> Result<Self, FheError> {
        let refused = |reason: String| Err(FheError::malformed(Thing::CounterCiphertext, reason));
        if !(1..=MAX_WINDOW_SECONDS).contains(&seconds) {
            return refused(format!(
                "its window is {seconds} s long; 1 to {MAX_WINDOW_SECONDS} are allowed"
            ));
        }
        if start > MAX_START || !start.is_multiple_of(u64::from(seconds)) {
            return refused(format!(
                "its window of {seconds} s begins at {start}, which is no multiple of its length before the year 10000"
            ));
        }
        Ok(Self { start, seconds })
    }

    /// The window of this length that `now` lies in.
    pub fn at(now: u64, seconds: u32) -> Result<Self, FheError> {
        Self::new(now - now % u64::from(seconds.max(1)), seconds)
    }

    pub fn start(self) -> u64 {
        self.start
    }

    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// The first second that is no longer of it.
    pub fn end(self) -> u64 {
        self.start + u64::from(self.seconds)
    }
}
