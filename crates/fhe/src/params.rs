//! The parameter sets that are allowed. Nothing else is ever accepted: a file or a request names one by its number.
//!
//! Invariant: every set has at least 128 bits of security and p_fail ≤ 2^-128 per bootstrap.
//! - **Security.** Noise bounds are the smallest that tfhe-rs's own curves (fitted with the lattice estimator) allow
//!   for 132 bits with uniform binary secrets; a test here recomputes them from those curves.
//! - **p_fail.** 2^-129.581 at a 2-norm of 5, as published with the set; `noise` recomputes that number.
//!
//! Source: tfhe-rs 1.8.2, `shortint/parameters/v1_8/ks32/tuniform/p_fail_2_minus_128/ks_pbs.rs`,
//! `V1_8_PARAM_MESSAGE_2_CARRY_2_KS32_PBS_TUNIFORM_2M128` (keyswitch key modulo 2^32, all else modulo 2^64).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Security level of both sets, in bits, by the curves named above.
pub const SECURITY_BITS: u32 = 132;
/// No bootstrap, and no exact result, may fail more often than 2 to this power.
pub const MAX_LOG2_P_FAIL: f64 = -128.0;

/// Ring degree N, and the dimension of every ciphertext that is sent (glwe dimension k = 1).
pub const POLYNOMIAL_SIZE: usize = 2048;
/// Words of a large LWE ciphertext: the mask, then the body.
pub const LWE_WORDS: usize = POLYNOMIAL_SIZE + 1;
/// Dimension n of a ciphertext between keyswitch and bootstrap.
pub const SMALL_DIMENSION: usize = 918;
pub const SMALL_WORDS: usize = SMALL_DIMENSION + 1;

/// TUniform(b): uniform over -2^b..=2^b with half weight at the ends. Modulo 2^64.
pub const GLWE_NOISE_BOUND_LOG2: u32 = 17;
/// Of the small key; modulo 2^32.
pub const LWE32_NOISE_BOUND_LOG2: u32 = 13;

pub const KS_BASE_LOG: usize = 4;
pub const KS_LEVELS: usize = 4;
pub const PBS_BASE_LOG: usize = 23;
pub const PBS_LEVELS: usize = 1;

/// The most message bits that a lookup reads; one more, the padding bit, is always zero.
pub const MAX_LOOKUP_BITS: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ParamSet {
    /// Bootstraps: TFHE 2_2 with a 32-bit keyswitch key. Its large key is the same kind as that of `Linear`, so
    /// what `Linear` can do, this can.
    #[serde(rename = "tfhe-2_2-ks32-128")]
    Bootstrap,
    /// Sums only: dimension 2048 alone, and no bootstrap key.
    #[serde(rename = "linear-2048-128")]
    Linear,
}

impl ParamSet {
    pub const ALL: [Self; 2] = [Self::Bootstrap, Self::Linear];

    /// The number that stands for it in binary formats.
    pub fn id(self) -> u16 {
        match self {
            Self::Bootstrap => 1,
            Self::Linear => 2,
        }
    }

    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.id() == id)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Bootstrap => "tfhe-2_2-ks32-128",
            Self::Linear => "linear-2048-128",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Whether a key of this set can serve a program of `needed`.
    pub fn serves(self, needed: Self) -> bool {
        self == Self::Bootstrap || needed == Self::Linear
    }
}

impl fmt::Display for ParamSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe::core_crypto::commons::noise_formulas::secure_noise::minimal_lwe_bound_for_132_bits_security_tuniform;
    use tfhe::core_crypto::prelude::LweDimension;

    #[test]
    fn noise_bounds_are_those_of_the_132_bit_curve() {
        let large = LweDimension(POLYNOMIAL_SIZE);
        let small = LweDimension(SMALL_DIMENSION);
        let bound = minimal_lwe_bound_for_132_bits_security_tuniform;
        assert_eq!(bound(large, 2f64.powi(64)), GLWE_NOISE_BOUND_LOG2);
        assert_eq!(bound(small, 2f64.powi(32)), LWE32_NOISE_BOUND_LOG2);
    }

    #[test]
    fn names_and_numbers_are_inverse() {
        for set in ParamSet::ALL {
            assert_eq!(ParamSet::from_id(set.id()), Some(set));
            assert_eq!(ParamSet::from_name(set.name()), Some(set));
        }
        assert_eq!(ParamSet::from_id(0), None);
        assert!(!ParamSet::Linear.serves(ParamSet::Bootstrap));
        assert!(ParamSet::Bootstrap.serves(ParamSet::Linear));
    }
}
