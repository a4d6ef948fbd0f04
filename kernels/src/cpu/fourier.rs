//! The Fourier transform of real polynomials modulo X^2048 + 1.
//!
//! Two coefficients, j and j + 1024, make one complex number: that is the polynomial modulo X^1024 - i. It is then
//! split ten times, modulo X^2m - r² into modulo X^m - r and modulo X^m + r, until it is its value at 1024 roots
//! (Bernstein, "Multidigit multiplication for mathematicians", 2001, sections 2 and 5: the twisted transform without
//! the twist). No step reorders anything: the values stay in the order in which the splits leave them, and a key is
//! kept in the same order.
//!
//! Four splits work on whole rows of 64 numbers; the last six on one row at a time, within registers. So a transform
//! goes twice through its 16 KB, and what is done with the values can be done while a row is in registers.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use fhe::params::POLYNOMIAL_SIZE;

use super::simd::{Eight, Simd};

/// Rows of a transform, each eight times eight numbers.
pub(super) const ROWS: usize = 16;
const _: () = assert!(
    POLYNOMIAL_SIZE == 2 * 64 * ROWS,
    "the splits are counted for this size"
);

/// Eight complex numbers in memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Points {
    pub re: Eight,
    pub im: Eight,
}

pub(super) type Row = [Points; 8];
pub(super) type Spectrum = [Row; ROWS];

/// Eight complex numbers in registers.
#[derive(Clone, Copy)]
pub(super) struct Complex<S: Simd> {
    pub re: S::F,
    pub im: S::F,
}

impl<S: Simd> Complex<S> {
    #[inline(always)]
    pub fn load(simd: S, from: &Points) -> Self {
        Self {
            re: simd.load(&from.re),
            im: simd.load(&from.im),
        }
    }
    #[inline(always)]
    pub fn store(self, simd: S, to: &mut Points) {
        simd.store(&mut to.re, self.re);
        simd.store(&mut to.im, self.im);
    }
}

/// Of three splits: the first's root, that of the left half (the right half's is i times as much), and those of the
/// first and third quarter (the second's and fourth's are i times as much).
type Three<T> = [T; 4];

/// The roots of every split.
pub(super) struct Roots {
    first: [f64; 2],
    halves: [Three<[f64; 2]>; 2],
    rows: [RowRoots; ROWS],
}

pub(super) struct RowRoots {
    /// Of the splits that take the row's eight vectors apart.
    vectors: Three<[f64; 2]>,
    /// Of the splits within the vectors, one lane for each of them.
    lanes: Three<Points>,
}

/// The same for all keys.
pub(super) static ROOTS: LazyLock<Box<Roots>> = LazyLock::new(|| Box::new(Roots::new()));

/// The root r with which part `index` of the 2^level parts is split. Modulo X^m - e^(2πi·t), r is e^(πi·t), and the
/// other half is modulo X^(m/2) - e^(2πi·(t+1)/2).
fn root(level: u32, index: usize) -> [f64; 2] {
    let turn = (0..level)
        .rev()
        .fold(0.25, |turn, bit| (turn + (index >> bit & 1) as f64) / 2.0);
    let (sin, cos) = (TAU * turn / 2.0).sin_cos();
    [cos, sin]
}

fn three(level: u32, index: usize) -> Three<[f64; 2]> {
    [
        root(level, index),
        root(level + 1, 2 * index),
        root(level + 2, 4 * index),
        root(level + 2, 4 * index + 2),
    ]
}

impl Roots {
    fn new() -> Self {
        let lanes = |row: usize| {
            let mut out = [Points::default(); 4];
            for lane in 0..8 {
                for (points, [re, im]) in out.iter_mut().zip(three(7, 8 * row + lane)) {
                    (points.re.0[lane], points.im.0[lane]) = (re, im);
                }
            }
            out
        };
        Self {
            first: root(0, 0),
            halves: [three(1, 0), three(1, 1)],
            rows: std::array::from_fn(|row| RowRoots {
                vectors: three(4, row),
                lanes: lanes(row),
            }),
        }
    }

    #[inline(always)]
    pub fn row(&self, row: usize) -> &RowRoots {
        &self.rows[row]
    }
}

#[inline(always)]
fn splat<S: Simd>(simd: S, root: &[f64; 2]) -> Complex<S> {
    Complex {
        re: simd.splat(root[0]),
        im: simd.splat(root[1]),
    }
}

