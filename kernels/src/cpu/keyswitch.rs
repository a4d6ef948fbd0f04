//! The keyswitch, for a block of ciphertexts of one key at once.
//!
//! One by one it is bound by memory: 30 MB of key for each ciphertext. Here four rows of the key (15 KB) stay in the
//! first-level cache while every ciphertext of the block takes its share of them. The result is word for word that
//! of tfhe-rs's `keyswitch_lwe_ciphertext_with_scalar_change`.

use fhe::params::{KS_BASE_LOG, KS_LEVELS, LWE_WORDS, SMALL_WORDS};
use pulp::Arch;
use tfhe::core_crypto::prelude::*;

use crate::backend::LweBatch;

/// Accumulators of 32 ciphertexts are 115 KB: they stay in the second-level cache, and the key is streamed 1/32 as often.
pub(super) const BLOCK: usize = 32;

pub(super) fn block(key: &[u32], batch: &LweBatch, block: &[usize]) -> Vec<u32> {
    let mut out = vec![0u32; block.len() * SMALL_WORDS];
    let digits: Vec<Vec<[u32; KS_LEVELS]>> = block
        .iter()
        .zip(out.chunks_exact_mut(SMALL_WORDS))
        .map(|(&index, target)| {
            let (mask, body) = batch.ciphertext(index).split_at(LWE_WORDS - 1);
            target[SMALL_WORDS - 1] = rounded(body[0]);
            decompose(mask)
        })
        .collect();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (input, rows) in key.chunks_exact(KS_LEVELS * SMALL_WORDS).enumerate() {
                for (target, digits) in out.chunks_exact_mut(SMALL_WORDS).zip(&digits) {
                    subtract_rows(target, rows, digits[input]);
                }
            }
        },
    );
    out
}

#[inline(always)]
fn subtract_rows(target: &mut [u32], rows: &[u32], digits: [u32; KS_LEVELS]) {
    let (first, rest) = rows.split_at(SMALL_WORDS);
    let (second, rest) = rest.split_at(SMALL_WORDS);
    let (third, fourth) = rest.split_at(SMALL_WORDS);
    let rows = first.iter().zip(second).zip(third.iter().zip(fourth));
    for (target, ((a, b), (c, d))) in target.iter_mut().zip(rows) {
        let near = digits[0]
            .wrapping_mul(*a)
            .wrapping_add(digits[1].wrapping_mul(*b));
        let far = digits[2]
            .wrapping_mul(*c)
            .wrapping_add(digits[3].wrapping_mul(*d));
        *target = target.wrapping_sub(near.wrapping_add(far));
    }
}

const _: () = assert!(KS_LEVELS == 4, "subtract_rows is written for four levels");

/// Balanced digits of each word, in the order in which the key has its levels.
fn decompose(mask: &[u64]) -> Vec<[u32; KS_LEVELS]> {
    let decomposer = SignedDecomposer::<u64>::new(
        DecompositionBaseLog(KS_BASE_LOG),
        DecompositionLevelCount(KS_LEVELS),
    );
    let digits = |&word: &u64| {
        let mut out = [0; KS_LEVELS];
        for (target, term) in out.iter_mut().zip(decomposer.decompose(word)) {
            *target = term.value() as u32;
        }
        out
    };
    mask.iter().map(digits).collect()
}

/// The top 32 bits, rounded to nearest.
fn rounded(body: u64) -> u32 {
    let decomposer =
        SignedDecomposer::<u64>::new(DecompositionBaseLog(32), DecompositionLevelCount(1));
    (decomposer.closest_representable(body) >> 32) as u32
}
