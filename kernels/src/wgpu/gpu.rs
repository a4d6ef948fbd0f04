//! An open device: its kernels and buffers, ways to it and back. One call at a time uses it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use bytemuck::Pod;
use fhe::params::POLYNOMIAL_SIZE as N;
use wgpu::{BindGroup, Buffer, BufferSize, CommandEncoder, ComputePass, Device, Queue};

use super::adapter::Opened;
use super::fault::Faults;
use super::memory::Buffers;
use super::pipelines::{Kernel, Pipelines};
use super::receipt::Receipt;
use crate::device::DeviceError;
use crate::rns::{PRIMES, Prime};

/// A device that has not answered by then never will. Software takes half a second for a ciphertext, on a busy machine some.
const PATIENCE: Duration = Duration::from_secs(180);

/// A key goes in pieces: each is copied to memory that the driver then reads.
const PIECE_WORDS: usize = 2 << 20;

/// What kernels without keys are bound to.
pub struct Bound {
    pub linear: BindGroup,
    pub decompose: BindGroup,
    pub switch_modulus: BindGroup,
    pub start: BindGroup,
    pub extract: BindGroup,
}

pub struct Gpu {
    pub device: Device,
    pub queue: Queue,
    pub faults: Faults,
    pub pipelines: Pipelines,
    pub buffers: Buffers,
    pub bound: Bound,
    pub receipt: Receipt,
}

impl Gpu {
    pub fn new(opened: Opened) -> Result<Self, DeviceError> {
        let Opened {
            device,
            queue,
            plan,
            ..
        } = opened;
        let faults = Faults::of(&device);
        let pipelines = Pipelines::new(&device);
        faults.check()?;
        let roots = roots();
        let buffers = Buffers::new(&device, plan.batch, (roots.len() * 4) as u64);
        let receipt = Receipt::new(&device);
        faults.check()?;
        let bind = |kernel: &Kernel, buffers: &[&Buffer]| kernel.bind(&device, &receipt, buffers);
        let (p, b) = (&pipelines, &buffers);
        let bound = Bound {
            linear: bind(&p.linear, &[&b.inputs, &b.rows, &b.terms, &b.results]),
            decompose: bind(&p.decompose, &[&b.inputs, &b.digits, &b.smalls]),
            switch_modulus: bind(&p.switch_modulus, &[&b.smalls, &b.turns]),
            start: bind(&p.start, &[&b.tables, &b.tasks, &b.turns, &b.rings]),
            extract: bind(&p.extract, &[&b.rings, &b.reads, &b.results]),
        };
        let gpu = Self {
            device,
            queue,
            faults,
            pipelines,
            buffers,
            bound,
            receipt,
        };
        gpu.write_large(&gpu.buffers.roots, 0, &roots)?;
        Ok(gpu)
    }

