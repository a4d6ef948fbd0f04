//! The linear layer: an integer matrix times lists of ciphertexts, every result decrypted.

use std::time::{Duration, Instant};

use fhe::OsEntropy;

use super::secret::{Random, encrypt, nearest, phase};
use super::{Keys, MeasureError, Measured, repeat};
use crate::backend::{Backend, LweBatch, LweSum};

/// Of one row: a matrix of 64 times 64.
pub const SUMS: usize = 64;
/// Weights are whole numbers of ±7, and messages of 0 to 15: a sum of 64 products has 14 bits with its sign.
const WEIGHTS: u64 = 15;
const MESSAGES: u64 = 16;
const STEP_BITS: u32 = 16;

/// Calls of so many rows each for about so long, and one at least; each row takes `SUMS`² multiply-adds of ciphertexts.
pub fn sums<B: Backend>(
    backend: &B,
    keys: &Keys<B>,
    rows: usize,
    length: Duration,
) -> Result<Measured, MeasureError> {
    let mut random = Random::new(&mut OsEntropy)?;
    let client = keys.client(0);
    let mut weight = || random.below(WEIGHTS) as i64 - (WEIGHTS / 2) as i64;
    let matrix: Vec<Vec<(u32, i64)>> = (0..SUMS)
        .map(|_| (0..SUMS as u32).map(|at| (at, weight())).collect())
        .collect();
    let mut inputs = LweBatch {
        words: Vec::new(),
        keys: vec![0; rows * SUMS],
    };
    let messages: Vec<u64> = (0..rows * SUMS).map(|_| random.below(MESSAGES)).collect();
    for message in &messages {
        let plain = message << (64 - STEP_BITS);
        encrypt(client, plain, &mut random, &mut inputs.words);
    }
    let sum = |index: usize| LweSum {
        base: index / SUMS * SUMS,
        terms: &matrix[index % SUMS],
        constant: 0,
        key: 0,
    };
    let sums: Vec<LweSum<'_>> = (0..rows * SUMS).map(sum).collect();
    let meant = |sum: &LweSum<'_>| {
        let product = |&(at, weight): &(u32, i64)| weight * messages[sum.base + at as usize] as i64;
        let total: i64 = sum.terms.iter().map(product).sum();
        total as u64 & ((1 << STEP_BITS) - 1)
    };
    let meant: Vec<u64> = sums.iter().map(meant).collect();
    repeat(length, || {
        let began = Instant::now();
        let out = backend.linear(&inputs, &sums)?;
        let took = began.elapsed();
        let is_wrong =
            |&at: &usize| nearest(phase(client, out.ciphertext(at)), STEP_BITS) != meant[at];
        let wrong = (0..sums.len()).filter(is_wrong).count();
        Ok((took, sums.len(), wrong))
    })
}
