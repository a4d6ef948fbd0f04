//! Integer sums of ciphertexts, modulo 2^64.

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE};
use pulp::Arch;
use tfhe::core_crypto::algorithms::polynomial_algorithms::polynomial_karatsuba_wrapping_mul;
use tfhe::core_crypto::prelude::Polynomial;

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

/// A sum of so many terms or more is one product of polynomials: Karatsuba's takes as long as about 500 terms, one by one.
const DENSE_TERMS: usize = 640;

pub(super) fn ring_sum(input: &RingInput<'_>, sum: &RingSum<'_>, target: &mut [u64]) {
    if sum.terms.len() < DENSE_TERMS {
        sparse_sum(input, sum, target);
    } else {
        dense_sum(input, sum, target);
    }
}

/// The mask of Σ w_i · coefficient i is W(X) · A(1/X) modulo X^N + 1, where A is the input's mask: see `sparse_sum`.
fn dense_sum(input: &RingInput<'_>, sum: &RingSum<'_>, target: &mut [u64]) {
    let (mask, body) = target.split_at_mut(LWE_WORDS - 1);
    body[0] = sum.constant;
    let mut weights = vec![0u64; POLYNOMIAL_SIZE];
    for &(index, weight) in sum.terms {
        let (index, weight) = (index as usize, weight as u64);
        body[0] = body[0].wrapping_add(weight.wrapping_mul(input.body[index]));
        weights[index] = weights[index].wrapping_add(weight);
    }
    let inverse: Vec<u64> = std::iter::once(input.mask[0])
        .chain(input.mask[1..].iter().rev().map(|word| word.wrapping_neg()))
        .collect();
    polynomial_karatsuba_wrapping_mul(
        &mut Polynomial::from_container(mask),
        &Polynomial::from_container(weights),
        &Polynomial::from_container(inverse),
    );
}

/// The coefficient `i` of a ring ciphertext, as a large ciphertext, has the mask a_i, a_{i-1}, …, a_0, -a_{N-1}, …
fn sparse_sum(input: &RingInput<'_>, sum: &RingSum<'_>, target: &mut [u64]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(seed: u64) -> Vec<u64> {
        let word = |at: u64| {
            (at + 1)
                .wrapping_mul(seed | 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        (0..POLYNOMIAL_SIZE as u64)
            .map(|at| word(at) ^ word(at) >> 29)
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn one_product_is_the_sum_of_its_terms(
            seed in any::<u64>(), terms in 1..=POLYNOMIAL_SIZE, large in any::<bool>(), constant in any::<u64>(),
        ) {
            let (mask, body, weights) = (words(seed), words(!seed), words(seed ^ 0x5555));
            let weight = |at: usize| if large { weights[at] as i64 } else { weights[at] as i64 >> 56 };
            let terms: Vec<(u32, i64)> = (0..terms).map(|at| (at as u32, weight(at))).collect();
            let input = RingInput { mask: &mask, body: &body, key: 0 };
            let sum = RingSum { input: 0, terms: &terms, constant };
            let (mut one, mut other) = (vec![0; LWE_WORDS], vec![0; LWE_WORDS]);
            sparse_sum(&input, &sum, &mut one);
            dense_sum(&input, &sum, &mut other);
            prop_assert_eq!(one, other);
        }
    }
}
