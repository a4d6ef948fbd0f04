//! Bootstraps, for a block of ciphertexts of one key at once: the switch to 2N, the blind rotation, the extraction.

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE};
use tfhe::core_crypto::prelude::*;

use super::key::BootstrapKey;
use super::rotation::{Accumulator, Rotate};
use super::simd::dispatch;
use crate::backend::{Read, SmallBatch, Table};

/// Twelve accumulators (33 KB each) and two rows of the key (64 KB each) are half a megabyte, which stays in the
/// second-level cache while a row passes. Sixteen are hardly faster.
pub(super) const BLOCK: usize = 12;

/// A small ciphertext switched to 2N, which is what a blind rotation reads.
pub(crate) struct Switched {
    mask: Vec<u16>,
    body: u16,
}

impl Switched {
    /// The centred switch: takes away the expected error of the mask's rounding, as the parameter set asks.
    pub fn new(ciphertext: &[u32]) -> Self {
        let lwe = LweCiphertext::from_container(ciphertext, CiphertextModulus::new_native());
        let log_modulus = PolynomialSize(POLYNOMIAL_SIZE).to_blind_rotation_input_modulus_log();
        let lazy = lwe_ciphertext_centered_binary_modulus_switch::<u32, u32, _>(lwe, log_modulus);
        // Both are below 2N = 4096.
        Self {
            mask: lazy.mask().map(|word| word as u16).collect(),
            body: lazy.body() as u16,
        }
    }
}

impl Switched {
    pub fn turns(&self) -> &[u16] {
        &self.mask
    }

    pub fn body(&self) -> u16 {
        self.body
    }
}

impl ModulusSwitchedLweCiphertext<usize> for Switched {
    fn log_modulus(&self) -> CiphertextModulusLog {
        PolynomialSize(POLYNOMIAL_SIZE).to_blind_rotation_input_modulus_log()
    }
    fn lwe_dimension(&self) -> LweDimension {
        LweDimension(self.mask.len())
    }
    fn body(&self) -> usize {
        usize::from(self.body)
    }
    fn mask(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.mask.iter().map(|&word| usize::from(word))
    }
}

/// `reads`: of each ciphertext of the block, the coefficients wanted, in the order in which they come out.
pub(super) fn block(
    key: &BootstrapKey,
    batch: &SmallBatch,
    block: &[usize],
    tables: &[&Table],
    uses: &[u32],
    reads: &[&[Read]],
) -> Vec<u64> {
    let accumulators = rotate(key, batch, block, tables, uses);
    let wanted = reads.iter().map(|reads| reads.len()).sum::<usize>();
    let mut out = vec![0u64; wanted * LWE_WORDS];
    let of_each = accumulators.iter().zip(reads);
    let wanted =
        of_each.flat_map(|(accumulator, reads)| reads.iter().map(move |read| (accumulator, read)));
    for (target, (accumulator, read)) in out.chunks_exact_mut(LWE_WORDS).zip(wanted) {
        extract(accumulator, read.coefficient as usize, target);
        if read.keep < Read::WHOLE {
            target.iter_mut().for_each(|word| *word = read.kept(*word));
        }
    }
    out
}

/// Each ciphertext's table (with no mask to begin with), turned by what the ciphertext holds.
pub(super) fn rotate(
    key: &BootstrapKey,
    batch: &SmallBatch,
    block: &[usize],
    tables: &[&Table],
    uses: &[u32],
) -> Vec<Accumulator> {
    let switched: Vec<Switched> = block
        .iter()
        .map(|&index| Switched::new(batch.ciphertext(index)))
        .collect();
    let mut accumulators: Vec<Accumulator> = block
        .iter()
        .zip(&switched)
        .map(|(&index, switched)| {
            Accumulator::new(&tables[uses[index] as usize].polynomial(), switched.body)
        })
        .collect();
    let turns: Vec<&[u16]> = switched.iter().map(|one| &one.mask[..]).collect();
    dispatch(Rotate {
        key: &key.fourier,
        turns: &turns,
        accumulators: &mut accumulators,
    });
    accumulators
}

/// One coefficient as a large ciphertext: the mask a_i, a_{i-1}, …, a_0, -a_{N-1}, …, and the body b_i.
pub(super) fn extract(accumulator: &Accumulator, coefficient: usize, target: &mut [u64]) {
    let (mask, body) = target.split_at_mut(POLYNOMIAL_SIZE);
    let (head, tail) = mask.split_at_mut(coefficient + 1);
    let (direct, wrapped) = accumulator.mask().split_at(coefficient + 1);
    for (target, word) in head.iter_mut().zip(direct.iter().rev()) {
        *target = *word;
    }
    for (target, word) in tail.iter_mut().zip(wrapped.iter().rev()) {
        *target = word.wrapping_neg();
    }
    body[0] = accumulator.body()[coefficient];
}

const _: () = assert!(2 * POLYNOMIAL_SIZE <= u16::MAX as usize);
