//! How far apart two counts lie on the torus, so that the noise of all contributions together never reaches halfway.

use crate::noise;
use crate::params::{MAX_LOG2_P_FAIL, POLYNOMIAL_SIZE};

/// The most contributions that one merged ciphertext may hold, whatever its schema says: past it, little of a word is
/// left to count in.
pub const MAX_MERGES_LOG2: u32 = 20;
pub const MAX_MERGES: u32 = 1 << MAX_MERGES_LOG2;
/// Bits of a word that are sent: what is left out adds a thirtieth to the noise that an encryption has anyway.
pub const WORD_BITS: u32 = 48;

/// How counts lie in words, for up to 2^`merges_log2` contributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    merges_log2: u32,
    bits: u32,
}

impl Step {
    /// `None` for more contributions than [`MAX_MERGES`].
    pub fn of(merges_log2: u32) -> Option<Self> {
        if merges_log2 > MAX_MERGES_LOG2 {
            return None;
        }
        let bits = (1..64).find(|&bits| log2_p_fail(merges_log2, bits) <= MAX_LOG2_P_FAIL)?;
        Some(Self { merges_log2, bits })
    }

    pub fn merges_log2(self) -> u32 {
        self.merges_log2
    }

    pub fn merges(self) -> u32 {
        1 << self.merges_log2
    }

    /// One count is 2 to this power, of a word of 64 bits.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Bits of the number that one contribution puts into one slot, its sign among them: as many contributions as are
    /// allowed, all of them as large as can be, just fill the slot.
    pub fn digit_bits(self) -> u32 {
        64 - self.bits - self.merges_log2
    }

    /// log2 of the probability that any slot of a full ciphertext is read wrong.
    pub fn log2_p_fail(self) -> f64 {
        log2_p_fail(self.merges_log2, self.bits)
    }
}

/// That noise moves any of the slots by half a step.
fn log2_p_fail(merges_log2: u32, step_bits: u32) -> f64 {
    let variance = noise::counters(1 << merges_log2, WORD_BITS);
    let half_step = 2f64.powi(step_bits as i32 - 1 - 64);
    noise::log2_p_fail(variance, half_step) + (POLYNOMIAL_SIZE as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_safe_and_the_smallest_that_is() {
        for merges_log2 in 0..=MAX_MERGES_LOG2 {
            let step = Step::of(merges_log2).unwrap();
            assert!(step.log2_p_fail() <= MAX_LOG2_P_FAIL, "{step:?}");
            assert!(log2_p_fail(merges_log2, step.bits - 1) > MAX_LOG2_P_FAIL);
            assert!(step.bits > 64 - WORD_BITS, "{step:?}");
            assert!(step.digit_bits() >= 7, "{step:?}");
        }
        assert_eq!(Step::of(MAX_MERGES_LOG2 + 1), None);
        let (one, most) = (Step::of(0).unwrap(), Step::of(MAX_MERGES_LOG2).unwrap());
        assert_eq!((one.bits(), one.digit_bits()), (27, 37));
        assert_eq!((most.bits(), most.digit_bits()), (37, 7));
    }
}
