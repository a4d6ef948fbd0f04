//! The blind rotation: turns a block of accumulators by what small ciphertexts of one key hold.
//!
//! Chillotti, Gama, Georgieva, Izabachène, "TFHE: fast fully homomorphic encryption over the torus", 2020, algorithm 9:
//! for each bit of the small key, accumulator += GGSW(bit) ⊡ (X^turn - 1)·accumulator. One such step goes three times
//! through memory: difference, decomposition and the transform's first splits; row by row the other splits, the
//! product with the key and the way back; the last merges and the sum. The row of the key for one bit (64 KB) passes
//! once for all accumulators of the block, and the next one is fetched meanwhile.

use std::slice::Chunks;

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
                |column| {
                    let numbers = &numbers;
                    #[inline(always)]
                    move |row: usize| Complex::load(simd, &numbers[8 * row + column])
                },
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

/// What one step fetches of the key for the next bit, bit by bit as it goes: all at once, it would wait for memory.
struct Ahead<'a>(Chunks<'a, Points>);

impl<'a> Ahead<'a> {
    /// The part of ciphertext `index` of `count`, who share the work.
    fn new(key: &'a [KeyRow; ROWS], index: usize, count: usize) -> Self {
        let points = key.as_flattened().as_flattened().as_flattened();
        let part = points.len() * index / count..points.len() * (index + 1) / count;
        // Eight columns of two polynomials on the way in and out, and the rows between.
        let places = 16 + ROWS + 16;
        Self(points[part].chunks(points.len().div_ceil(count * places)))
    }

    #[inline(always)]
    fn fetch<S: Simd>(&mut self, simd: S) {
        for points in self.0.next().unwrap_or_default() {
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
                    let mut ahead = Ahead::new(next, index, count);
                    step(
                        simd,
                        roots,
                        key,
                        &mut ahead,
                        turn,
                        accumulator,
                        &mut scratch,
                    );
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
    ahead: &mut Ahead<'_>,
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
                    |column| {
                        ahead.fetch(simd);
                        let turned = Turned::new(ring, turn, 8 * column);
                        #[inline(always)]
                        move |row: usize| Complex {
                            re: turned.digits(simd, row),
                            im: turned.digits(simd, row + ROWS),
                        }
                    },
                );
            }
            let [mask, body] = &mut scratch.difference;
            for row in 0..ROWS {
                ahead.fetch(simd);
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
                    |row, column, value| {
                        if row == 0 {
                            ahead.fetch(simd);
                        }
                        let at = 64 * row + 8 * column;
                        add_turns(simd, ring, at, value.re);
                        add_turns(simd, ring, at + POLYNOMIAL_SIZE / 2, value.im);
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

/// Every 64th coefficient, and the seven that follow it, of (X^turn - 1)·ring.
struct Turned<'a> {
    ring: &'a Ring,
    /// Of the first of them.
    at: usize,
    /// The coefficients that are turned to there: 64·`block` + `low` and on, in the ring and then in its negation.
    block: usize,
    low: usize,
    signs: &'a [Sign; BLOCKS],
}

/// In a ring.
const BLOCKS: usize = POLYNOMIAL_SIZE / 64;

/// What turns a word x into ±x, and prepares it for rounding: x ^ flip + offset.
#[derive(Clone, Copy)]
struct Sign {
    flip: u64,
    offset: u64,
}

/// Of every 64 coefficients of ring, negated ring and ring again. In memory, where it is as good as an operand.
static SIGNS: [Sign; 3 * BLOCKS] = {
    // -x is !x + 1. Half a digit rounds; half of all makes the digit positive, until it is a float.
    const OFFSET: u64 = (1 << (DROPPED - 1)) + (1 << 63);
    let as_is = Sign {
        flip: 0,
        offset: OFFSET,
    };
    let negated = Sign {
        flip: u64::MAX,
        offset: OFFSET + 1,
    };
    let mut signs = [as_is; 3 * BLOCKS];
    let mut at = BLOCKS;
    while at < 2 * BLOCKS {
        signs[at] = negated;
        at += 1;
    }
    signs
};

impl<'a> Turned<'a> {
    #[inline(always)]
    fn new(ring: &'a Ring, turn: usize, at: usize) -> Self {
        let from = (at + 2 * POLYNOMIAL_SIZE - turn) % (2 * POLYNOMIAL_SIZE);
        Self {
            ring,
            at,
            block: from / 64,
            low: from % 64,
            signs: SIGNS[from / 64..]
                .first_chunk()
                .expect("two blocks at most are before"),
        }
    }

    /// Eight digits: the multiples of 2^41 that are nearest to the coefficients, in units of it.
    #[inline(always)]
    fn digits<S: Simd>(&self, simd: S, block: usize) -> S::F {
        let from = 64 * ((self.block + block) % BLOCKS) + self.low;
        let turned = simd.load_words(eight(self.ring, from));
        let here = simd.load_words(eight(self.ring, 64 * block + self.at));
        let Sign { flip, offset } = self.signs[block];
        let turned = simd.xor_words(turned, simd.splat_word(flip));
        let difference = simd.sub_words(turned, here);
        let difference = simd.add_words(difference, simd.splat_word(offset));
        let digit = simd.shift_right::<DROPPED>(difference);
        let float = simd.floats_of(simd.or_words(digit, simd.splat_word(INTEGERS)));
        let offset = (1u64 << 52) + (1 << (PBS_BASE_LOG - 1));
        simd.sub(float, simd.splat(offset as f64))
    }
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
