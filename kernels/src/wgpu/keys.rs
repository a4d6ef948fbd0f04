//! Keys on the device. Several lie in one buffer, a shelf, so that one dispatch reads the keys of many clients.

use fhe::params::{POLYNOMIAL_SIZE as N, SMALL_DIMENSION};
use wgpu::{BindGroup, Buffer, BufferDescriptor, BufferUsages};

use super::gpu::Gpu;
use super::memory::{KEYSWITCH_BYTES, Plan};
use crate::backend::KernelError;
use crate::device::DeviceError;
use crate::rns::RnsKey;
use crate::standard::StandardKey;

/// Of each bit, modulo 2^64.
const POLYNOMIALS: usize = 4;

pub struct Shelf {
    keyswitch: Buffer,
    /// What the two kernels that read keys are bound to.
    pub rotate: BindGroup,
    pub switch: BindGroup,
    /// And the one that writes them.
    transform: BindGroup,
}

impl Shelf {
    fn new(gpu: &Gpu, keys: usize) -> Result<Self, DeviceError> {
        let buffer = |label, bytes: u64| {
            gpu.device.create_buffer(&BufferDescriptor {
                label: Some(label),
                size: keys as u64 * bytes,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let bootstrap = buffer("bootstrap keys", RnsKey::BYTES as u64);
        let keyswitch = buffer("keyswitch keys", KEYSWITCH_BYTES);
        gpu.faults.check()?;
        let b = &gpu.buffers;
        let rotate = [&bootstrap, &b.roots, &b.tasks, &b.turns, &b.rings];
        let switch = [&b.digits, &keyswitch, &b.tiles, &b.smalls];
        let transform = [&b.rings, &b.roots, &bootstrap];
        let shelf = Self {
            transform: gpu
                .pipelines
                .transform_key
                .bind(&gpu.device, &gpu.receipt, &transform),
            rotate: gpu
                .pipelines
                .rotate
                .bind(&gpu.device, &gpu.receipt, &rotate),
            switch: gpu
                .pipelines
                .keyswitch
                .bind(&gpu.device, &gpu.receipt, &switch),
            keyswitch,
        };
        gpu.faults.check()?;
        Ok(shelf)
    }

    /// On the device, since it would take a core of the host a second. By way of the rings of a batch, as many polynomials at once as these have room for. Waits.
    fn transform(
        &self,
        gpu: &Gpu,
        slot: usize,
        words: &[u64],
        batch: usize,
    ) -> Result<(), DeviceError> {
        let together = 2 * batch;
        for (index, piece) in words.chunks(together * N).enumerate() {
            gpu.receipt.begin(&gpu.queue);
            gpu.write(&gpu.buffers.rings, [piece].into_iter())?;
            let first = slot * SMALL_DIMENSION * POLYNOMIALS + index * together;
            let mut encoder = gpu.encoder();
            gpu.pipelines.transform_key.dispatch(
                &gpu.receipt,
                &mut Gpu::pass(&mut encoder),
                &self.transform,
                &[first as u32],
                [piece.len() / N, 1, 1],
            );
            gpu.confirm(encoder)?;
        }
        Ok(())
    }
}

/// Where a key is: its shelf, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    pub shelf: usize,
    pub slot: usize,
}

pub struct Keys {
    plan: Plan,
    shelves: Vec<Option<Shelf>>,
}

impl Keys {
    pub fn new(plan: Plan) -> Self {
        let shelves = (0..plan.places.div_ceil(plan.shelf)).map(|_| None);
        Self {
            plan,
            shelves: shelves.collect(),
        }
    }

    pub fn slot(&self, place: usize) -> Slot {
        Slot {
            shelf: place / self.plan.shelf,
            slot: place % self.plan.shelf,
        }
    }

    /// Of a place that has a key.
    pub fn shelf(&self, index: usize) -> Result<&Shelf, DeviceError> {
        let shelf = self.shelves.get(index).and_then(Option::as_ref);
        shelf.ok_or(DeviceError::Asked(KernelError::Shape(
            "there is no key in this place",
        )))
    }

    /// Whatever was there; the first one of a shelf allocates it.
    pub fn put(&mut self, gpu: &Gpu, place: usize, key: &StandardKey) -> Result<(), DeviceError> {
        let Slot { shelf, slot } = self.slot(place);
        if place >= self.plan.places {
            return Err(KernelError::Shape("a device has no such place for a key").into());
        }
        if self.shelves[shelf].is_none() {
            // The last shelf has the places that are left.
            let keys = self
                .plan
                .shelf
                .min(self.plan.places - shelf * self.plan.shelf);
            self.shelves[shelf] = Some(Shelf::new(gpu, keys)?);
        }
        let there = self.shelf(shelf)?;
        there.transform(gpu, slot, &key.bootstrap, self.plan.batch)?;
        let at = slot as u64 * KEYSWITCH_BYTES;
        gpu.write_large(&there.keyswitch, at, &key.keyswitch)
    }
}
