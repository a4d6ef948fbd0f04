//! Arithmetic modulo one prime.

use fhe::params::POLYNOMIAL_SIZE;

/// A prime below 2^31 with a root of X^N + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prime {
    pub p: u32,
    /// ψ: ψ^N = -1, so it has order 2N.
    pub root: u32,
}

/// The two greatest below 2^31 that are 1 modulo 2^12 and leave Q just below 2^62 are 2147377153 and 2147389441.
pub const PRIMES: [Prime; 2] = [Prime::new(2_147_389_441), Prime::new(2_147_377_153)];

impl Prime {
    const fn new(p: u32) -> Self {
        let order = 2 * POLYNOMIAL_SIZE as u32;
        assert!(p < 1 << 31 && (p - 1).is_multiple_of(order));
        let mut this = Self { p, root: 0 };
        // x^((p - 1) / 2N) has an order that divides 2N; it is 2N if the N-th power is -1.
        let mut x = 2;
        while this.root == 0 {
            let root = this.pow(x, (p - 1) / order);
            if this.pow(root, POLYNOMIAL_SIZE as u32) == p - 1 {
                this.root = root;
            }
            x += 1;
        }
        this
    }

    pub const fn mul(self, a: u32, b: u32) -> u32 {
        (a as u64 * b as u64 % self.p as u64) as u32
    }

    pub const fn add(self, a: u32, b: u32) -> u32 {
        let sum = a + b;
        if sum >= self.p { sum - self.p } else { sum }
    }

    pub const fn sub(self, a: u32, b: u32) -> u32 {
        if a >= b { a - b } else { a + (self.p - b) }
    }

    pub const fn pow(self, base: u32, mut exponent: u32) -> u32 {
        let (mut power, mut square) = (1, base);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.mul(power, square);
            }
            square = self.mul(square, square);
            exponent >>= 1;
        }
        power
    }

    /// Of anything but 0 (Fermat).
    pub const fn inverse(self, a: u32) -> u32 {
        self.pow(a, self.p - 2)
    }

    /// Of a signed number.
    pub const fn of(self, value: i32) -> u32 {
        (value as i64).rem_euclid(self.p as i64) as u32
    }
}
