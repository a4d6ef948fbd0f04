//! The `cpu` backend: on all cores, by the best vectors that the processor has. The definition of correct.
//!
//! A keyswitch streams its 30 MB key once for a block of ciphertexts, and a bootstrap its 60 MB, grouped by key, whatever
//! requests they are of. Keyswitches are word for word those of tfhe-rs; bootstraps are the same algorithm with a
//! Fourier transform of our own, so that they differ by its rounding, which the noise formulas count.

use std::ops::Range;
use std::sync::Arc;

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE, SMALL_WORDS};
use fhe::{EvaluationKey, ParamSet};
use rayon::prelude::*;

use crate::backend::*;

mod bootstrap;
mod fourier;
mod hide;
mod key;
mod keyswitch;
mod linear;
mod peak;
mod rotation;
mod simd;

pub(crate) use bootstrap::Switched;
pub use key::CpuKey;
pub use peak::Peaks;

#[derive(Debug)]
pub struct CpuBackend {
    pool: rayon::ThreadPool,
}

impl CpuBackend {
    /// With so many worker threads, or one for each core.
    pub fn new(threads: Option<usize>) -> Result<Self, KernelError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .thread_name(|index| format!("fhe-{index}"))
            .build()
            .map_err(|e| KernelError::Threads(e.to_string()))?;
        Ok(Self { pool })
    }

    /// That a matrix product fits its inputs.
    pub(crate) fn check_linear(
        &self,
        inputs: &LweBatch,
        sums: &[LweSum<'_>],
    ) -> Result<(), KernelError> {
        check_len(inputs.words.len(), inputs.len(), LWE_WORDS)?;
        linear::check_sums(inputs, sums)
    }

    /// Runs work on this backend's threads.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Work on large ciphertexts that takes a fraction of a millisecond for each. A single one is done where it is: to wake
    /// threads that find nothing to do costs more.
    fn each<T: Sync>(
        &self,
        words: &mut [u64],
        of: &[T],
        work: impl Fn((&mut [u64], &T)) + Send + Sync,
    ) {
        match of.len() {
            0 | 1 => words.chunks_exact_mut(LWE_WORDS).zip(of).for_each(work),
            _ => self.pool.install(|| {
                let targets = words.par_chunks_exact_mut(LWE_WORDS).zip(of);
                targets.for_each(work);
            }),
        }
    }

    /// Batches of one key, at most `most` long, and so many of about one length that every thread has as many.
    fn blocks(&self, keys: &[u32], most: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&index| keys[index]);
        let rounds = keys.len().div_ceil(self.threads() * most).max(1);
        let each = keys.len().div_ceil(self.threads() * rounds).max(1);
        let groups = order.chunk_by(|&a, &b| keys[a] == keys[b]);
        groups
            .flat_map(|group| group.chunks(each))
            .map(<[usize]>::to_vec)
            .collect()
    }
}

/// The key of a block: all its ciphertexts have the same.
fn key_of<'k>(
    keys: &'k [Arc<CpuKey>],
    of: &[u32],
    block: &[usize],
) -> Result<&'k CpuKey, KernelError> {
    let index = block
        .first()
        .and_then(|&first| of.get(first))
        .ok_or(KernelError::Shape("an empty block"))?;
    keys.get(*index as usize)
        .map(Arc::as_ref)
        .ok_or(KernelError::Shape("there is no such key"))
}

pub(crate) fn check_len(words: usize, ciphertexts: usize, each: usize) -> Result<(), KernelError> {
    if words == ciphertexts * each {
        Ok(())
    } else {
        Err(KernelError::Shape("words and ciphertexts do not match"))
    }
}

/// Puts each block's ciphertexts where they belong.
fn scatter<T: Copy>(target: &mut [T], each: usize, blocks: &[Vec<usize>], parts: &[Vec<T>]) {
    for (block, part) in blocks.iter().zip(parts) {
        for (&index, words) in block.iter().zip(part.chunks_exact(each)) {
            target[index * each..][..each].copy_from_slice(words);
        }
    }
}

impl Backend for CpuBackend {
    type Key = CpuKey;

    fn name(&self) -> String {
        format!("cpu ({}), {} threads", simd::kind(), self.threads())
    }

    fn expand_for(&self, key: &EvaluationKey, needed: ParamSet) -> Result<CpuKey, KernelError> {
        self.pool.install(|| CpuKey::expand(key, needed))
    }

    fn expanded_bytes(&self, needed: ParamSet) -> usize {
        CpuKey::bytes_of(needed)
    }