    /// Parts of what a buffer holds from its beginning, one after the other. They go with the next submission.
    pub fn write<'a, T: Pod>(
        &self,
        buffer: &Buffer,
        parts: impl Iterator<Item = &'a [T]> + Clone,
    ) -> Result<(), DeviceError> {
        let bytes: usize = parts.clone().map(std::mem::size_of_val).sum();
        let Some(size) = BufferSize::new(bytes as u64) else {
            return Ok(());
        };
        let Some(mut view) = self.queue.write_buffer_with(buffer, 0, size) else {
            // That it is lost is told to who waits.
            self.wait()?;
            return Err(DeviceError::Driver("it takes no data".to_owned()));
        };
        let mut at = 0;
        for part in parts {
            let bytes = bytemuck::cast_slice(part);
            view.slice(at..at + bytes.len()).copy_from_slice(bytes);
            at += bytes.len();
        }
        Ok(())
    }

    /// What is too large to be copied at once. Waits.
    pub fn write_large(&self, buffer: &Buffer, at: u64, words: &[u32]) -> Result<(), DeviceError> {
        for (index, piece) in words.chunks(PIECE_WORDS).enumerate() {
            let offset = at + (index * PIECE_WORDS * 4) as u64;
            let bytes = bytemuck::cast_slice(piece);
            self.receipt.begin(&self.queue);
            self.queue.write_buffer(buffer, offset, bytes);
            self.confirm(self.encoder())?;
        }
        Ok(())
    }

    pub fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    pub fn pass(encoder: &mut CommandEncoder) -> ComputePass<'_> {
        encoder.begin_compute_pass(&Default::default())
    }

    pub fn submit(&self, encoder: CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// For all that was submitted.
    pub fn wait(&self) -> Result<(), DeviceError> {
        let wait = wgpu::PollType::Wait {
            submission_index: None,
            timeout: Some(PATIENCE),
        };
        // The library panics here when the driver gives up the device.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(wait)));
        match polled {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.faults.lose(format!("no answer: {error}")),
            Err(_) => self.faults.lose("the driver gave it up".to_owned()),
        }
        self.faults.check()
    }

    /// Submits, and waits until all is done.
    pub fn confirm(&self, encoder: CommandEncoder) -> Result<(), DeviceError> {
        self.finish(encoder, &self.receipt.buffer, 0, |_: &[u32]| ())
    }

    /// Submits, and gives the first words of a buffer to `read` when all is done.
    pub fn finish<T: Pod>(
        &self,
        mut encoder: CommandEncoder,
        from: &Buffer,
        words: usize,
        read: impl FnOnce(&[T]),
    ) -> Result<(), DeviceError> {
        let bytes = (words * size_of::<T>()) as u64;
        let staging = &self.buffers.staging;
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(from, 0, staging, 0, bytes);
        }
        // After the results.
        encoder.copy_buffer_to_buffer(&self.receipt.buffer, 0, staging, bytes, 4);
        self.submit(encoder);
        let done = self.read_staging(bytes, |view| read(bytemuck::cast_slice(view)));
        // Mapped or not, and though a lost device may not like it: the next call must find it free.
        self.buffers.staging.unmap();
        if done.is_err() {
            let _ = self.faults.check();
        }
        done
    }

    fn read_staging(&self, bytes: u64, read: impl FnOnce(&[u8])) -> Result<(), DeviceError> {
        let failed = |error: &dyn std::fmt::Display| {
            DeviceError::Driver(format!("results cannot be read: {error}"))
        };
        let (done, mapped) = mpsc::channel();
        let slice = self.buffers.staging.slice(..bytes + 4);
        slice.map_async(wgpu::MapMode::Read, move |result| {
            // Nobody listens once a fault was found.
            let _ = done.send(result);
        });
        self.wait()?;
        let mapped = mapped.try_recv().map_err(|error| failed(&error))?;
        mapped.map_err(|error| failed(&error))?;
        let view = slice.get_mapped_range().map_err(|error| failed(&error))?;
        let (results, counted) = view.split_at(bytes as usize);
        self.receipt.check(bytemuck::pod_read_unaligned(counted))?;
        read(results);
        Ok(())
    }
}

/// Of each prime, powers of ψ and of its inverse in bit-reversed order, each with ⌊root · 2^32 / p⌋. The inverse's first place,
/// which no stage uses, holds what results are scaled by: 1 / N, and 2^32 for the Montgomery product before it.
fn roots() -> Vec<u32> {
    let of_prime = |prime: Prime| {
        let inverse = prime.inverse(prime.root);
        let two_32 = ((1u64 << 32) % u64::from(prime.p)) as u32;
        let scale = prime.mul(prime.inverse(N as u32), two_32);
        let mut powers = [prime.root, inverse].map(|root| reversed_powers(prime, root));
        powers[1][0] = scale;
        let pairs = powers.concat().into_iter();
        pairs.flat_map(move |w| [w, ((u64::from(w) << 32) / u64::from(prime.p)) as u32])
    };
    PRIMES.into_iter().flat_map(of_prime).collect()
}

fn reversed_powers(prime: Prime, root: u32) -> Vec<u32> {
    let reversed = |at: usize| (at as u32).reverse_bits() >> (u32::BITS - N.ilog2());
    (0..N).map(|at| prime.pow(root, reversed(at))).collect()
}
