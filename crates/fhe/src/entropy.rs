//! Where randomness comes from: always an argument, the operating system's by default.

use tfhe::core_crypto::commons::generators::DeterministicSeeder;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::DefaultRandomGenerator;

use crate::error::FheError;

/// A source of seeds that nobody can predict. Every secret and every ciphertext rests on it.
pub trait Entropy {
    /// 128 fresh bits.
    fn seed(&mut self) -> Result<u128, FheError>;

    /// 256 fresh bits: what an evaluation hides its results with.
    fn secret(&mut self) -> Result<[u8; 32], FheError> {
        let mut secret = [0; 32];
        for half in secret.as_chunks_mut::<16>().0 {
            *half = self.seed()?.to_le_bytes();
        }
        Ok(secret)
    }
}

/// `getrandom(2)` and its like; in a browser, `crypto.getRandomValues`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn seed(&mut self) -> Result<u128, FheError> {
        let mut bytes = [0; 16];
        getrandom02::getrandom(&mut bytes).map_err(|e| FheError::Entropy(e.to_string()))?;
        Ok(u128::from_le_bytes(bytes))
    }
}

/// Expands one secret seed into many: what tfhe-rs calls a seeder.
pub(crate) fn seeder(seed: u128) -> DeterministicSeeder<DefaultRandomGenerator> {
    DeterministicSeeder::new(Seed(seed))
}

/// Predictable: for tests only.
#[derive(Clone, Copy, Debug)]
pub struct TestEntropy(pub u128);

impl Entropy for TestEntropy {
    fn seed(&mut self) -> Result<u128, FheError> {
        self.0 = self
            .0
            .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
            .wrapping_add(1);
        Ok(self.0)
    }
}
