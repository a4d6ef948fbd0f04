//! Roots that kernels read.

use std::f64::consts::{FRAC_PI_4, PI};

use bytemuck::cast_slice;
use fhe::params::POLYNOMIAL_SIZE as N;

use super::args::{Address, Factor, Twiddles};
use super::runtime::{Runtime, put};
use crate::device::DeviceError;
use crate::rns::{PRIMES, Prime};

/// Points of a Fourier transform.
const POINTS: usize = N / 2;

/// By a prime: powers of its root, in bit-reversed order, and of the root's inverse; 1 / N.
pub struct Factors {
    pub forward: Vec<Factor>,
    pub backward: Vec<Factor>,
    pub scale: Factor,
}

impl Factors {
    pub fn of(prime: Prime) -> Self {
        let factor = |w: u32| Factor {
            w,
            w_over_p: ((u64::from(w) << 32) / u64::from(prime.p)) as u32,
        };
        let reversed = |at: usize| (at as u32).reverse_bits() >> (u32::BITS - N.ilog2());
        let powers = |root: u32| {
            let powers = (0..N).map(|at| factor(prime.pow(root, reversed(at))));
            powers.collect()
        };
        Self {
            forward: powers(prime.root),
            backward: powers(prime.inverse(prime.root)),
            scale: factor(prime.inverse(N as u32)),
        }
    }
}

/// What the Fourier transform's kernels read (fft.cuh), real and imaginary parts. Of each five stages the first stage's root, and then
/// those of groups with an even number (the others differ by a quarter of a turn); first those that all lanes share, and then for
/// each place 32 lanes side by side. Then the same of the way back, and what each of its points ends with.
pub fn roots() -> Vec<[f64; 2]> {
    const LANES: usize = 32;
    let roots = roots_in_order();
    // Of the five stages that begin with this group.
    let there = |first: usize, place: usize| match place {
        0 => roots[first],
        _ => {
            let stage = place.ilog2() + 1;
            let group = 2 * place - (1 << stage);
            roots[(first << stage) + group]
        }
    };
    // Of five stages on points 32 apart, in the half that is this many of them.
    let back = |lane: usize, place: usize| match place {
        0 => turned_back(lane as f64 / LANES as f64),
        _ => {
            let half = 2 << place.ilog2();
            let k = place - half / 2;
            turned_back((lane + LANES * k) as f64 / (LANES * half) as f64)
        }
    };
    let words = 2f64.powi(32);
    let ends = (0..POINTS).map(|at| turned_back(at as f64 / N as f64).map(|part| part * words));
    let of_lanes = || (0..16).flat_map(|place| (0..LANES).map(move |lane| (lane, place)));
    let mut all: Vec<[f64; 2]> = (0..16).map(|place| there(1, place)).collect();
    all.extend(of_lanes().map(|(lane, place)| there(LANES + lane, place)));
    all.extend(of_lanes().map(|(lane, place)| back(lane, place)));
    all.extend(ends);
    all
}

/// By a part of half a turn.
fn turned_back(part: f64) -> [f64; 2] {
    let angle = PI * part;
    [angle.cos(), -angle.sin()]
}

/// At 2^s + g, the root by which group g of stage s splits.
fn roots_in_order() -> Vec<[f64; 2]> {
    let mut angles = vec![0.0; POINTS];
    angles[1] = FRAC_PI_4;
    for at in 2..POINTS {
        let turned = if at % 2 == 1 { PI } else { 0.0 };
        angles[at] = (angles[at / 2] + turned) / 2.0;
    }
    let root = |angle: f64| [angle.cos(), angle.sin()];
    angles.into_iter().map(root).collect()
}

/// Where they are on a device.
pub struct Constants {
    pub twiddles: [Twiddles; 2],
    pub roots: Address,
}

impl Constants {
    /// By way of a staging memory.
    pub fn new<R: Runtime>(runtime: &R, staging: &mut R::Staging) -> Result<Self, DeviceError> {
        let mut keep = |words: &[u64]| -> Result<Address, DeviceError> {
            let at = runtime.allocate(words.len() * 8)?;
            put(runtime, staging, words, at)?;
            Ok(at)
        };
        let mut twiddles = [Twiddles::default(); 2];
        for (twiddles, prime) in twiddles.iter_mut().zip(PRIMES) {
            let factors = Factors::of(prime);
            *twiddles = Twiddles {
                forward: keep(cast_slice(&factors.forward))?,
                backward: keep(cast_slice(&factors.backward))?,
                scale: factors.scale,
            };
        }
        Ok(Self {
            twiddles,
            roots: keep(cast_slice(&roots()))?,
        })
    }
}
