//! A fresh mask and flooding noise for results that leave without a bootstrap.
//!
//! A linear result's mask is the client's own mask times the weights: whoever has the key could divide. So an
//! encryption of zero is added that the server makes itself, u·(a, b) + (e2, e1) with u secret and used once: under
//! the assumption that all of this rests on (ring LWE with this dimension and noise), the sum's mask tells nothing.
//! What the weights did to the noise is drowned in uniform noise that is thousands of times larger.

use fhe::params::{GLWE_NOISE_BOUND_LOG2, LWE_WORDS, POLYNOMIAL_SIZE};
use pulp::Arch;

use super::key::CpuKey;

const SECRET_BYTES: usize = POLYNOMIAL_SIZE / 8;
const NOISE_BYTES: usize = LWE_WORDS * 4;
const FLOOD_BYTES: usize = 8;

pub(super) fn hide(
    key: &CpuKey,
    ciphertext: &mut [u64],
    flooding: u32,
    seed: &[u8; 32],
    index: u64,
) {
    // BLAKE3 keyed with a fresh secret is the generator; the index tells ciphertexts of one batch apart.
    let mut random = vec![0u8; SECRET_BYTES + NOISE_BYTES + FLOOD_BYTES];
    blake3::Hasher::new_keyed(seed)
        .update(&index.to_le_bytes())
        .finalize_xof()
        .fill(&mut random);
    let (secret, rest) = random.split_at(SECRET_BYTES);
    let (noise, flood) = rest.split_at(NOISE_BYTES);

    let ones: Vec<usize> = (0..POLYNOMIAL_SIZE)
        .filter(|&i| secret[i / 8] >> (i % 8) & 1 == 1)
        .collect();
    add_zero(key, &ones, ciphertext);
    for (word, bytes) in ciphertext.iter_mut().zip(noise.as_chunks::<4>().0) {
        *word = word.wrapping_add(tuniform(u32::from_le_bytes(*bytes)) as u64);
    }
    let flood = flood
        .iter()
        .fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    // Uniform in -2^flooding..2^flooding.
    let flood = (flood >> (63 - flooding)).wrapping_sub(1 << flooding);
    ciphertext[LWE_WORDS - 1] = ciphertext[LWE_WORDS - 1].wrapping_add(flood);
}

/// TUniform with the set's bound, as tfhe-rs draws it: the lowest bit halves the weight of the two ends.
fn tuniform(random: u32) -> i64 {
    let random = random & ((1 << (GLWE_NOISE_BOUND_LOG2 + 2)) - 1);
    i64::from((random >> 1) + (random & 1)) - (1 << GLWE_NOISE_BOUND_LOG2)
}

/// Adds coefficient 0 of u·(a, b), where u has a one at each place of `ones`.
fn add_zero(key: &CpuKey, ones: &[usize], ciphertext: &mut [u64]) {
    let n = POLYNOMIAL_SIZE;
    let mut product = vec![0u64; n];
    let windows: Vec<&[u64]> = ones
        .iter()
        .map(|&shift| &key.public.mask[n - shift..][..n])
        .collect();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            // Four at a time: a quarter of the loads and stores of the sum.
            let (fours, rest) = windows.as_chunks::<4>();
            fours.iter().for_each(|four| add_four(&mut product, four));
            rest.iter().for_each(|one| {
                product
                    .iter_mut()
                    .zip(*one)
                    .for_each(|(p, w)| *p = p.wrapping_add(*w))
            });
        },
    );
    ciphertext[0] = ciphertext[0].wrapping_add(product[0]);
    for (word, coefficient) in ciphertext[1..n].iter_mut().zip(product[1..].iter().rev()) {
        *word = word.wrapping_sub(*coefficient);
    }
    let body = ones.iter().fold(0u64, |sum, &shift| match shift {
        0 => sum.wrapping_add(key.public.body[0]),
        _ => sum.wrapping_sub(key.public.body[n - shift]),
    });
    ciphertext[n] = ciphertext[n].wrapping_add(body);
}

#[inline(always)]
fn add_four(product: &mut [u64], four: &[&[u64]; 4]) {
    let pairs = four[0].iter().zip(four[1]).zip(four[2].iter().zip(four[3]));
    for (p, ((a, b), (c, d))) in product.iter_mut().zip(pairs) {
        *p = p
            .wrapping_add(a.wrapping_add(*b))
            .wrapping_add(c.wrapping_add(*d));
    }
}
