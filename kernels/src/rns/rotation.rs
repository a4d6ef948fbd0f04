//! The blind rotation modulo Q.

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE as N};

use super::field::{PRIMES, Prime};
use super::key::RnsKey;
use super::{Q, digit, from_q, to_q};

/// A ring ciphertext modulo Q that is being turned: mask and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RnsAccumulator {
    rings: [Vec<u64>; 2],
}

impl RnsAccumulator {
    /// X^-turn · polynomial (words of the torus), without a mask.
    fn new(polynomial: &[u64], turn: usize) -> Self {
        let body: Vec<u64> = polynomial.iter().map(|&word| to_q(word)).collect();
        Self {
            rings: [vec![0; N], turned(&body, 2 * N - turn)],
        }
    }

    /// Words of the torus: mask, then body.
    pub fn words(&self) -> Vec<u64> {
        self.rings.iter().flatten().map(|&r| from_q(r)).collect()
    }

    /// Coefficient `at` of what it encrypts, as a large ciphertext of words of the torus.
    pub fn extract(&self, at: usize) -> [u64; LWE_WORDS] {
        let [mask, body] = &self.rings;
        let mut words = [0; LWE_WORDS];
        for (i, word) in words[..N].iter_mut().enumerate() {
            *word = from_q(match at.checked_sub(i) {
                Some(place) => mask[place],
                None => negative(mask[N + at - i]),
            });
        }
        words[N] = from_q(body[at]);
        words
    }
}

fn negative(residue: u64) -> u64 {
    match residue {
        0 => 0,
        residue => Q - residue,
    }
}

fn sum(a: u64, b: u64) -> u64 {
    (a + b) % Q
}

/// X^turn · polynomial modulo X^N + 1, for a turn up to 2N.
fn turned(polynomial: &[u64], turn: usize) -> Vec<u64> {
    let coefficient = |at: usize| {
        // X^(from + turn) = X^at, or -X^at after half a turn.
        let from = (at + 2 * N - turn % (2 * N)) % (2 * N);
        match from < N {
            true => polynomial[from],
            false => negative(polynomial[from - N]),
        }
    };
    (0..N).map(coefficient).collect()
}

/// Turns a table's polynomial by what a small ciphertext, switched to 2N, holds: `mask` of it, and `body`.
pub fn rotate(key: &RnsKey, polynomial: &[u64], mask: &[u16], body: u16) -> RnsAccumulator {
    let mut accumulator = RnsAccumulator::new(polynomial, body.into());
    for (bit, &turn) in mask.iter().enumerate() {
        step(key, &mut accumulator, bit, turn.into());
    }
    accumulator
}

/// accumulator += GGSW(bit) ⊡ (X^turn - 1) · accumulator.
fn step(key: &RnsKey, accumulator: &mut RnsAccumulator, bit: usize, turn: usize) {
    let twiddles = key.twiddles();
    // The digits of mask and body of the difference.
    let digits = accumulator.rings.each_ref().map(|ring| {
        let turned = turned(ring, turn);
        let pairs = turned.iter().zip(ring);
        pairs
            .map(|(&t, &r)| digit(sum(t, negative(r))))
            .collect::<Vec<i32>>()
    });
    let transformed = twiddles.each_ref().map(|twiddles| {
        digits.each_ref().map(|digits| {
            let mut values: Vec<u32> = digits.iter().map(|&d| twiddles.prime().of(d)).collect();
            twiddles.transform(&mut values);
            values
        })
    });
    for (to, ring) in accumulator.rings.iter_mut().enumerate() {
        let product = |prime: usize| {
            let p = PRIMES[prime];
            let [of_mask, of_body] = &transformed[prime];
            let [by_mask, by_body] = [0, 1].map(|from| key.polynomial(bit, from, to, prime));
            let term = |at: usize| {
                p.add(
                    p.mul(of_mask[at], by_mask[at]),
                    p.mul(of_body[at], by_body[at]),
                )
            };
            let mut values: Vec<u32> = (0..N).map(term).collect();
            twiddles[prime].back(&mut values);
            values
        };
        let (first, second) = (product(0), product(1));
        for (at, residue) in ring.iter_mut().enumerate() {
            *residue = sum(*residue, joined(first[at], second[at]));
        }
    }
}

/// The residue modulo Q with these residues (Garner 1959): a + p0 · ((b - a) / p0 modulo p1).
pub(super) fn joined(a: u32, b: u32) -> u64 {
    const P0: Prime = PRIMES[0];
    const P1: Prime = PRIMES[1];
    const INVERSE: u32 = P1.inverse(P0.p % P1.p);
    let times = P1.mul(P1.sub(b, a % P1.p), INVERSE);
    u64::from(a) + u64::from(P0.p) * u64::from(times)
}
