//! Plain Rust, for processors without anything better, and as the plainest description of what the others do.

use super::Simd;

#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Portable;

/// Adding and subtracting it leaves no bits after the point.
const ROUNDER: f64 = 1.5 * (1u64 << 52) as f64;

#[inline(always)]
fn zip<T: Copy>(a: [T; 8], b: [T; 8], op: impl Fn(T, T) -> T) -> [T; 8] {
    std::array::from_fn(|lane| op(a[lane], b[lane]))
}

impl Simd for Portable {
    type F = [f64; 8];
    type U = [u64; 8];

    fn name(self) -> &'static str {
        "portable"
    }
    #[inline(always)]
    fn run<R>(self, work: impl FnOnce() -> R) -> R {
        work()
    }
    #[inline(always)]
    fn splat(self, value: f64) -> Self::F {
        [value; 8]
    }
    #[inline(always)]
    fn splat_word(self, value: u64) -> Self::U {
        [value; 8]
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    // f64::mul_add would be a call for each number where there is no such instruction.
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.sub(c, self.mul(a, b))
    }
    #[inline(always)]
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.sub(self.mul(a, b), c)
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        a.map(|x| (x + ROUNDER) - ROUNDER)
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8] {
        std::array::from_fn(|row| std::array::from_fn(|lane| rows[lane][row]))
    }
    #[inline(always)]
    fn add_words(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u64::wrapping_add)
    }
    #[inline(always)]
    fn sub_words(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u64::wrapping_sub)
    }
    #[inline(always)]
    fn xor_words(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn or_words(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn shift_right<const BITS: u64>(self, a: Self::U) -> Self::U {
        a.map(|word| word >> BITS)
    }
    #[inline(always)]
    fn shift_left<const BITS: u64>(self, a: Self::U) -> Self::U {
        a.map(|word| word << BITS)
    }
    #[inline(always)]
    fn words_of(self, a: Self::F) -> Self::U {
        a.map(f64::to_bits)
    }
    #[inline(always)]
    fn floats_of(self, a: Self::U) -> Self::F {
        a.map(f64::from_bits)
    }
}
