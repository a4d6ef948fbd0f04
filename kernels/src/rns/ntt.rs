//! The negacyclic transform of one polynomial modulo one prime, and back.
//!
//! Longa and Naehrig 2016, algorithms 1 and 2: ψ is merged into the butterflies, values go in in order and come out in
//! bit-reversed order, and the way back takes them so.

use fhe::params::POLYNOMIAL_SIZE as N;

use super::field::Prime;

const BITS: u32 = N.ilog2();

/// Powers of ψ and of its inverse, in bit-reversed order.
pub struct Twiddles {
    prime: Prime,
    forward: Vec<u32>,
    backward: Vec<u32>,
    /// 1 / N.
    scale: u32,
}

impl Twiddles {
    pub fn new(prime: Prime) -> Self {
        let powers = |root: u32| -> Vec<u32> {
            let reversed = |at: usize| (at as u32).reverse_bits() >> (u32::BITS - BITS);
            (0..N).map(|at| prime.pow(root, reversed(at))).collect()
        };
        Self {
            prime,
            forward: powers(prime.root),
            backward: powers(prime.inverse(prime.root)),
            scale: prime.inverse(N as u32),
        }
    }

    pub fn prime(&self) -> Prime {
        self.prime
    }

    /// Values below p, `N` of them.
    pub fn transform(&self, values: &mut [u32]) {
        let p = self.prime;
        let (mut groups, mut half) = (1, N / 2);
        while groups < N {
            let pairs = values.chunks_exact_mut(2 * half);
            for (group, &twiddle) in pairs.zip(&self.forward[groups..]) {
                let (low, high) = group.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let turned = p.mul(*b, twiddle);
                    (*a, *b) = (p.add(*a, turned), p.sub(*a, turned));
                }
            }
            (groups, half) = (groups * 2, half / 2);
        }
    }

    /// The inverse of `transform`.
    pub fn back(&self, values: &mut [u32]) {
        let p = self.prime;
        let (mut groups, mut half) = (N / 2, 1);
        while groups > 0 {
            let pairs = values.chunks_exact_mut(2 * half);
            for (group, &twiddle) in pairs.zip(&self.backward[groups..]) {
                let (low, high) = group.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (p.add(*a, *b), p.mul(p.sub(*a, *b), twiddle));
                }
            }
            (groups, half) = (groups / 2, half * 2);
        }
        for value in values {
            *value = p.mul(*value, self.scale);
        }
    }
}
