//! What this processor can do at most, measured on all threads at once: what benchmarks hold their figures against.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fhe::params::LWE_WORDS;
use pulp::Arch;

use super::simd::{Simd, Work, dispatch};
use super::{CpuBackend, linear};
use crate::backend::{LweBatch, LweSum};

/// A second, all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// Fused multiply-adds of `f64`, on registers alone.
    pub fused: f64,
    /// Multiply-adds of 64-bit words on a ciphertext in the nearest cache, as sums compute them.
    pub words: f64,
    /// Bytes read from memory, one after another.
    pub read_bytes: f64,
}

/// Of all threads together: more than caches hold.
const STREAM_BYTES: usize = 512 << 20;
const TERMS: usize = 256;

impl CpuBackend {
    /// Takes about four times `each`.
    pub fn peaks(&self, each: Duration) -> Peaks {
        // As many registers as hide the latency of an addition; more than some processors have would spill.
        let fused = |chains: usize| {
            self.together(|| {
                let mut work = || dispatch(Chains { chains });
                rate(each, &mut work)
            })
        };
        let words = self.together(|| {
            let inputs = LweBatch {
                words: (0..LWE_WORDS as u64).collect(),
                keys: vec![0],
            };
            let terms = [(0, 3); TERMS];
            let sum = LweSum {
                base: 0,
                terms: &terms,
                constant: 0,
                key: 0,
            };
            let mut target = vec![0; LWE_WORDS];
            rate(each, &mut || {
                linear::sum(black_box(&inputs), &sum, black_box(&mut target));
                TERMS * LWE_WORDS
            })
        });
        let len = STREAM_BYTES / size_of::<u64>() / self.threads();
        let read_bytes = self.together(|| {
            // Written once: untouched pages would all be the same one.
            let stream = vec![1u64; len];
            rate(each, &mut || {
                black_box(added(black_box(&stream)));
                len * size_of::<u64>()
            })
        });
        Peaks {
            fused: f64::max(fused(6), fused(12)),
            words,
            read_bytes,
        }
    }

    /// The sum of what all threads measure at once.
    fn together(&self, measure: impl Fn() -> f64 + Sync) -> f64 {
        self.pool.broadcast(|_| measure()).iter().sum()
    }
}

/// How many a second, by work that tells how many it did.
fn rate(each: Duration, work: &mut dyn FnMut() -> usize) -> f64 {
    work();
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < each {
        done += work();
    }
    done as f64 / began.elapsed().as_secs_f64()
}

fn added(words: &[u64]) -> u64 {
    Arch::new().dispatch(
        #[inline(always)]
        || words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word)),
    )
}

struct Chains {
    chains: usize,
}

impl Work for Chains {
    type Output = usize;

    fn with<S: Simd>(self, simd: S) -> usize {
        match self.chains {
            6 => simd.run(|| chains::<S, 6>(simd)),
            _ => simd.run(|| chains::<S, 12>(simd)),
        }
    }
}

const STEPS: usize = 1 << 14;

#[inline(always)]
fn chains<S: Simd, const CHAINS: usize>(simd: S) -> usize {
    let (factor, summand) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
    let mut values = [simd.splat(black_box(3.0)); CHAINS];
    for _ in 0..STEPS {
        for value in &mut values {
            *value = simd.mul_add(*value, factor, summand);
        }
    }
    black_box(values);
    STEPS * CHAINS * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peak_is_more_than_nothing() {
        let backend = CpuBackend::new(Some(2)).unwrap();
        let peaks = backend.peaks(Duration::from_millis(1));
        assert!(peaks.fused > 0.0 && peaks.fused.is_finite());
        assert!(peaks.words > 0.0 && peaks.words.is_finite());
        assert!(peaks.read_bytes > 0.0 && peaks.read_bytes.is_finite());
    }
}
