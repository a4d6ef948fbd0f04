//! The device as [`Device`] has it: each call is put in the order of its keys, sent, computed and read back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fhe::EvaluationKey;
use fhe::params::SMALL_WORDS;

use super::adapter::{self, Found, OpenError, Options};
use super::gpu::Gpu;
use super::keys::Keys;
use super::lookup::Lookups;
use super::memory::Plan;
use super::order::Order;
use super::pace::Pace;
use super::{linear, lookup};
use crate::backend::{KernelError, LweBatch, LweSum, Table};
use crate::device::{Device, DeviceError, Task};
use crate::standard::StandardKey;

pub struct WgpuDevice {
    found: Found,
    plan: Plan,
    /// One call at a time has the device and its buffers.
    held: Mutex<Held>,
}

struct Held {
    gpu: Gpu,
    keys: Keys,
    pace: Pace,
}

impl WgpuDevice {
    /// All devices of this machine, those that cannot be used too.
    pub fn found() -> Vec<Found> {
        adapter::all()
    }

    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let opened = adapter::open(options)?;
        let (found, plan) = (opened.found.clone(), opened.plan);
        let held = Held {
            gpu: Gpu::new(opened)?,
            keys: Keys::new(plan),
            pace: Pace::default(),
        };
        Ok(Self {
            found,
            plan,
            held: Mutex::new(held),
        })
    }

    /// Keys and buffers are whole whatever a call before has met: it writes what it reads.
    fn hold(&self) -> Result<MutexGuard<'_, Held>, DeviceError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.gpu.faults.check()?;
        held.gpu.receipt.begin(&held.gpu.queue);
        Ok(held)
    }

    fn fits(&self, got: usize) -> Result<(), DeviceError> {
        let limit = self.plan.batch;
        match got > limit {
            true => Err(KernelError::TooLarge { got, limit }.into()),
            false => Ok(()),
        }
    }

    fn fits_tasks<In, Out>(&self, tasks: &[Task<'_, In, Out>]) -> Result<(), DeviceError> {
        self.fits(tasks.len())?;
        self.fits(tasks.iter().map(|task| task.reads.len()).sum())
    }

    #[cfg(test)]
    pub(super) fn with_gpu<R>(&self, with: impl FnOnce(&Gpu) -> R) -> R {
        with(&self.hold().unwrap().gpu)
    }
}

impl Device for WgpuDevice {
    fn name(&self) -> String {
        let Found {
            name, api, driver, ..
        } = &self.found;
        format!("{name} by {api} ({driver})")
    }

    fn places(&self) -> usize {
        self.plan.places
    }

    fn batch(&self) -> usize {
        self.plan.batch
    }

    fn most_reads(&self) -> usize {
        self.plan.batch
    }

    fn upload(&self, place: usize, key: &EvaluationKey) -> Result<(), DeviceError> {
        // Before others have to wait for it.
        let key = StandardKey::new(key)?;
        let mut held = self.hold()?;
        let Held { gpu, keys, .. } = &mut *held;
        keys.put(gpu, place, &key)
    }

    fn linear(
        &self,
        inputs: &LweBatch,
        sums: &[LweSum<'_>],
        out: &mut [u64],
    ) -> Result<bool, DeviceError> {
        if self.fits(inputs.len().max(sums.len())).is_err() {
            return Ok(false);
        }
        linear::sums(&self.hold()?.gpu, inputs, sums, out)?;
        Ok(true)
    }

    fn keyswitch(
        &self,
        places: &[usize],
        tasks: &mut [Task<'_, u64, u32>],
    ) -> Result<(), DeviceError> {
        self.fits(tasks.len())?;
        let held = self.hold()?;
        let Held { gpu, keys, .. } = &*held;
        let order = Order::new(keys, places, tasks.iter().map(|task| task.key), |_| true);
        if order.is_empty() {
            return Ok(());
        }
        gpu.write(
            &gpu.buffers.inputs,
            order.tasks().map(|index| tasks[index].input),
        )?;
        let mut encoder = gpu.encoder();
        lookup::keyswitch(gpu, keys, &order, &mut encoder)?;
        let words = order.len() * SMALL_WORDS;
        gpu.finish(encoder, &gpu.buffers.smalls, words, |results: &[u32]| {
            for (index, words) in order.tasks().zip(results.chunks_exact(SMALL_WORDS)) {
                tasks[index].out.copy_from_slice(words);
            }
        })
    }

    fn bootstrap(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u32, u64>],
    ) -> Result<(), DeviceError> {
        self.fits_tasks(tasks)?;
        let mut held = self.hold()?;
        let Held { gpu, keys, pace } = &mut *held;
        let lookups = Lookups::new(keys, places, tables, tasks);
        let inputs = lookups.order.tasks().map(|index| tasks[index].input);
        gpu.write(&gpu.buffers.smalls, inputs)?;
        let encoder = gpu.encoder();
        lookups.rotate(gpu, keys, pace, encoder, tasks)
    }

    fn look_up(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u64, u64>],
    ) -> Result<(), DeviceError> {
        self.fits_tasks(tasks)?;
        let mut held = self.hold()?;
        let Held { gpu, keys, pace } = &mut *held;
        let lookups = Lookups::new(keys, places, tables, tasks);
        let inputs = lookups.order.tasks().map(|index| tasks[index].input);
        gpu.write(&gpu.buffers.inputs, inputs)?;
        let mut encoder = gpu.encoder();
        lookup::keyswitch(gpu, keys, &lookups.order, &mut encoder)?;
        lookups.rotate(gpu, keys, pace, encoder, tasks)
    }
}
