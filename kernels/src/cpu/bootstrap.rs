//! Bootstraps, for a block of ciphertexts of one key at once: tfhe-rs's batched blind rotation.

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE};
use tfhe::core_crypto::prelude::*;

use super::key::BootstrapKey;
use crate::backend::{Read, SmallBatch, Table};

/// Eight accumulators and their scratch (half a megabyte) stay in the second-level cache while a row of the key passes.
pub(super) const BLOCK: usize = 8;

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
        let mut lwe = LweCiphertext::from_container(target, CiphertextModulus::new_native());
        let place = MonomialDegree(read.coefficient as usize);
        extract_lwe_sample_from_glwe_ciphertext(&accumulator, &mut lwe, place);
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
) -> GlweCiphertextListOwned<u64> {
    let ring_words = 2 * POLYNOMIAL_SIZE;
    let modulus = CiphertextModulus::new_native();
    let switched: Vec<Switched> = block
        .iter()
        .map(|&index| Switched::new(batch.ciphertext(index)))
        .collect();
    let mut accumulators = vec![0u64; block.len() * ring_words];
    for (target, &index) in accumulators.chunks_exact_mut(ring_words).zip(block) {
        tables[uses[index] as usize].fill(&mut target[POLYNOMIAL_SIZE..]);
    }
    let mut list = GlweCiphertextList::from_container(
        accumulators,
        GlweSize(2),
        PolynomialSize(POLYNOMIAL_SIZE),
        modulus,
    );
    let mut buffers = ComputationBuffers::new();
    let need = batch_programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(
        GlweSize(2),
        PolynomialSize(POLYNOMIAL_SIZE),
        CiphertextCount(block.len()),
        key.fft.as_view(),
    );
    buffers.resize(need.unaligned_bytes_required());
    key.fourier.as_view().batch_blind_rotate_assign(
        list.as_mut_view(),
        &switched,
        key.fft.as_view(),
        buffers.stack(),
    );
    list
}

const _: () = assert!(2 * POLYNOMIAL_SIZE <= u16::MAX as usize);
