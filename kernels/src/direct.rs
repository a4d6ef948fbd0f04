//! The peers: tfhe-rs called directly, one ciphertext after another on every core, as its own shortint layer does, and
//! by its batched blind rotation.
//!
//! It is what the engine is measured against, on the same parameters and in the same run, and the oracle of its tests.

use fhe::EvaluationKey;
use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE, SMALL_WORDS};
use rayon::prelude::*;
use tfhe::core_crypto::prelude::*;

use crate::backend::{KernelError, LweBatch, SmallBatch, Table};

pub struct Direct {
    keyswitch: LweKeyswitchKeyOwned<u32>,
    fourier: FourierLweBootstrapKeyOwned,
    fft: Fft,
}

impl Direct {
    pub fn new(key: &EvaluationKey) -> Result<Self, KernelError> {
        let keyswitch = key.keyswitch()?.par_decompress_into_lwe_keyswitch_key();
        let standard = key.bootstrap()?.par_decompress_into_lwe_bootstrap_key();
        let mut fourier = FourierLweBootstrapKey::new(
            standard.input_lwe_dimension(),
            standard.glwe_size(),
            standard.polynomial_size(),
            standard.decomposition_base_log(),
            standard.decomposition_level_count(),
        );
        par_convert_standard_lwe_bootstrap_key_to_fourier(&standard, &mut fourier);
        Ok(Self {
            keyswitch,
            fourier,
            fft: Fft::new(PolynomialSize(POLYNOMIAL_SIZE)),
        })
    }

    /// Keyswitch and bootstrap of every ciphertext with one table, on the current rayon pool.
    pub fn keyswitch_bootstrap(&self, batch: &LweBatch, table: &Table) -> LweBatch {
        let mut out = LweBatch::zeros(batch.keys.clone());
        out.words
            .par_chunks_exact_mut(LWE_WORDS)
            .enumerate()
            .for_each_init(ComputationBuffers::new, |buffers, (index, target)| {
                let mut small = vec![0; SMALL_WORDS];
                self.keyswitch_one(batch.ciphertext(index), &mut small);
                self.bootstrap_one(&small, table, target, buffers);
            });
        out
    }

    /// The same by tfhe-rs's batched blind rotation: at most `block` ciphertexts for one passage of the key, and as few
    /// as give every thread some. It has no batched keyswitch.
    pub fn keyswitch_bootstrap_batched(
        &self,
        batch: &LweBatch,
        table: &Table,
        block: usize,
    ) -> LweBatch {
        let each = batch.len().div_ceil(rayon::current_num_threads());
        let each = each.clamp(1, block.max(1));
        let mut out = LweBatch::zeros(batch.keys.clone());
        out.words
            .par_chunks_mut(each * LWE_WORDS)
            .enumerate()
            .for_each_init(ComputationBuffers::new, |buffers, (index, targets)| {
                self.bootstrap_block(batch, index * each, table, targets, buffers);
            });
        out
    }

    /// Of the ciphertexts from `first` on, as many as there are targets.
    fn bootstrap_block(
        &self,
        batch: &LweBatch,
        first: usize,
        table: &Table,
        targets: &mut [u64],
        buffers: &mut ComputationBuffers,
    ) {
        let size = PolynomialSize(POLYNOMIAL_SIZE);
        let modulus = CiphertextModulus::new_native();
        let count = targets.len() / LWE_WORDS;
        let switched: Vec<_> = (first..first + count)
            .map(|index| {
                let mut small = vec![0u32; SMALL_WORDS];
                self.keyswitch_one(batch.ciphertext(index), &mut small);
                let lwe = LweCiphertext::from_container(small, modulus);
                lwe_ciphertext_centered_binary_modulus_switch::<u32, usize, _>(
                    lwe,
                    size.to_blind_rotation_input_modulus_log(),
                )
            })
            .collect();
        let mut accumulator = vec![0; 2 * POLYNOMIAL_SIZE];
        table.fill(&mut accumulator[POLYNOMIAL_SIZE..]);
        let mut list = GlweCiphertextList::from_container(
            accumulator.repeat(count),
            GlweSize(2),
            size,
            CiphertextModulus::new_native(),
        );
        let fft = self.fft.as_view();
        let need = batch_programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(
            GlweSize(2),
            size,
            CiphertextCount(count),
            fft,
        );
        buffers.resize(need.unaligned_bytes_required());
        self.fourier.as_view().batch_blind_rotate_assign(
            list.as_mut_view(),
            &switched,
            fft,
            buffers.stack(),
        );
        for (target, turned) in targets.chunks_exact_mut(LWE_WORDS).zip(list.iter()) {
            let mut output = LweCiphertext::from_container(target, CiphertextModulus::new_native());
            extract_lwe_sample_from_glwe_ciphertext(&turned, &mut output, MonomialDegree(0));
        }
    }

    pub fn keyswitch(&self, batch: &LweBatch) -> SmallBatch {
        let mut out = SmallBatch::zeros(batch.keys.clone());
        let targets = out.words.par_chunks_exact_mut(SMALL_WORDS).enumerate();
        targets.for_each(|(index, target)| self.keyswitch_one(batch.ciphertext(index), target));
        out
    }

    fn keyswitch_one(&self, ciphertext: &[u64], target: &mut [u32]) {
        let input = LweCiphertext::from_container(ciphertext, CiphertextModulus::new_native());
        let mut output = LweCiphertext::from_container(target, CiphertextModulus::new_native());
        keyswitch_lwe_ciphertext_with_scalar_change(&self.keyswitch, &input, &mut output);
    }

    fn bootstrap_one(
        &self,
        small: &[u32],
        table: &Table,
        target: &mut [u64],
        buffers: &mut ComputationBuffers,
    ) {
        let size = PolynomialSize(POLYNOMIAL_SIZE);
        let lwe = LweCiphertext::from_container(small, CiphertextModulus::new_native());
        let switched = lwe_ciphertext_centered_binary_modulus_switch(
            lwe,
            size.to_blind_rotation_input_modulus_log(),
        );
        let mut accumulator = vec![0; 2 * POLYNOMIAL_SIZE];
        table.fill(&mut accumulator[POLYNOMIAL_SIZE..]);
        let mut accumulator =
            GlweCiphertext::from_container(accumulator, size, CiphertextModulus::new_native());
        let fft = self.fft.as_view();
        let need = blind_rotate_assign_mem_optimized_requirement::<u64>(GlweSize(2), size, fft);
        buffers.resize(need.unaligned_bytes_required());
        blind_rotate_assign_mem_optimized(
            &switched,
            &mut accumulator,
            &self.fourier,
            fft,
            buffers.stack(),
        );
        let mut output = LweCiphertext::from_container(target, CiphertextModulus::new_native());
        extract_lwe_sample_from_glwe_ciphertext(&accumulator, &mut output, MonomialDegree(0));
    }
}
