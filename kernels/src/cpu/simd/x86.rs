//! The two kinds of x86-64 processors that matter: with 512-bit registers, and with 256-bit ones and FMA.

use std::arch::x86_64::{__m128i, __m256d, __m256i, __m512d, __m512i, _MM_HINT_T1, _mm_prefetch};

use pulp::cast;
use pulp::x86::{V3, V4};

use super::{Eight, Simd};

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
    fn load(self, from: &Eight) -> Self::F {
        cast(from.0)
    }
    #[inline(always)]
    fn store(self, to: &mut Eight, value: Self::F) {
        to.0 = cast(value);
    }
    #[inline(always)]
    fn load_words(self, from: &[u64; 8]) -> Self::U {
        cast(*from)
    }
    #[inline(always)]
    fn store_words(self, to: &mut [u64; 8], value: Self::U) {
        *to = cast(value);
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
        let f = self.avx512f;
        // Pairs of lanes, then pairs of pairs within halves, then the halves.
        let low = |a: usize| f._mm512_unpacklo_pd(rows[a], rows[a + 1]);
        let high = |a: usize| f._mm512_unpackhi_pd(rows[a], rows[a + 1]);
        let pairs = [
            low(0),
            high(0),
            low(2),
            high(2),
            low(4),
            high(4),
            low(6),
            high(6),
        ];
        let even = |a: usize, b: usize| f._mm512_shuffle_f64x2::<0b10_00_10_00>(pairs[a], pairs[b]);
        let odd = |a: usize, b: usize| f._mm512_shuffle_f64x2::<0b11_01_11_01>(pairs[a], pairs[b]);
        // Lanes (0, 4) or (2, 6) of four rows each, and the same of the odd lanes.
        let quads = [
            even(0, 2),
            even(1, 3),
            odd(0, 2),
            odd(1, 3),
            even(4, 6),
            even(5, 7),
            odd(4, 6),
            odd(5, 7),
        ];
        let first = |a: usize| f._mm512_shuffle_f64x2::<0b10_00_10_00>(quads[a], quads[a + 4]);
        let second = |a: usize| f._mm512_shuffle_f64x2::<0b11_01_11_01>(quads[a], quads[a + 4]);
        [
            first(0),
            first(1),
            first(2),
            first(3),
            second(0),
            second(1),
            second(2),
            second(3),
        ]
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
    fn load(self, from: &Eight) -> Self::F {
        cast(from.0)
    }
    #[inline(always)]
    fn store(self, to: &mut Eight, value: Self::F) {
        to.0 = cast(value);
    }
    #[inline(always)]
    fn load_words(self, from: &[u64; 8]) -> Self::U {
        cast(*from)
    }
    #[inline(always)]
    fn store_words(self, to: &mut [u64; 8], value: Self::U) {
        *to = cast(value);
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
        a.map(|a| self.avx._mm256_round_pd::<0>(a))
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8] {
        let avx = self.avx;
        // The quarter that begins with row `row` and has the lanes of register `half`.
        let quarter = |row: usize, half: usize| {
            let row = |at: usize| rows[row + at][half];
            let low = [
                avx._mm256_unpacklo_pd(row(0), row(1)),
                avx._mm256_unpacklo_pd(row(2), row(3)),
            ];
            let high = [
                avx._mm256_unpackhi_pd(row(0), row(1)),
                avx._mm256_unpackhi_pd(row(2), row(3)),
            ];
            [
                avx._mm256_permute2f128_pd::<0x20>(low[0], low[1]),
                avx._mm256_permute2f128_pd::<0x20>(high[0], high[1]),
                avx._mm256_permute2f128_pd::<0x31>(low[0], low[1]),
                avx._mm256_permute2f128_pd::<0x31>(high[0], high[1]),
            ]
        };
        let (a, b, c, d) = (quarter(0, 0), quarter(4, 0), quarter(0, 1), quarter(4, 1));
        [
            [a[0], b[0]],
            [a[1], b[1]],
            [a[2], b[2]],
            [a[3], b[3]],
            [c[0], d[0]],
            [c[1], d[1]],
            [c[2], d[2]],
            [c[3], d[3]],
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
        a.map(|a| self.avx2._mm256_srl_epi64(a, bits))
    }
    #[inline(always)]
    fn shift_left<const BITS: u64>(self, a: Self::U) -> Self::U {
        let bits: __m128i = cast([BITS, 0]);
        a.map(|a| self.avx2._mm256_sll_epi64(a, bits))
    }
    #[inline(always)]
    fn words_of(self, a: Self::F) -> Self::U {
        a.map(|a| self.avx._mm256_castpd_si256(a))
    }
    #[inline(always)]
    fn floats_of(self, a: Self::U) -> Self::F {
        a.map(|a| self.avx._mm256_castsi256_pd(a))
    }
    #[inline(always)]
    fn prefetch(self, line: &Eight) {
        prefetch(line);
    }
}

/// Into the second-level cache: what is asked for is more than the first has room for.
#[inline(always)]
#[allow(unsafe_code)]
fn prefetch(line: &Eight) {
    // SAFETY: every x86-64 processor has SSE, and a prefetch reads nothing that the program could see.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast()) };
}
