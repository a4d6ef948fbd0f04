//! Eight numbers at once, on whatever the processor has: AVX-512, AVX2 with FMA, NEON, or plain Rust.
//!
//! Every kind computes on the same eight lanes, in as many registers as it needs for them, so that what is laid out in
//! memory (a key, say) is the same for all. A value of a kind is the proof that the processor has it.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use portable::Portable;
use pulp::bytemuck::Pod;
use pulp::cast;

/// Eight numbers in memory, aligned as a cache line and as the widest register.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Eight<T = f64>(pub [T; 8]);

/// The arithmetic of one kind of processor. `F` is eight `f64`, `U` eight `u64`.
pub(super) trait Simd: Copy + Send + Sync {
    type F: Pod;
    type U: Pod;

    fn name(self) -> &'static str;

    /// Runs `work` as code for this kind: all that it calls must be inlined into it.
    fn run<R>(self, work: impl FnOnce() -> R) -> R;

    #[inline(always)]
    fn load(self, from: &Eight) -> Self::F {
        cast(from.0)
    }
    #[inline(always)]
    fn store(self, to: &mut Eight, value: Self::F) {
        to.0 = cast(value);
    }
    /// From anywhere, aligned or not.
    #[inline(always)]
    fn load_words(self, from: &[u64; 8]) -> Self::U {
        cast(*from)
    }
    #[inline(always)]
    fn store_words(self, to: &mut [u64; 8], value: Self::U) {
        *to = cast(value);
    }
    fn splat(self, value: f64) -> Self::F;
    fn splat_word(self, value: u64) -> Self::U;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a·b + c, rounded once where the processor can.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// c − a·b.
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a·b − c.
    fn mul_sub(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// To the nearest integer; for magnitudes below 2^51.
    fn round(self, a: Self::F) -> Self::F;
    /// Lane i of result j is lane j of argument i.
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8];

    fn add_words(self, a: Self::U, b: Self::U) -> Self::U;
    fn sub_words(self, a: Self::U, b: Self::U) -> Self::U;
    fn xor_words(self, a: Self::U, b: Self::U) -> Self::U;
    fn or_words(self, a: Self::U, b: Self::U) -> Self::U;
    fn shift_right<const BITS: u64>(self, a: Self::U) -> Self::U;
    fn shift_left<const BITS: u64>(self, a: Self::U) -> Self::U;
    fn words_of(self, a: Self::F) -> Self::U;
    fn floats_of(self, a: Self::U) -> Self::F;

    /// Asks for the cache line of `line`, which is needed soon.
    #[inline(always)]
    fn prefetch(self, _line: &Eight) {}
}

/// Something that can be computed by any kind.
pub(super) trait Work {
    type Output;
    fn with<S: Simd>(self, simd: S) -> Self::Output;
}

/// By the best kind that this processor has.
pub(super) fn dispatch<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V4::try_new() {
            return work.with(simd);
        }
        if let Some(simd) = pulp::x86::V3::try_new() {
            return work.with(simd);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(simd) = pulp::aarch64::Neon::try_new() {
        return work.with(simd);
    }
    work.with(Portable)
}

/// What [`dispatch`] chooses here, for an operator to read.
pub(super) fn kind() -> &'static str {
    struct Kind;
    impl Work for Kind {
        type Output = &'static str;
        fn with<S: Simd>(self, simd: S) -> &'static str {
            simd.name()
        }
    }
    dispatch(Kind)
}

/// By every kind that this processor has.
#[cfg(test)]
pub(super) fn every_kind<W: Work>(work: impl Fn() -> W) -> Vec<(&'static str, W::Output)> {
    let mut out = vec![(Portable.name(), work().with(Portable))];
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V3::try_new() {
            out.push((simd.name(), work().with(simd)));
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            out.push((simd.name(), work().with(simd)));
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(simd) = pulp::aarch64::Neon::try_new() {
        out.push((simd.name(), work().with(simd)));
    }
    out
}
