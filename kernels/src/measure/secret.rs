//! The client's arithmetic on single ciphertexts. The randomness is good enough for a measurement, and for nothing else.

use fhe::params::{GLWE_NOISE_BOUND_LOG2, LWE_WORDS, POLYNOMIAL_SIZE};
use fhe::{ClientKey, Entropy, FheError};

/// Numbers from a seed of the operating system's.
pub(super) struct Random(blake3::OutputReader);

impl Random {
    pub fn new(entropy: &mut dyn Entropy) -> Result<Self, FheError> {
        let seed = entropy.secret()?;
        Ok(Self(blake3::Hasher::new_keyed(&seed).finalize_xof()))
    }

    pub fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    fn fill(&mut self, words: &mut [u64]) {
        let mut bytes = vec![0; size_of_val(words)];
        self.0.fill(&mut bytes);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
}

/// Appends a large ciphertext of this word of the torus.
pub(super) fn encrypt(key: &ClientKey, plain: u64, random: &mut Random, out: &mut Vec<u64>) {
    let start = out.len();
    out.resize(start + LWE_WORDS, 0);
    let (mask, body) = out[start..].split_at_mut(POLYNOMIAL_SIZE);
    random.fill(mask);
    let noise = random
        .below(2 << GLWE_NOISE_BOUND_LOG2)
        .wrapping_sub(1 << GLWE_NOISE_BOUND_LOG2);
    body[0] = product(key, mask).wrapping_add(plain).wrapping_add(noise);
}

/// The word that a ciphertext holds, with its noise.
pub(super) fn phase(key: &ClientKey, ciphertext: &[u64]) -> u64 {
    let (mask, body) = ciphertext.split_at(POLYNOMIAL_SIZE);
    body[0].wrapping_sub(product(key, mask))
}

/// To the nearest multiple of 2^-bits of the torus, modulo 1: which one it is.
pub(super) fn nearest(phase: u64, bits: u32) -> u64 {
    phase.wrapping_add(1 << (63 - bits)) >> (64 - bits)
}

fn product(key: &ClientKey, mask: &[u64]) -> u64 {
    let bits = key.large().as_ref();
    let chosen = mask
        .iter()
        .zip(bits)
        .map(|(word, bit)| word.wrapping_mul(*bit));
    chosen.fold(0, u64::wrapping_add)
}
