//! Integer sums of ciphertexts, modulo 2^64.

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE};
use pulp::Arch;

use crate::backend::{KernelError, LweBatch, LweSum, RingInput, RingSum};

/// Checks every index; gives the key of each sum.
pub(super) fn check_ring(
    inputs: &[RingInput<'_>],
    sums: &[RingSum<'_>],
) -> Result<Vec<u32>, KernelError> {
    let shaped = |input: &RingInput<'_>| {
        input.mask.len() == POLYNOMIAL_SIZE && input.body.len() <= POLYNOMIAL_SIZE
    };
    if !inputs.iter().all(shaped) {
        return Err(KernelError::Shape(
            "a ring ciphertext has 2048 words, and at most as many bodies",
        ));
    }
    let key = |sum: &RingSum<'_>| {
        let input = inputs
            .get(sum.input)
            .ok_or(KernelError::Shape("a sum of an input that is not there"))?;
        let there = sum
            .terms
            .iter()
            .all(|&(index, _)| (index as usize) < input.body.len());
        if there {
            Ok(input.key)
        } else {
            Err(KernelError::Shape(
                "a sum of a coefficient that is not there",
            ))
        }
    };
    sums.iter().map(key).collect()
}

pub(super) fn check_sums(inputs: &LweBatch, sums: &[LweSum<'_>]) -> Result<(), KernelError> {
    for sum in sums {
        let same_key =
            |&(index, _): &(u32, i64)| inputs.keys.get(sum.base + index as usize) == Some(&sum.key);
        if !sum.terms.iter().all(same_key) {
            return Err(KernelError::Shape(
                "a sum of ciphertexts that are not there, or not of its key",
            ));
        }
    }
    Ok(())
}

/// The coefficient `i` of a ring ciphertext, as a large ciphertext, has the mask a_i, a_{i-1}, …, a_0, -a_{N-1}, …
pub(super) fn ring_sum(input: &RingInput<'_>, sum: &RingSum<'_>, target: &mut [u64]) {
    let (mask, body) = target.split_at_mut(LWE_WORDS - 1);
    body[0] = sum.constant;
    // Backwards once, so that every term then runs forwards through memory.
    let reversed: Vec<u64> = input.mask.iter().rev().copied().collect();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for &(index, weight) in sum.terms {
                let (index, weight) = (index as usize, weight as u64);
                body[0] = body[0].wrapping_add(weight.wrapping_mul(input.body[index]));
                let (head, tail) = mask.split_at_mut(index + 1);
                let (wrapped, direct) = reversed.split_at(POLYNOMIAL_SIZE - 1 - index);
                add_product(head, direct, weight);
                add_product(tail, wrapped, weight.wrapping_neg());
            }
        },
    );
}

pub(super) fn sum(inputs: &LweBatch, sum: &LweSum<'_>, target: &mut [u64]) {
    target[LWE_WORDS - 1] = sum.constant;
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for &(index, weight) in sum.terms {
                add_product(
                    target,
                    inputs.ciphertext(sum.base + index as usize),
                    weight as u64,
                );
            }
        },
    );
}

#[inline(always)]
fn add_product(target: &mut [u64], words: &[u64], weight: u64) {
    for (target, word) in target.iter_mut().zip(words) {
        *target = target.wrapping_add(weight.wrapping_mul(*word));
    }
}
