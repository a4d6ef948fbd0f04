//! The two kinds of x86-64 processors that matter: with 512-bit registers, and with 256-bit ones and FMA.

use std::arch::x86_64::{__m128i, __m256d, __m256i, __m512d, __m512i, _MM_HINT_T1, _mm_prefetch};

use pulp::cast;
use pulp::x86::{V3, V4};

use super::{Eight, Simd};

// No closures here: one that is not inlined is compiled without this kind's instructions, and each becomes a call.

impl Simd for V4 {
    type F = __m512d;
    type U = __m512i;

    fn name(self) -> &'static str {
        "avx512"
    }
    #[inline(always)]
    fn run<R>(self, work: impl FnOnce() -> R) -> R {
        self.vectorize(work)
    }
    #[inline(always)]
    fn splat(self, value: f64) -> Self::F {
        self.avx512f._mm512_set1_pd(value)
    }
    #[inline(always)]
    fn splat_word(self, value: u64) -> Self::U {
        self.avx512f._mm512_set1_epi64(value as i64)
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        self.avx512f._mm512_add_pd(a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        self.avx512f._mm512_sub_pd(a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        self.avx512f._mm512_mul_pd(a, b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.avx512f._mm512_fmadd_pd(a, b, c)
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.avx512f._mm512_fnmadd_pd(a, b, c)
    }
    #[inline(always)]
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.avx512f._mm512_fmsub_pd(a, b, c)
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        self.avx512f._mm512_roundscale_pd::<0>(a)
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8] {
        let [a, b, c, d, e, f, g, h] = rows;
        // Pairs of lanes, then pairs of pairs within halves, then the halves.
        let (ab, cd, ef, gh) = (
            pairs(self, a, b),
            pairs(self, c, d),
            pairs(self, e, f),
            pairs(self, g, h),
        );
        let (low, high) = (quarters(self, ab[0], cd[0]), quarters(self, ef[0], gh[0]));
        let [[r0, r4], [r2, r6]] = [
            quarters(self, low[0], high[0]),
            quarters(self, low[1], high[1]),
        ];
        let (low, high) = (quarters(self, ab[1], cd[1]), quarters(self, ef[1], gh[1]));
        let [[r1, r5], [r3, r7]] = [
            quarters(self, low[0], high[0]),
            quarters(self, low[1], high[1]),
        ];
        [r0, r1, r2, r3, r4, r5, r6, r7]
    }
    #[inline(always)]
    fn add_words(self, a: Self::U, b: Self::U) -> Self::U {
        self.avx512f._mm512_add_epi64(a, b)
    }
    #[inline(always)]
    fn sub_words(self, a: Self::U, b: Self::U) -> Self::U {
        self.avx512f._mm512_sub_epi64(a, b)
    }
    #[inline(always)]
    fn xor_words(self, a: Self::U, b: Self::U) -> Self::U {
        self.avx512f._mm512_xor_si512(a, b)
    }
    #[inline(always)]
    fn or_words(self, a: Self::U, b: Self::U) -> Self::U {
        self.avx512f._mm512_or_si512(a, b)
    }
    #[inline(always)]
    fn shift_right<const BITS: u64>(self, a: Self::U) -> Self::U {
        self.avx512f
            ._mm512_srl_epi64(a, cast::<[u64; 2], __m128i>([BITS, 0]))
    }
    #[inline(always)]
    fn shift_left<const BITS: u64>(self, a: Self::U) -> Self::U {
        self.avx512f
            ._mm512_sll_epi64(a, cast::<[u64; 2], __m128i>([BITS, 0]))
    }
    #[inline(always)]
    fn words_of(self, a: Self::F) -> Self::U {
        self.avx512f._mm512_castpd_si512(a)
    }
    #[inline(always)]
    fn floats_of(self, a: Self::U) -> Self::F {
        self.avx512f._mm512_castsi512_pd(a)
    }
    #[inline(always)]
    fn prefetch(self, line: &Eight) {
        prefetch(line);
    }
}

/// The even lanes of two rows in turns, and the odd ones.
#[inline(always)]
fn pairs(simd: V4, a: __m512d, b: __m512d) -> [__m512d; 2] {
    [
        simd.avx512f._mm512_unpacklo_pd(a, b),
        simd.avx512f._mm512_unpackhi_pd(a, b),
    ]
}

/// The even quarters of both, and the odd ones.
#[inline(always)]
fn quarters(simd: V4, a: __m512d, b: __m512d) -> [__m512d; 2] {
    [
        simd.avx512f._mm512_shuffle_f64x2::<0b10_00_10_00>(a, b),
        simd.avx512f._mm512_shuffle_f64x2::<0b11_01_11_01>(a, b),
    ]
}

/// Two registers for eight lanes.
impl Simd for V3 {
    type F = [__m256d; 2];
    type U = [__m256i; 2];

    fn name(self) -> &'static str {
        "avx2"
    }
    #[inline(always)]
    fn run<R>(self, work: impl FnOnce() -> R) -> R {
        self.vectorize(work)
    }
    #[inline(always)]
    fn splat(self, value: f64) -> Self::F {
        [self.avx._mm256_set1_pd(value); 2]
    }
    #[inline(always)]
    fn splat_word(self, value: u64) -> Self::U {
        [self.avx._mm256_set1_epi64x(value as i64); 2]
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        [
            self.avx._mm256_add_pd(a[0], b[0]),
            self.avx._mm256_add_pd(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        [
            self.avx._mm256_sub_pd(a[0], b[0]),
            self.avx._mm256_sub_pd(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        [
            self.avx._mm256_mul_pd(a[0], b[0]),
            self.avx._mm256_mul_pd(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        [
            self.fma._mm256_fmadd_pd(a[0], b[0], c[0]),
            self.fma._mm256_fmadd_pd(a[1], b[1], c[1]),
        ]
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        [
            self.fma._mm256_fnmadd_pd(a[0], b[0], c[0]),
            self.fma._mm256_fnmadd_pd(a[1], b[1], c[1]),
        ]
    }
    #[inline(always)]
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        [
            self.fma._mm256_fmsub_pd(a[0], b[0], c[0]),
            self.fma._mm256_fmsub_pd(a[1], b[1], c[1]),
        ]
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        [
            self.avx._mm256_round_pd::<0>(a[0]),
            self.avx._mm256_round_pd::<0>(a[1]),
        ]
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8] {
        let [a, b, c, d, e, f, g, h] = rows;
        let low = [
            four(self, [a[0], b[0], c[0], d[0]]),
            four(self, [e[0], f[0], g[0], h[0]]),
        ];
        let high = [
            four(self, [a[1], b[1], c[1], d[1]]),
            four(self, [e[1], f[1], g[1], h[1]]),
        ];
        [
            [low[0][0], low[1][0]],
            [low[0][1], low[1][1]],
            [low[0][2], low[1][2]],
            [low[0][3], low[1][3]],
            [high[0][0], high[1][0]],
            [high[0][1], high[1][1]],
            [high[0][2], high[1][2]],
            [high[0][3], high[1][3]],
        ]
    }
    #[inline(always)]
    fn add_words(self, a: Self::U, b: Self::U) -> Self::U {
        [
            self.avx2._mm256_add_epi64(a[0], b[0]),
            self.avx2._mm256_add_epi64(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn sub_words(self, a: Self::U, b: Self::U) -> Self::U {
        [
            self.avx2._mm256_sub_epi64(a[0], b[0]),
            self.avx2._mm256_sub_epi64(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn xor_words(self, a: Self::U, b: Self::U) -> Self::U {
        [
            self.avx2._mm256_xor_si256(a[0], b[0]),
            self.avx2._mm256_xor_si256(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn or_words(self, a: Self::U, b: Self::U) -> Self::U {
        [
            self.avx2._mm256_or_si256(a[0], b[0]),
            self.avx2._mm256_or_si256(a[1], b[1]),
        ]
    }
    #[inline(always)]
    fn shift_right<const BITS: u64>(self, a: Self::U) -> Self::U {
        let bits: __m128i = cast([BITS, 0]);
        [
            self.avx2._mm256_srl_epi64(a[0], bits),
            self.avx2._mm256_srl_epi64(a[1], bits),
        ]
    }
    #[inline(always)]
    fn shift_left<const BITS: u64>(self, a: Self::U) -> Self::U {
        let bits: __m128i = cast([BITS, 0]);
        [
            self.avx2._mm256_sll_epi64(a[0], bits),
            self.avx2._mm256_sll_epi64(a[1], bits),
        ]
    }
    #[inline(always)]
    fn words_of(self, a: Self::F) -> Self::U {
        [
            self.avx._mm256_castpd_si256(a[0]),
            self.avx._mm256_castpd_si256(a[1]),
        ]
    }
    #[inline(always)]
    fn floats_of(self, a: Self::U) -> Self::F {
        [
            self.avx._mm256_castsi256_pd(a[0]),
            self.avx._mm256_castsi256_pd(a[1]),
        ]
    }
    #[inline(always)]
    fn prefetch(self, line: &Eight) {
        prefetch(line);
    }
}

/// Four rows of four lanes, transposed.
#[inline(always)]
fn four(simd: V3, [a, b, c, d]: [__m256d; 4]) -> [__m256d; 4] {
    let avx = simd.avx;
    let (even, odd) = (avx._mm256_unpacklo_pd(a, b), avx._mm256_unpackhi_pd(a, b));
    let (even_2, odd_2) = (avx._mm256_unpacklo_pd(c, d), avx._mm256_unpackhi_pd(c, d));
    [
        avx._mm256_permute2f128_pd::<0x20>(even, even_2),
        avx._mm256_permute2f128_pd::<0x20>(odd, odd_2),
        avx._mm256_permute2f128_pd::<0x31>(even, even_2),
        avx._mm256_permute2f128_pd::<0x31>(odd, odd_2),
    ]
}

/// Into the second-level cache: what is asked for is more than the first has room for.
#[inline(always)]
#[allow(unsafe_code)]
fn prefetch(line: &Eight) {
    // SAFETY: every x86-64 processor has SSE, and a prefetch reads nothing that the program could see.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast()) };
}