#[inline(always)]
fn splat_three<S: Simd>(simd: S, [a, b, c, d]: &Three<[f64; 2]>) -> Three<Complex<S>> {
    [
        splat(simd, a),
        splat(simd, b),
        splat(simd, c),
        splat(simd, d),
    ]
}

/// low, high → low + root·high, low - root·high.
#[inline(always)]
fn split<S: Simd>(simd: S, x: &mut [Complex<S>], low: usize, high: usize, root: Complex<S>) {
    let (a, b) = (x[low], x[high]);
    let re = simd.mul_sub(b.re, root.re, simd.mul(b.im, root.im));
    let im = simd.mul_add(b.re, root.im, simd.mul(b.im, root.re));
    x[low] = Complex {
        re: simd.add(a.re, re),
        im: simd.add(a.im, im),
    };
    x[high] = Complex {
        re: simd.sub(a.re, re),
        im: simd.sub(a.im, im),
    };
}

/// The same with i·root.
#[inline(always)]
fn split_i<S: Simd>(simd: S, x: &mut [Complex<S>], low: usize, high: usize, root: Complex<S>) {
    let (a, b) = (x[low], x[high]);
    let re = simd.mul_sub(b.re, root.re, simd.mul(b.im, root.im));
    let im = simd.mul_add(b.re, root.im, simd.mul(b.im, root.re));
    x[low] = Complex {
        re: simd.sub(a.re, im),
        im: simd.add(a.im, re),
    };
    x[high] = Complex {
        re: simd.add(a.re, im),
        im: simd.sub(a.im, re),
    };
}

/// Undoes a split, and doubles.
#[inline(always)]
fn merge<S: Simd>(simd: S, x: &mut [Complex<S>], low: usize, high: usize, root: Complex<S>) {
    let (a, b) = (x[low], x[high]);
    let (re, im) = (simd.sub(a.re, b.re), simd.sub(a.im, b.im));
    x[low] = Complex {
        re: simd.add(a.re, b.re),
        im: simd.add(a.im, b.im),
    };
    x[high] = Complex {
        re: simd.mul_add(re, root.re, simd.mul(im, root.im)),
        im: simd.mul_sub(im, root.re, simd.mul(re, root.im)),
    };
}

/// The same with i·root.
#[inline(always)]
fn merge_i<S: Simd>(simd: S, x: &mut [Complex<S>], low: usize, high: usize, root: Complex<S>) {
    let (a, b) = (x[low], x[high]);
    let (re, im) = (simd.sub(b.re, a.re), simd.sub(b.im, a.im));
    x[low] = Complex {
        re: simd.add(a.re, b.re),
        im: simd.add(a.im, b.im),
    };
    x[high] = Complex {
        re: simd.mul_sub(re, root.im, simd.mul(im, root.re)),
        im: simd.mul_add(re, root.re, simd.mul(im, root.im)),
    };
}

#[inline(always)]
fn split_eight<S: Simd>(simd: S, x: &mut [Complex<S>], [a, b, c, d]: Three<Complex<S>>) {
    for low in 0..4 {
        split(simd, x, low, low + 4, a);
    }
    for low in 0..2 {
        split(simd, x, low, low + 2, b);
        split_i(simd, x, low + 4, low + 6, b);
    }
    split(simd, x, 0, 1, c);
    split_i(simd, x, 2, 3, c);
    split(simd, x, 4, 5, d);
    split_i(simd, x, 6, 7, d);
}

#[inline(always)]
fn merge_eight<S: Simd>(simd: S, x: &mut [Complex<S>], [a, b, c, d]: Three<Complex<S>>) {
    merge(simd, x, 0, 1, c);
    merge_i(simd, x, 2, 3, c);
    merge(simd, x, 4, 5, d);
    merge_i(simd, x, 6, 7, d);
    for low in 0..2 {
        merge(simd, x, low, low + 2, b);
        merge_i(simd, x, low + 4, low + 6, b);
    }
    for low in 0..4 {
        merge(simd, x, low, low + 4, a);
    }
}

#[inline(always)]
fn transpose<S: Simd>(simd: S, x: &mut [Complex<S>; 8]) {
    let re = simd.transpose([
        x[0].re, x[1].re, x[2].re, x[3].re, x[4].re, x[5].re, x[6].re, x[7].re,
    ]);
    let im = simd.transpose([
        x[0].im, x[1].im, x[2].im, x[3].im, x[4].im, x[5].im, x[6].im, x[7].im,
    ]);
    for ((x, re), im) in x.iter_mut().zip(re).zip(im) {
        *x = Complex { re, im };
    }
}

