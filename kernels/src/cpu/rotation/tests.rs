//! The step of a blind rotation by every kind of vectors, against the same step in exact integers.

use proptest::prelude::*;

use super::*;
use crate::cpu::simd::every_kind;
use crate::testing::Random;

/// One step as its definition has it: digits, and products modulo X^2048 + 1 and modulo 2^64. And how far a Fourier
/// transform in f64 may be off, as a part of the torus.
fn exact_step(key: &[u64], turn: usize, before: [&[u64]; 2]) -> ([Vec<u64>; 2], f64) {
    let n = POLYNOMIAL_SIZE;
    let difference = |ring: &[u64]| -> Vec<i64> {
        (0..n)
            .map(|at| {
                let from = (at + 2 * n - turn) % (2 * n);
                let word = ring[from % n];
                let turned = if from < n { word } else { word.wrapping_neg() };
                let rounded = turned.wrapping_sub(ring[at]).wrapping_add(1 << 40);
                (rounded as i64) >> 41
            })
            .collect()
    };
    let digits = before.map(difference);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let (mut after, mut largest) = (before.map(<[u64]>::to_vec), 0f64);
    for (to, ring) in after.iter_mut().enumerate() {
        let mut bound = 0.0;
        for (of, digits) in digits.iter().enumerate() {
            let key = &key[(2 * of + to) * n..][..n];
            add_product(ring, digits, key);
            bound += norm(&mut digits.iter().map(|&digit| digit as f64))
                * norm(&mut key.iter().map(|&word| word as i64 as f64 / 2f64.powi(64)));
        }
        largest = largest.max(bound);
    }
    // Ten splits and ten merges, each of which may round by a few units of 2^-53 of the values' 2-norm.
    (after, 20.0 * 2f64.powi(-53) * largest + 2f64.powi(-50))
}

/// Modulo X^2048 + 1, by the school's method.
fn add_product(ring: &mut [u64], digits: &[i64], key: &[u64]) {
    for (shift, &digit) in digits.iter().enumerate().filter(|(_, digit)| **digit != 0) {
        let (low, high) = ring.split_at_mut(shift);
        let (direct, wrapped) = key.split_at(POLYNOMIAL_SIZE - shift);
        for (word, key) in high.iter_mut().zip(direct) {
            *word = word.wrapping_add(key.wrapping_mul(digit as u64));
        }
        for (word, key) in low.iter_mut().zip(wrapped) {
            *word = word.wrapping_sub(key.wrapping_mul(digit as u64));
        }
    }
}

/// Transforms a key and makes one step with it.
struct OneStep<'a> {
    key: &'a [u64],
    turn: usize,
    before: [&'a [u64]; 2],
}

impl Work for OneStep<'_> {
    type Output = Accumulator;

    fn with<S: Simd>(self, simd: S) -> Accumulator {
        let key = TransformBit {
            polynomials: self.key,
        }
        .with(simd);
        let mut accumulator = Accumulator::new(self.before[1], 0);
        accumulator.rings[0] = Accumulator::new(self.before[0], 0).rings[1];
        let mut scratch = Scratch::new();
        let mut ahead = Ahead::new(&key, 0, 1);
        step(
            simd,
            &ROOTS,
            &key,
            &mut ahead,
            self.turn,
            &mut accumulator,
            &mut scratch,
        );
        accumulator
    }
}

fn check(key: &[u64], turn: usize, before: [&[u64]; 2]) {
    let (exact, bound) = exact_step(key, turn, before);
    for (kind, after) in every_kind(|| OneStep { key, turn, before }) {
        for (ours, exact) in [after.mask(), after.body()].into_iter().zip(&exact) {
            let errors = ours.iter().zip(exact);
            let errors = errors.map(|(a, b)| (a.wrapping_sub(*b) as i64 as f64).abs());
            let worst = errors.fold(0.0, f64::max) / 2f64.powi(64);
            assert!(
                worst <= bound,
                "{kind}, turn {turn}: off by {worst:e}, allowed {bound:e}"
            );
        }
        for ring in &after.rings {
            for at in 0..8 {
                assert_eq!(ring[POLYNOMIAL_SIZE + at], ring[at].wrapping_neg());
            }
        }
    }
}

/// Words at and around the places where rounding and signs change.
const EXTREMES: [u64; 10] = [
    0,
    1,
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    (1 << 63) + 1,
    1 << 40,
    (1 << 40) - 1,
    u64::MAX << 40,
    (1 << 62) + (1 << 40),
];

fn random_words(random: &mut Random, count: usize) -> Vec<u64> {
    (0..count).map(|_| random.next()).collect()
}

fn extreme_words(random: &mut Random, count: usize) -> Vec<u64> {
    (0..count)
        .map(|_| EXTREMES[random.next() as usize % EXTREMES.len()])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_kind_of_vectors_makes_the_exact_step_but_for_rounding(
        seed: u64,
        turn in 1..2 * POLYNOMIAL_SIZE,
        extreme_key: bool,
        extreme_ring: bool,
    ) {
        let mut random = Random(seed);
        let words = |extreme| if extreme { extreme_words } else { random_words };
        let key = words(extreme_key)(&mut random, 4 * POLYNOMIAL_SIZE);
        let mask = words(extreme_ring)(&mut random, POLYNOMIAL_SIZE);
        let body = words(extreme_ring)(&mut random, POLYNOMIAL_SIZE);
        check(&key, turn, [&mask, &body]);
    }
}

#[test]
fn the_largest_sums_that_there_can_be_are_right() {
    // Every digit is as large as digits are, and so is every word of the key, all with signs that add up.
    let ring = vec![1 << 62; POLYNOMIAL_SIZE];
    let key = vec![1 << 63; 4 * POLYNOMIAL_SIZE];
    for turn in [1, 1023, 1024, 2047, 2048, 2049, 3072, 4095] {
        check(&key, turn, [&ring, &ring]);
    }
}

#[test]
fn a_table_is_turned_before_the_first_step() {
    let polynomial: Vec<u64> = (0..POLYNOMIAL_SIZE as u64).map(|at| at + 1).collect();
    let body = |turn| Accumulator::new(&polynomial, turn).body().to_vec();
    assert_eq!(body(0), polynomial);
    assert_eq!(body(5)[0], 6);
    assert_eq!(body(5)[POLYNOMIAL_SIZE - 5], 1u64.wrapping_neg());
    let negated: Vec<u64> = polynomial.iter().map(|word| word.wrapping_neg()).collect();
    assert_eq!(body(POLYNOMIAL_SIZE as u16), negated);
}
