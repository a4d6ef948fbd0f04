//! NEON, which every 64-bit ARM processor has: four registers for eight lanes.

use std::arch::aarch64::{float64x2_t, uint64x2_t};

use pulp::aarch64::Neon;

use super::Simd;

impl Simd for Neon {
    type F = [float64x2_t; 4];
    type U = [uint64x2_t; 4];

    fn name(self) -> &'static str {
        "neon"
    }
    #[inline(always)]
    fn run<R>(self, work: impl FnOnce() -> R) -> R {
        self.vectorize(work)
    }
    #[inline(always)]
    fn splat(self, value: f64) -> Self::F {
        [self.neon.vdupq_n_f64(value); 4]
    }
    #[inline(always)]
    fn splat_word(self, value: u64) -> Self::U {
        [self.neon.vdupq_n_u64(value); 4]
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|at| self.neon.vaddq_f64(a[at], b[at]))
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|at| self.neon.vsubq_f64(a[at], b[at]))
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|at| self.neon.vmulq_f64(a[at], b[at]))
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|at| self.neon.vfmaq_f64(c[at], a[at], b[at]))
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|at| self.neon.vfmsq_f64(c[at], a[at], b[at]))
    }
    #[inline(always)]
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|at| {
            self.neon
                .vfmaq_f64(self.neon.vnegq_f64(c[at]), a[at], b[at])
        })
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        a.map(|a| self.neon.vrndnq_f64(a))
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8] {
        std::array::from_fn(|to| {
            std::array::from_fn(|pair| {
                let (a, b) = (rows[2 * pair][to / 2], rows[2 * pair + 1][to / 2]);
                match to % 2 {
                    0 => self.neon.vzip1q_f64(a, b),
                    _ => self.neon.vzip2q_f64(a, b),
                }
            })
        })
    }
    #[inline(always)]
    fn add_words(self, a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|at| self.neon.vaddq_u64(a[at], b[at]))
    }
    #[inline(always)]
    fn sub_words(self, a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|at| self.neon.vsubq_u64(a[at], b[at]))
    }
    #[inline(always)]
    fn xor_words(self, a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|at| self.neon.veorq_u64(a[at], b[at]))
    }
    #[inline(always)]
    fn or_words(self, a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|at| self.neon.vorrq_u64(a[at], b[at]))
    }
    #[inline(always)]
    fn shift_right<const BITS: u64>(self, a: Self::U) -> Self::U {
        let bits = self.neon.vdupq_n_s64(-(BITS as i64));
        a.map(|a| self.neon.vshlq_u64(a, bits))
    }
    #[inline(always)]
    fn shift_left<const BITS: u64>(self, a: Self::U) -> Self::U {
        let bits = self.neon.vdupq_n_s64(BITS as i64);
        a.map(|a| self.neon.vshlq_u64(a, bits))
    }
    #[inline(always)]
    fn words_of(self, a: Self::F) -> Self::U {
        a.map(|a| self.neon.vreinterpretq_u64_f64(a))
    }
    #[inline(always)]
    fn floats_of(self, a: Self::U) -> Self::F {
        a.map(|a| self.neon.vreinterpretq_f64_u64(a))
    }
}
