//! How much of a blind rotation goes into one submission.
//!
//! Desktops end work that keeps a GPU for seconds (2 s on Windows, 10 s with some of Linux's drivers), and the screen stands still
//! meanwhile. A submission should take a quarter of a second; how much that is, is known from the last call.

use std::time::Duration;

use fhe::params::SMALL_DIMENSION;

const TARGET: Duration = Duration::from_millis(250);

/// Before anything is known: 64 of 918 bits take a hundredth of a second where a rotation takes a seventh.
const FIRST: usize = 64;
/// A submission costs some 20 µs, as much as some bits on a fast GPU.
const LEAST: usize = 16;

#[derive(Default)]
pub struct Pace {
    /// Of the last call: ciphertexts, and seconds for each bit.
    last: Option<(usize, f64)>,
}

impl Pace {
    /// Bits of a submission, for so many ciphertexts.
    pub fn bits(&self, ciphertexts: usize) -> usize {
        let Some((of, seconds)) = self.last else {
            return FIRST;
        };
        // At worst as much more as there are more of them; fewer take at most as long.
        let more = (ciphertexts as f64 / of as f64).max(1.0);
        let bits = TARGET.as_secs_f64() / (seconds * more);
        (bits as usize).clamp(LEAST, SMALL_DIMENSION)
    }

    /// A driver has ended the work: what comes next goes in the smallest parts.
    pub fn stopped(&mut self) {
        self.last = Some((1, f64::INFINITY));
    }

    /// All bits of so many ciphertexts took so long, with all that belongs to it.
    pub fn took(&mut self, ciphertexts: usize, time: Duration) {
        let seconds = time.as_secs_f64().max(1e-6) / SMALL_DIMENSION as f64;
        self.last = Some((ciphertexts, seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_takes_a_quarter_of_a_second() {
        let mut pace = Pace::default();
        assert_eq!(pace.bits(1000), FIRST);
        pace.took(8, Duration::from_secs(2));
        assert_eq!(pace.bits(8), 114);
        assert_eq!(pace.bits(1), 114);
        assert_eq!(pace.bits(16), 57);
        assert_eq!(pace.bits(1000), LEAST);
        pace.stopped();
        assert_eq!(pace.bits(1), LEAST);
        pace.took(1, Duration::from_millis(10));
        assert_eq!(pace.bits(1), SMALL_DIMENSION);
    }
}
