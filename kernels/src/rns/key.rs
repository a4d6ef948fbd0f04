//! A bootstrap key modulo Q, transformed.

use fhe::params::{POLYNOMIAL_SIZE as N, SMALL_DIMENSION};
use rayon::prelude::*;

use super::field::PRIMES;
use super::ntt::Twiddles;
use super::to_q;

/// GGSW encryptions of the small key's bits: of each bit, for the mask's digits and then for the body's, what they are
/// multiplied with for the new mask and for the new body; each modulo both primes, transformed.
pub struct RnsKey {
    twiddles: [Twiddles; 2],
    /// [bit][digits of][for][prime][coefficient], one after another.
    words: Vec<u32>,
}

/// Polynomials of one bit: 2 digits, 2 results.
const POLYNOMIALS: usize = 4;

impl RnsKey {
    pub const BYTES: usize = SMALL_DIMENSION * POLYNOMIALS * 2 * N * 4;

    /// From polynomials modulo 2^64, in the order that tfhe-rs has them: of each bit, (mask, body) for the mask's digits, then for
    /// the body's. Runs on the current rayon pool.
    pub fn new(standard: &[u64]) -> Self {
        let twiddles = PRIMES.map(Twiddles::new);
        let words = standard.par_chunks_exact(N).flat_map_iter(|polynomial| {
            let residues: Vec<u64> = polynomial.iter().map(|&word| to_q(word)).collect();
            let modulo = |twiddles: &Twiddles| {
                let p = u64::from(twiddles.prime().p);
                let mut values: Vec<u32> = residues.iter().map(|q| (q % p) as u32).collect();
                twiddles.transform(&mut values);
                values
            };
            twiddles.iter().flat_map(modulo).collect::<Vec<_>>()
        });
        let words = words.collect();
        Self { twiddles, words }
    }

    /// Of each prime, what the key was transformed with.
    pub(super) fn twiddles(&self) -> &[Twiddles; 2] {
        &self.twiddles
    }

    /// Of a bit of the small key: the polynomial that digits of `from` (0: the mask, 1: the body) are multiplied with for `to`,
    /// modulo a prime.
    pub(super) fn polynomial(&self, bit: usize, from: usize, to: usize, prime: usize) -> &[u32] {
        let index = ((bit * 2 + from) * 2 + to) * 2 + prime;
        &self.words[index * N..][..N]
    }

    /// All words, as they lie on a device.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}
