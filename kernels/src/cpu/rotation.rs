//! The blind rotation: turns a block of accumulators by what small ciphertexts of one key hold.
//!
//! Chillotti, Gama, Georgieva, Izabachène, "TFHE: fast fully homomorphic encryption over the torus", 2020, algorithm 9:
//! for each bit of the small key, accumulator += GGSW(bit) ⊡ (X^turn - 1)·accumulator. One such step goes three times
//! through memory: difference, decomposition and the transform's first splits; row by row the other splits, the
//! product with the key and the way back; the last merges and the sum. The row of the key for one bit (64 KB) passes
//! once for all accumulators of the block, and the next one is fetched meanwhile.

use std::ops::Range;

use fhe::params::{PBS_BASE_LOG, PBS_LEVELS, POLYNOMIAL_SIZE, SMALL_DIMENSION};

use super::fourier::*;
use super::simd::{Simd, Work};

const _: () = assert!(PBS_LEVELS == 1, "the decomposition has one digit");

/// A ring ciphertext that is being turned: mask and body.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Accumulator {
    rings: [Ring; 2],
}

/// A polynomial, and behind it its first coefficients negated: eight consecutive ones can then be read from anywhere.
type Ring = [u64; POLYNOMIAL_SIZE + 8];

impl Accumulator {
    /// X^-turn · polynomial, without a mask.
    pub fn new(polynomial: &[u64], turn: u16) -> Self {
        let mut body = [0; POLYNOMIAL_SIZE + 8];
        for (at, word) in body.iter_mut().enumerate() {
            let from = (at + usize::from(turn)) % (2 * POLYNOMIAL_SIZE);
            let value = polynomial[from % POLYNOMIAL_SIZE];
            *word = if from < POLYNOMIAL_SIZE {
                value
            } else {
                value.wrapping_neg()
            };
        }
        Self {
            rings: [[0; POLYNOMIAL_SIZE + 8], body],
        }
    }

    pub fn mask(&self) -> &[u64] {
        &self.rings[0][..POLYNOMIAL_SIZE]
    }

    pub fn body(&self) -> &[u64] {
        &self.rings[1][..POLYNOMIAL_SIZE]
    }

    #[cfg(test)]
    pub fn words_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.rings.iter_mut().flatten()
    }
}

/// For one row of a transform: for each of its vectors, what mask and body of the difference are multiplied with for
/// the new mask and the new body.
type KeyRow = [[[Points; 2]; 2]; 8];

/// GGSW encryptions of the small key's bits, transformed.
pub(super) struct FourierKey {
    bits: Vec<[KeyRow; ROWS]>,
}

impl FourierKey {
    /// From polynomials modulo 2^64: for each bit, (mask, body) for the mask's digits, then for the body's.
    pub fn new(standard: &[u64]) -> Self {
        use rayon::prelude::*;
        let bits = standard
            .par_chunks_exact(4 * POLYNOMIAL_SIZE)
            .map(|polynomials| super::simd::dispatch(TransformBit { polynomials }))
            .collect();
        Self { bits }
    }
}

/// Values are kept in turns of the torus, and divided by what forward and inverse transform multiply with.
const KEY_SCALE: f64 = 1.0 / (1u128 << 64) as f64 / (POLYNOMIAL_SIZE / 2) as f64;

struct TransformBit<'a> {
    polynomials: &'a [u64],
}

impl Work for TransformBit<'_> {
    type Output = [KeyRow; ROWS];

    fn with<S: Simd>(self, simd: S) -> Self::Output {
        let mut out = [[[[Points::default(); 2]; 2]; 8]; ROWS];
        for (index, polynomial) in self.polynomials.chunks_exact(POLYNOMIAL_SIZE).enumerate() {
            let spectrum = forward(simd, |at| polynomial[at] as i64 as f64 * KEY_SCALE);
            for (row, points) in out.iter_mut().zip(&spectrum) {
                for (target, points) in row.iter_mut().zip(points) {
                    target[index / 2][index % 2] = *points;
                }
            }
        }
        out
    }
}

