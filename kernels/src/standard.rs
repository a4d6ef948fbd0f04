//! A key with bootstraps as tfhe-rs expands it, which is what every backend makes its own form from.

use fhe::EvaluationKey;

use crate::backend::KernelError;

pub struct StandardKey {
    /// Polynomials modulo 2^64: of each bit of the small key, (mask, body) for the mask's digits, then for the body's.
    pub bootstrap: Vec<u64>,
    /// Of each word of a large mask, its levels, each a small ciphertext.
    pub keyswitch: Vec<u32>,
}

impl StandardKey {
    /// Runs on the current rayon pool.
    pub fn new(key: &EvaluationKey) -> Result<Self, KernelError> {
        let (bootstrap, keyswitch) = (key.bootstrap()?, key.keyswitch()?);
        Ok(Self {
            bootstrap: bootstrap
                .par_decompress_into_lwe_bootstrap_key()
                .into_container(),
            keyswitch: keyswitch
                .par_decompress_into_lwe_keyswitch_key()
                .into_container(),
        })
    }
}
