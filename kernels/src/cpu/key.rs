//! An evaluation key as the CPU computes with it: masks expanded, the bootstrap key in the Fourier domain.

use fhe::params::*;
use fhe::{EvaluationKey, ParamSet};

use super::rotation::FourierKey;
use crate::backend::KernelError;
use crate::standard::StandardKey;

pub struct CpuKey {
    pub(super) public: PublicZero,
    bootstrap: Option<BootstrapKey>,
}

/// An encryption of zero, laid out for multiplication by a polynomial of zeros and ones.
pub(super) struct PublicZero {
    /// The mask's negated coefficients, then the coefficients: a window of it is the mask times a power of X.
    pub mask: Vec<u64>,
    pub body: Vec<u64>,
}

pub(super) struct BootstrapKey {
    /// For each word of the input's mask, its levels, each a small ciphertext.
    pub keyswitch: Vec<u32>,
    pub fourier: FourierKey,
}

impl CpuKey {
    /// Runs on the current rayon pool.
    pub(super) fn expand(key: &EvaluationKey, needed: ParamSet) -> Result<Self, KernelError> {
        let zero = key.public_zero()?;
        let (mask, body) = zero.as_ref().split_at(POLYNOMIAL_SIZE);
        let negated = mask.iter().map(|word| word.wrapping_neg());
        let public = PublicZero {
            mask: negated.chain(mask.iter().copied()).collect(),
            body: body.to_vec(),
        };
        let bootstrap = match needed {
            ParamSet::Linear => None,
            ParamSet::Bootstrap => Some(BootstrapKey::expand(key)?),
        };
        Ok(Self { public, bootstrap })
    }

    pub(super) fn bytes_of(set: ParamSet) -> usize {
        let public = 3 * POLYNOMIAL_SIZE * 8;
        match set {
            ParamSet::Linear => public,
            ParamSet::Bootstrap => {
                let keyswitch = POLYNOMIAL_SIZE * KS_LEVELS * SMALL_WORDS * 4;
                // Four polynomials of N/2 complex numbers of 16 bytes for each bit of the small key.
                public + keyswitch + SMALL_DIMENSION * 4 * PBS_LEVELS * POLYNOMIAL_SIZE / 2 * 16
            }
        }
    }

    pub(super) fn bootstrap(&self) -> Result<&BootstrapKey, KernelError> {
        self.bootstrap.as_ref().ok_or(KernelError::NoBootstrapKey)
    }
}

impl BootstrapKey {
    fn expand(key: &EvaluationKey) -> Result<Self, KernelError> {
        let standard = StandardKey::new(key)?;
        Ok(Self {
            fourier: FourierKey::new(&standard.bootstrap),
            keyswitch: standard.keyswitch,
        })
    }
}
