//! The keyswitch, for a block of ciphertexts of one key at once.
//!
//! One by one it is bound by memory: 30 MB of key for each ciphertext. Here four rows of the key (15 KB) stay in the
//! first-level cache while every ciphertext of the block takes its share of them. The result is word for word that
//! of tfhe-rs's `keyswitch_lwe_ciphertext_with_scalar_change`.

use fhe::params::{KS_BASE_LOG, KS_LEVELS, LWE_WORDS, SMALL_WORDS};
use pulp::Arch;
use rayon::prelude::*;
use tfhe::core_crypto::prelude::*;

use crate::backend::LweBatch;

/// Accumulators of 32 ciphertexts are 115 KB: they stay in the second-level cache, and the key is streamed 1/32 as often.
pub(super) const BLOCK: usize = 32;

/// `threads`: how many may work on this one block; the sums over parts of the key are added up, which is exact.
pub(super) fn block(key: &[u32], batch: &LweBatch, block: &[usize], threads: usize) -> Vec<u32> {
    let bodies = block
        .iter()
        .map(|&index| batch.ciphertext(index)[LWE_WORDS - 1]);
    let digits: Vec<_> = block
        .iter()
        .map(|&index| decompose(&batch.ciphertext(index)[..LWE_WORDS - 1]))
        .collect();
    let rows_each = (LWE_WORDS - 1).div_ceil(threads.max(1));
    let parts: Vec<Vec<u32>> = key
        .par_chunks(rows_each * KS_LEVELS * SMALL_WORDS)
        .enumerate()
        .map(|(part, key)| minus_products(key, &digits, part * rows_each))
        .collect();
    let mut out = vec![0u32; block.len() * SMALL_WORDS];
    for part in &parts {
        let words = out.iter_mut().zip(part);
        words.for_each(|(word, term)| *word = word.wrapping_add(*term));
    }
    for (target, body) in out.chunks_exact_mut(SMALL_WORDS).zip(bodies) {
        let word = &mut target[SMALL_WORDS - 1];
        *word = word.wrapping_add(rounded(body));
    }
    out
}

/// Minus the digits, from word `first` of each mask on, times the rows of this part of the key.
fn minus_products(key: &[u32], digits: &[Vec<[u32; KS_LEVELS]>], first: usize) -> Vec<u32> {
    let mut out = vec![0u32; digits.len() * SMALL_WORDS];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (input, rows) in key.chunks_exact(KS_LEVELS * SMALL_WORDS).enumerate() {
                for (target, digits) in out.chunks_exact_mut(SMALL_WORDS).zip(digits) {
                    subtract_rows(target, rows, digits[first + input]);
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