/// The transform of a polynomial of which `coefficient` gives the coefficients.
fn forward<S: Simd>(simd: S, coefficient: impl Fn(usize) -> f64) -> Spectrum {
    let mut numbers = [Points::default(); 8 * ROWS];
    for (vector, points) in numbers.iter_mut().enumerate() {
        for lane in 0..8 {
            points.re.0[lane] = coefficient(8 * vector + lane);
            points.im.0[lane] = coefficient(8 * vector + lane + POLYNOMIAL_SIZE / 2);
        }
    }
    let mut out = [[Points::default(); 8]; ROWS];
    let roots = &**ROOTS;
    simd.run(
        #[inline(always)]
        || {
            forward_rows(
                simd,
                roots,
                &mut out,
                #[inline(always)]
                |vector| Complex::load(simd, &numbers[vector]),
            );
            for (index, row) in out.iter_mut().enumerate() {
                let values = forward_row(simd, roots.row(index), row);
                for (value, points) in values.into_iter().zip(row) {
                    value.store(simd, points);
                }
            }
        },
    );
    out
}

/// A block's ciphertexts, switched to 2N: the turn of each bit, and the accumulator.
pub(super) struct Rotate<'a> {
    pub key: &'a FourierKey,
    pub turns: &'a [&'a [u16]],
    pub accumulators: &'a mut [Accumulator],
}

/// What each ciphertext of a block fetches of the key for the next bit: its part of every row.
struct Ahead<'a> {
    key: &'a [KeyRow; ROWS],
    part: Range<usize>,
}

/// Of one row of the key.
const POINTS: usize = 8 * 4;

impl Ahead<'_> {
    #[inline(always)]
    fn fetch<S: Simd>(&self, simd: S, row: usize) {
        let points = self.key[row].as_flattened().as_flattened();
        for points in &points[self.part.clone()] {
            simd.prefetch(&points.re);
            simd.prefetch(&points.im);
        }
    }
}

struct Scratch {
    difference: [Spectrum; 2],
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Self {
            difference: [[[Points::default(); 8]; ROWS]; 2],
        })
    }
}

impl Work for Rotate<'_> {
    type Output = ();

    fn with<S: Simd>(self, simd: S) {
        let mut scratch = Scratch::new();
        let roots = &**ROOTS;
        for bit in 0..SMALL_DIMENSION {
            let key = &self.key.bits[bit];
            let next = self.key.bits.get(bit + 1).unwrap_or(key);
            let count = self.accumulators.len();
            for (index, accumulator) in self.accumulators.iter_mut().enumerate() {
                let turn = usize::from(self.turns[index][bit]);
                // A turn by nothing changes nothing.
                if turn != 0 {
                    let ahead = Ahead {
                        key: next,
                        part: POINTS * index / count..POINTS * (index + 1) / count,
                    };
                    step(simd, roots, key, &ahead, turn, accumulator, &mut scratch);
                }
            }
        }
    }
}

/// accumulator += key ⊡ (X^turn - 1)·accumulator.
#[inline(never)]
fn step<S: Simd>(
    simd: S,
    roots: &Roots,
    key: &[KeyRow; ROWS],
    ahead: &Ahead<'_>,
    turn: usize,
    accumulator: &mut Accumulator,
    scratch: &mut Scratch,
) {
    simd.run(
        #[inline(always)]
        || {
            for (ring, spectrum) in accumulator.rings.iter().zip(&mut scratch.difference) {
                forward_rows(
                    simd,
                    roots,
                    spectrum,
                    #[inline(always)]
                    |vector| Complex {
                        re: digits(simd, ring, turn, 8 * vector),
                        im: digits(simd, ring, turn, 8 * vector + POLYNOMIAL_SIZE / 2),
                    },
                );
            }
            let [mask, body] = &mut scratch.difference;
            for row in 0..ROWS {
                ahead.fetch(simd, row);
                multiply(
                    simd,
                    roots.row(row),
                    &key[row],
                    &mut mask[row],
                    &mut body[row],
                );
            }
            for (ring, spectrum) in accumulator.rings.iter_mut().zip(&scratch.difference) {
                inverse_rows(
                    simd,
                    roots,
                    spectrum,
                    #[inline(always)]
                    |vector, value| {
                        add_turns(simd, ring, 8 * vector, value.re);
                        add_turns(simd, ring, 8 * vector + POLYNOMIAL_SIZE / 2, value.im);
                    },
                );
                for at in 0..8 {
                    ring[POLYNOMIAL_SIZE + at] = ring[at].wrapping_neg();
                }
            }
        },
    );
}