    fn ring_linear(
        &self,
        inputs: &[RingInput<'_>],
        sums: &[RingSum<'_>],
    ) -> Result<LweBatch, KernelError> {
        let keys = linear::check_ring(inputs, sums)?;
        let mut out = LweBatch::zeros(keys);
        let one = |(target, sum): (&mut [u64], &RingSum<'_>)| {
            linear::ring_sum(&inputs[sum.input], sum, target);
        };
        self.each(&mut out.words, sums, one);
        Ok(out)
    }

    fn linear(&self, inputs: &LweBatch, sums: &[LweSum<'_>]) -> Result<LweBatch, KernelError> {
        self.check_linear(inputs, sums)?;
        let mut out = LweBatch::zeros(sums.iter().map(|sum| sum.key).collect());
        let one = |(target, sum): (&mut [u64], &LweSum<'_>)| linear::sum(inputs, sum, target);
        self.each(&mut out.words, sums, one);
        Ok(out)
    }

    fn hide(
        &self,
        keys: &[Arc<CpuKey>],
        batch: &mut LweBatch,
        flooding: &[u32],
        seed: [u8; 32],
    ) -> Result<(), KernelError> {
        check_len(batch.words.len(), batch.len(), LWE_WORDS)?;
        if flooding.len() != batch.len() || flooding.iter().any(|&bound| bound > 62) {
            return Err(KernelError::Shape(
                "one flooding bound below 2^63 for each ciphertext",
            ));
        }
        if batch.keys.iter().any(|&key| key as usize >= keys.len()) {
            return Err(KernelError::Shape("there is no such key"));
        }
        let of: Vec<(usize, u32)> = batch.keys.iter().copied().enumerate().collect();
        let one = |(ciphertext, &(index, key)): (&mut [u64], &(usize, u32))| {
            let key = &keys[key as usize];
            hide::hide(key, ciphertext, flooding[index], &seed, index as u64);
        };
        self.each(&mut batch.words, &of, one);
        Ok(())
    }

    fn keyswitch(&self, keys: &[Arc<CpuKey>], batch: &LweBatch) -> Result<SmallBatch, KernelError> {
        check_len(batch.words.len(), batch.len(), LWE_WORDS)?;
        let blocks = self.blocks(&batch.keys, keyswitch::BLOCK);
        // Few blocks, a single ciphertext say, would leave threads idle: they share each block's key then.
        let each = self.threads().div_ceil(blocks.len().max(1));
        let run = |block: &Vec<usize>| {
            let key = key_of(keys, &batch.keys, block)?.bootstrap()?;
            Ok(keyswitch::block(&key.keyswitch, batch, block, each))
        };
        let parts: Vec<Vec<u32>> = self.pool.install(|| {
            blocks
                .par_iter()
                .map(run)
                .collect::<Result<_, KernelError>>()
        })?;
        let mut out = SmallBatch::zeros(batch.keys.clone());
        scatter(&mut out.words, SMALL_WORDS, &blocks, &parts);
        Ok(out)
    }

    fn bootstrap(
        &self,
        keys: &[Arc<CpuKey>],
        batch: &SmallBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
    ) -> Result<LweBatch, KernelError> {
        let of_input = check_lookups(batch, tables, uses, reads)?;
        let blocks = self.blocks(&batch.keys, bootstrap::BLOCK);
        let run = |block: &Vec<usize>| {
            let key = key_of(keys, &batch.keys, block)?.bootstrap()?;
            let reads: Vec<&[Read]> = block
                .iter()
                .map(|&input| &reads[of_input[input].clone()])
                .collect();
            Ok(bootstrap::block(key, batch, block, tables, uses, &reads))
        };
        let parts: Vec<Vec<u64>> = self.pool.install(|| {
            blocks
                .par_iter()
                .map(run)
                .collect::<Result<_, KernelError>>()
        })?;
        let keys = reads.iter().map(|read| batch.keys[read.input as usize]);
        let mut out = LweBatch::zeros(keys.collect());
        let places: Vec<Vec<usize>> = blocks
            .iter()
            .map(|block| {
                block
                    .iter()
                    .flat_map(|&input| of_input[input].clone())
                    .collect()
            })
            .collect();
        scatter(&mut out.words, LWE_WORDS, &places, &parts);
        Ok(out)
    }
}

/// Gives where the reads of each input are.
pub(crate) fn check_lookups(
    batch: &SmallBatch,
    tables: &[&Table],
    uses: &[u32],
    reads: &[Read],
) -> Result<Vec<Range<usize>>, KernelError> {
    check_len(batch.words.len(), batch.len(), SMALL_WORDS)?;
    check_reads(batch.len(), tables, uses, reads)
}

/// The same of so many inputs of any kind.
pub(crate) fn check_reads(
    inputs: usize,
    tables: &[&Table],
    uses: &[u32],
    reads: &[Read],
) -> Result<Vec<Range<usize>>, KernelError> {
    if uses.len() != inputs || uses.iter().any(|&table| table as usize >= tables.len()) {
        return Err(KernelError::Shape(
            "one table that is there for each ciphertext",
        ));
    }
    group_reads(reads, inputs)
}

/// Where the reads of each input are; they are in the order of their inputs.
fn group_reads(reads: &[Read], inputs: usize) -> Result<Vec<Range<usize>>, KernelError> {
    let mut of_input = vec![0..0; inputs];
    for (index, read) in reads.iter().enumerate() {
        let there =
            (read.coefficient as usize) < POLYNOMIAL_SIZE && (1..=Read::WHOLE).contains(&read.keep);
        let range = of_input
            .get_mut(read.input as usize)
            .filter(|range| there && (range.start == range.end || range.end == index))
            .ok_or(KernelError::Shape(
                "a read of an input, a coefficient or bits that are not there, or not in order",
            ))?;
        if range.start == range.end {
            range.start = index;
        }
        range.end = index + 1;
    }
    Ok(of_input)
}

#[cfg(test)]
mod tests;
