//! Keyswitches and blind rotations on the device.

use std::time::Instant;

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE as N, SMALL_DIMENSION, SMALL_WORDS};
use wgpu::CommandEncoder;

use super::gpu::Gpu;
use super::keys::Keys;
use super::order::{Order, Run};
use super::pace::Pace;
use crate::backend::Table;
use crate::device::{DeviceError, Task, used_tables};
use crate::rns::to_q;
use crate::wgsl::{KEYSWITCH_COLUMNS, KEYSWITCH_ROWS, KEYSWITCH_TILE, THREADS};

/// Ciphertexts of one key that read it together, as keyswitch.wgsl has them: the first, how many, the key's slot.
fn tiles(order: &Order, run: &Run) -> Vec<[u32; 4]> {
    let slots: Vec<usize> = order
        .slots()
        .skip(run.first)
        .take(run.len)
        .map(|slot| slot.slot)
        .collect();
    let mut first = run.first;
    let mut tiles = Vec::new();
    for of_key in slots.chunk_by(|a, b| a == b) {
        for tile in of_key.chunks(KEYSWITCH_TILE) {
            tiles.push([first as u32, tile.len() as u32, tile[0] as u32, 0]);
            first += tile.len();
        }
    }
    tiles
}

/// From the buffer of inputs to that of small ciphertexts.
pub fn keyswitch(
    gpu: &Gpu,
    keys: &Keys,
    order: &Order,
    encoder: &mut CommandEncoder,
) -> Result<(), DeviceError> {
    if order.is_empty() {
        return Ok(());
    }
    let tiles: Vec<(usize, Vec<[u32; 4]>)> = order
        .runs()
        .map(|run| (run.shelf, tiles(order, &run)))
        .collect();
    gpu.write(
        &gpu.buffers.tiles,
        tiles.iter().map(|(_, tiles)| &tiles[..]),
    )?;
    let mut pass = Gpu::pass(encoder);
    let words = [N / THREADS, order.len(), 1];
    gpu.pipelines
        .decompose
        .dispatch(&gpu.receipt, &mut pass, &gpu.bound.decompose, &[], words);
    let columns = SMALL_WORDS.div_ceil(KEYSWITCH_COLUMNS);
    let mut first = 0;
    for (shelf, tiles) in &tiles {
        let bound = &keys.shelf(*shelf)?.switch;
        let groups = [columns, N / KEYSWITCH_ROWS, tiles.len()];
        gpu.pipelines
            .keyswitch
            .dispatch(&gpu.receipt, &mut pass, bound, &[first], groups);
        first += tiles.len() as u32;
    }
    Ok(())
}

/// What a call looks up, in the order of its keys.
pub struct Lookups {
    pub order: Order,
    /// Of each ciphertext, its key's slot and its table among those that are used.
    tasks: Vec<[u32; 2]>,
    /// Polynomials of the used tables, modulo Q.
    tables: Vec<u64>,
    /// Ciphertext, and coefficient with bits to keep.
    reads: Vec<[u32; 2]>,
}

impl Lookups {
    /// What nothing is read of is not turned.
    pub fn new<In, Out>(
        keys: &Keys,
        places: &[usize],
        tables: &[&Table],
        tasks: &[Task<'_, In, Out>],
    ) -> Self {
        let wanted = |index: usize| !tasks[index].reads.is_empty();
        let order = Order::new(keys, places, tasks.iter().map(|task| task.key), wanted);
        let (used, table_of) = used_tables(tables.len(), order.tasks().map(|index| &tasks[index]));
        let polynomials = used.iter().flat_map(|&table| tables[table].polynomial());
        let slots = order.slots().zip(table_of);
        let reads = order.tasks().enumerate().flat_map(|(ciphertext, index)| {
            let reads = tasks[index].reads.iter();
            reads.map(move |read| [ciphertext as u32, read.packed()])
        });
        Self {
            reads: reads.collect(),
            tasks: slots
                .map(|(slot, table)| [slot.slot as u32, table])
                .collect(),
            tables: polynomials.map(to_q).collect(),
            order,
        }
    }

    /// From the buffer of small ciphertexts to the tasks' results. `encoder`: what comes before, not yet submitted.
    pub fn rotate<In>(
        &self,
        gpu: &Gpu,
        keys: &Keys,
        pace: &mut Pace,
        mut encoder: CommandEncoder,
        tasks: &mut [Task<'_, In, u64>],
    ) -> Result<(), DeviceError> {
        if self.order.is_empty() {
            return Ok(());
        }
        let (pipelines, bound, buffers) = (&gpu.pipelines, &gpu.bound, &gpu.buffers);
        gpu.write(&buffers.tasks, [&self.tasks[..]].into_iter())?;
        gpu.write(&buffers.tables, [&self.tables[..]].into_iter())?;
        gpu.write(&buffers.reads, [&self.reads[..]].into_iter())?;
        let began = Instant::now();
        let ciphertexts = self.order.len();
        let mut pass = Gpu::pass(&mut encoder);
        pipelines.switch_modulus.dispatch(
            &gpu.receipt,
            &mut pass,
            &bound.switch_modulus,
            &[],
            [ciphertexts, 1, 1],
        );
        pipelines.start.dispatch(
            &gpu.receipt,
            &mut pass,
            &bound.start,
            &[],
            [N / THREADS, ciphertexts, 1],
        );
        drop(pass);
        let bits = pace.bits(ciphertexts);
        for from in (0..SMALL_DIMENSION).step_by(bits) {
            if from > 0 {
                gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
            }
            let to = (from + bits).min(SMALL_DIMENSION);
            self.turn(gpu, keys, &mut encoder, from..to)?;
        }
        let groups = [LWE_WORDS.div_ceil(THREADS), self.reads.len(), 1];
        let mut pass = Gpu::pass(&mut encoder);
        pipelines
            .extract
            .dispatch(&gpu.receipt, &mut pass, &bound.extract, &[], groups);
        drop(pass);
        let words = self.reads.len() * LWE_WORDS;
        let done = gpu.finish(encoder, &buffers.results, words, |mut results: &[u64]| {
            for index in self.order.tasks() {
                let (of_task, rest) = results.split_at(tasks[index].reads.len() * LWE_WORDS);
                tasks[index].out[..of_task.len()].copy_from_slice(of_task);
                results = rest;
            }
        });
        match done {
            Ok(()) => pace.took(ciphertexts, began.elapsed()),
            Err(_) => pace.stopped(),
        }
        done
    }

    /// Some bits of the small keys.
    fn turn(
        &self,
        gpu: &Gpu,
        keys: &Keys,
        encoder: &mut CommandEncoder,
        bits: std::ops::Range<usize>,
    ) -> Result<(), DeviceError> {
        let mut pass = Gpu::pass(encoder);
        for run in self.order.runs() {
            let bound = &keys.shelf(run.shelf)?.rotate;
            let slice = [run.first, bits.start, bits.end].map(|n| n as u32);
            gpu.pipelines
                .rotate
                .dispatch(&gpu.receipt, &mut pass, bound, &slice, [run.len, 1, 1]);
        }
        Ok(())
    }
}