#[inline(always)]
fn eight(ring: &Ring, at: usize) -> &[u64; 8] {
    ring[at..].first_chunk().expect("within the ring")
}

/// Lowest bits that the one digit leaves out.
const DROPPED: u64 = 64 - PBS_BASE_LOG as u64;
/// As bits, the floats from 2^52 on are the integers from this on.
const INTEGERS: u64 = 0x433 << 52;

/// Eight digits, from coefficient `at` on, of (X^turn - 1)·ring: the nearest multiples of 2^41, in units of it.
#[inline(always)]
fn digits<S: Simd>(simd: S, ring: &Ring, turn: usize, at: usize) -> S::F {
    let from = (at + 2 * POLYNOMIAL_SIZE - turn) % (2 * POLYNOMIAL_SIZE);
    let negate = (from / POLYNOMIAL_SIZE) as u64;
    let turned = simd.load_words(eight(ring, from % POLYNOMIAL_SIZE));
    let here = simd.load_words(eight(ring, at));
    // -x is !x + 1. Half a digit rounds; half of all makes the digit positive, until it is a float.
    let turned = simd.xor_words(turned, simd.splat_word(negate.wrapping_neg()));
    let offset = simd.splat_word(negate + (1 << (DROPPED - 1)) + (1 << 63));
    let difference = simd.add_words(simd.sub_words(turned, here), offset);
    let digit = simd.shift_right::<DROPPED>(difference);
    let float = simd.floats_of(simd.or_words(digit, simd.splat_word(INTEGERS)));
    let offset = (1u64 << 52) + (1 << (PBS_BASE_LOG - 1));
    simd.sub(float, simd.splat(offset as f64))
}

/// Adds eight numbers of turns of the torus to the coefficients from `at` on.
#[inline(always)]
fn add_turns<S: Simd>(simd: S, ring: &mut Ring, at: usize, turns: S::F) {
    // What is left is at most half a turn; between 2 and 4 a float's mantissa counts in units of 2^-51.
    let part = simd.sub(turns, simd.round(turns));
    let bits = simd.words_of(simd.add(part, simd.splat(3.0)));
    let word = simd.shift_left::<13>(bits);
    let target = ring[at..].first_chunk_mut().expect("within the ring");
    let sum = simd.add_words(simd.load_words(target), word);
    simd.store_words(target, sum);
}

/// Takes a row of the difference through the last splits, multiplies by the key, and takes it back.
#[inline(always)]
fn multiply<S: Simd>(simd: S, roots: &RowRoots, key: &KeyRow, mask: &mut Row, body: &mut Row) {
    let a = forward_row(simd, roots, mask);
    let b = forward_row(simd, roots, body);
    let mut new_mask = a;
    let mut new_body = a;
    for at in 0..8 {
        let [of_mask, of_body] = &key[at];
        new_mask[at] = product(simd, a[at], b[at], &of_mask[0], &of_body[0]);
        new_body[at] = product(simd, a[at], b[at], &of_mask[1], &of_body[1]);
    }
    inverse_row(simd, roots, new_mask, mask);
    inverse_row(simd, roots, new_body, body);
}

/// a·p + b·q.
#[inline(always)]
fn product<S: Simd>(simd: S, a: Complex<S>, b: Complex<S>, p: &Points, q: &Points) -> Complex<S> {
    let (p, q) = (Complex::load(simd, p), Complex::load(simd, q));
    let re = simd.mul(a.re, p.re);
    let re = simd.neg_mul_add(a.im, p.im, re);
    let re = simd.mul_add(b.re, q.re, re);
    let re = simd.neg_mul_add(b.im, q.im, re);
    let im = simd.mul(a.re, p.im);
    let im = simd.mul_add(a.im, p.re, im);
    let im = simd.mul_add(b.re, q.im, im);
    let im = simd.mul_add(b.im, q.re, im);
    Complex { re, im }
}

#[cfg(test)]
mod tests;
