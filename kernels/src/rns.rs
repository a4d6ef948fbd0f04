//! The blind rotation in exact integers: modulo a product of two primes in place of 2^64, by number-theoretic transforms in
//! place of Fourier's. Whoever computes it, in whatever order, gets the same bits: this is what devices without fast f64
//! compute, and what they are held against.
//!
//! - **Modulus.** Q = p0 · p1, both primes below 2^31 and 1 modulo 2N, so that X^N + 1 falls apart into linear factors.
//! - **Keys** are those that every client has, modulo 2^64. The evaluator switches the bootstrap key to Q, word by word,
//!   without any secret; that adds half a unit of Q, far below the key's own noise.
//! - **Digits.** One signed digit of 23 bits, as the parameter set has it: see [`digit`].
//!
//! Source of the algorithm: Chillotti, Gama, Georgieva, Izabachène, "TFHE: fast fully homomorphic encryption over the torus",
//! 2020, algorithm 9; of the transform: Longa, Naehrig, "Speeding up the number theoretic transform for faster ideal
//! lattice-based cryptography", 2016. Plain code, meant to be seen to be right, and not fast.

mod backend;
mod field;
mod key;
mod ntt;
mod rotation;

pub use backend::{RnsBackend, RnsCpuKey};
pub use field::{PRIMES, Prime};
pub use key::RnsKey;
pub use rotation::{RnsAccumulator, rotate};

/// The modulus of accumulators.
pub const Q: u64 = PRIMES[0].p as u64 * PRIMES[1].p as u64;

const _: () = assert!(Q < 1 << 62 && Q > (1 << 62) - (1 << 49));
const _: () = assert!(fhe::params::PBS_BASE_LOG == 23 && fhe::params::PBS_LEVELS == 1);

/// ⌊2^125 / Q⌋: what turns a residue into 61 bits of a turn. Fewer would leave a bias, which all of a key's ones add up.
const TO_61_BITS: u64 = ((1u128 << 125) / Q as u128) as u64;
/// (2^64 / Q - 4) · 2^64, rounded: what 2^64 / Q is beyond 4.
const BEYOND_FOUR: u64 = ((((1u128 << 64) - 4 * Q as u128) << 64) / Q as u128 + 1) as u64;

/// From words of the torus: round(word · Q / 2^64), modulo Q.
pub fn to_q(word: u64) -> u64 {
    let scaled = (u128::from(word) * u128::from(Q) + (1 << 63)) >> 64;
    match scaled as u64 {
        Q => 0,
        residue => residue,
    }
}

/// Back to words of the torus: 4 · residue + ⌊residue · (2^64 / Q - 4)⌋. It is off by less than 5 units of 2^-64.
pub fn from_q(residue: u64) -> u64 {
    (residue << 2).wrapping_add(high(residue, BEYOND_FOUR))
}

/// The digit of a residue, in -2^22..2^22: the residue in 2^-23 of a turn, rounded to the nearest, halves up.
pub fn digit(residue: u64) -> i32 {
    const BELOW: u32 = 61 - 23;
    let places = ((high(residue, TO_61_BITS) + (1 << (BELOW - 1))) >> BELOW) as i32;
    // 2^23 is a whole turn.
    ((places + (1 << 22)) & ((1 << 23) - 1)) - (1 << 22)
}

/// The upper half of a product.
fn high(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

#[cfg(test)]
mod tests;