/// The first four splits. `load` gives, of a column (0 to 7), each row's vector: numbers 64·row + 8·column and on.
#[allow(
    clippy::needless_range_loop,
    reason = "a column is the second index, not the first"
)]
#[inline(always)]
pub(super) fn forward_rows<S: Simd, L: Fn(usize) -> Complex<S>>(
    simd: S,
    roots: &Roots,
    out: &mut Spectrum,
    mut load: impl FnMut(usize) -> L,
) {
    for column in 0..8 {
        let at = load(column);
        let mut x = [
            at(0),
            at(8),
            at(1),
            at(9),
            at(2),
            at(10),
            at(3),
            at(11),
            at(4),
            at(12),
            at(5),
            at(13),
            at(6),
            at(14),
            at(7),
            at(15),
        ];
        let first = splat(simd, &roots.first);
        for pair in 0..8 {
            split(simd, &mut x, 2 * pair, 2 * pair + 1, first);
        }
        let mut left = [x[0], x[2], x[4], x[6], x[8], x[10], x[12], x[14]];
        split_eight(simd, &mut left, splat_three(simd, &roots.halves[0]));
        for (row, x) in left.into_iter().enumerate() {
            x.store(simd, &mut out[row][column]);
        }
        let mut right = [x[1], x[3], x[5], x[7], x[9], x[11], x[13], x[15]];
        split_eight(simd, &mut right, splat_three(simd, &roots.halves[1]));
        for (row, x) in right.into_iter().enumerate() {
            x.store(simd, &mut out[8 + row][column]);
        }
    }
}

/// The last six splits, of one row.
#[inline(always)]
pub(super) fn forward_row<S: Simd>(simd: S, roots: &RowRoots, row: &Row) -> [Complex<S>; 8] {
    let mut x = load_row(simd, row);
    split_eight(simd, &mut x, splat_three(simd, &roots.vectors));
    transpose(simd, &mut x);
    split_eight(simd, &mut x, load_three(simd, &roots.lanes));
    x
}

/// Undoes `forward_row`, and multiplies by 64.
#[inline(always)]
pub(super) fn inverse_row<S: Simd>(
    simd: S,
    roots: &RowRoots,
    mut x: [Complex<S>; 8],
    row: &mut Row,
) {
    merge_eight(simd, &mut x, load_three(simd, &roots.lanes));
    transpose(simd, &mut x);
    merge_eight(simd, &mut x, splat_three(simd, &roots.vectors));
    for (x, points) in x.into_iter().zip(row) {
        x.store(simd, points);
    }
}

/// Undoes `forward_rows`, and multiplies by 16. `store` gets row, column and vector, columns one after another.
#[allow(
    clippy::needless_range_loop,
    reason = "a column is the second index, not the first"
)]
#[inline(always)]
pub(super) fn inverse_rows<S: Simd>(
    simd: S,
    roots: &Roots,
    spectrum: &Spectrum,
    mut store: impl FnMut(usize, usize, Complex<S>),
) {
    for column in 0..8 {
        let at = |row: usize| Complex::load(simd, &spectrum[row][column]);
        let mut left = [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)];
        merge_eight(simd, &mut left, splat_three(simd, &roots.halves[0]));
        let mut right = [at(8), at(9), at(10), at(11), at(12), at(13), at(14), at(15)];
        merge_eight(simd, &mut right, splat_three(simd, &roots.halves[1]));
        let first = splat(simd, &roots.first);
        for row in 0..8 {
            let mut pair = [left[row], right[row]];
            merge(simd, &mut pair, 0, 1, first);
            store(row, column, pair[0]);
            store(row + 8, column, pair[1]);
        }
    }
}

#[inline(always)]
fn load_row<S: Simd>(simd: S, row: &Row) -> [Complex<S>; 8] {
    let at = |column: usize| Complex::load(simd, &row[column]);
    [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)]
}

#[inline(always)]
fn load_three<S: Simd>(simd: S, [a, b, c, d]: &Three<Points>) -> Three<Complex<S>> {
    let at = |points: &Points| Complex::load(simd, points);
    [at(a), at(b), at(c), at(d)]
}
