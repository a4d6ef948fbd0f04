//! One GPU, whatever its make: what it computes, with the keys that it holds.
//!
//! A device has a fixed number of places for keys and a fixed greatest batch, both chosen from its free memory when it is
//! opened, so that nothing is allocated while it computes. Which key is in which place is decided above it, in
//! [`crate::Gpus`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use fhe::EvaluationKey;

use crate::backend::{KernelError, LweBatch, LweSum, Read, Table};

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// It does not come back before the process ends.
    #[error("the device is lost: {0}")]
    Lost(String),
    #[error("the driver failed: {0}")]
    Driver(String),
    /// What was asked for is wrong, on every device.
    #[error(transparent)]
    Asked(#[from] KernelError),
}

/// A library that panics, as where a driver lacks a function, is a driver that fails.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let what = text.unwrap_or("a panic, which is on standard error");
        Err(DeviceError::Driver(what.to_owned()))
    })
}

/// A ciphertext to be computed on, and where its results go.
#[derive(Debug)]
pub struct Task<'a, In, Out> {
    /// Its place in the batch that it is of, by which whoever asked knows what was left undone.
    pub index: usize,
    /// 2049 words of 64 bits, or 919 of 32.
    pub input: &'a [In],
    /// Which of the call's keys.
    pub key: u32,
    /// Which of the call's tables (not of a keyswitch).
    pub table: u32,
    /// What is read of the turned polynomial (not of a keyswitch).
    pub reads: &'a [Read],
    /// One ciphertext, or one for each read.
    pub out: &'a mut [Out],
}

/// What a device has taken of its memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub taken: u64,
    /// Of these, what has held something: the largest piece of work so far, and keys.
    pub used: u64,
}

/// Those tables that tasks use, in the order of their first use; and of each task, which of these is its own.
#[cfg(any(test, feature = "cuda", feature = "wgpu"))]
pub(crate) fn used_tables<'t, In: 't, Out: 't>(
    tables: usize,
    tasks: impl Iterator<Item = &'t Task<'t, In, Out>>,
) -> (Vec<usize>, Vec<u32>) {
    let mut place = vec![None; tables];
    let mut used = Vec::new();
    let of = tasks.map(|task| {
        let table = task.table as usize;
        *place[table].get_or_insert_with(|| {
            used.push(table);
            used.len() as u32 - 1
        })
    });
    let of = of.collect();
    (used, of)
}

/// Work is checked before it comes here: lengths fit, and keys, tables and coefficients are there. Results of a call that fails
/// are worth nothing.
pub trait Device: Send + Sync {
    /// What an operator reads: the device and its memory.
    fn name(&self) -> String;

    /// `None`: it cannot tell.
    fn memory(&self) -> Option<Memory> {
        None
    }

    /// Places for keys.
    fn places(&self) -> usize;

    /// The most ciphertexts, and the most results, of one call.
    fn batch(&self) -> usize;

    /// The most results of one ciphertext.
    fn most_reads(&self) -> usize;

    /// Puts a key of the set with bootstraps into a place, whatever was there. The first one in a place allocates it.
    fn upload(&self, place: usize, key: &EvaluationKey) -> Result<(), DeviceError>;

    /// An integer matrix product modulo 2^64: [`LWE_WORDS`](fhe::params::LWE_WORDS) words of `out` for each sum. `false`: it is more
    /// than the device has buffers for, and was not done.
    fn linear(
        &self,
        inputs: &LweBatch,
        sums: &[LweSum<'_>],
        out: &mut [u64],
    ) -> Result<bool, DeviceError>;

    /// From large ciphertexts to small ones. `places`: of each of the call's keys.
    fn keyswitch(
        &self,
        places: &[usize],
        tasks: &mut [Task<'_, u64, u32>],
    ) -> Result<(), DeviceError>;

    /// Modulus switch, blind rotation, extraction, as [`crate::Backend::bootstrap`] has it.
    fn bootstrap(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u32, u64>],
    ) -> Result<(), DeviceError>;

    /// Both, one after the other, without the way over the host.
    fn look_up(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u64, u64>],
    ) -> Result<(), DeviceError>;
}
