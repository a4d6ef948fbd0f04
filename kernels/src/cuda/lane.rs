//! Buffers for one piece of work: a device has two, so that one is computed on while the other is filled or emptied.

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE, SMALL_WORDS};

use super::args::{Address, Linear, Lookups, Tile};
use super::plan;
use super::runtime::{Runtime, Stream};
use crate::backend::Table;
use crate::device::{DeviceError, Task, used_tables};

pub struct Lane<R: Runtime> {
    pub stream: Stream,
    pub device: Buffers,
    pub host: Staging<R>,
    /// The most ciphertexts and the most results that it has held.
    pub most: (usize, usize),
}

/// On the device.
#[derive(Clone, Copy, Debug)]
pub struct Buffers {
    /// Large ciphertexts.
    pub input: Address,
    pub small: Address,
    pub turns: Address,
    /// Indexes, tiles, and addresses of keys.
    pub indexes: Address,
    pub tables: Address,
    pub out: Address,
}

pub struct Staging<R: Runtime> {
    pub input: R::Staging,
    pub indexes: R::Staging,
    pub tables: R::Staging,
    pub out: R::Staging,
}

/// Words of 8 bytes that buffers take.
struct Sizes {
    input: usize,
    out: usize,
    small: usize,
    turns: usize,
    indexes: usize,
    tables: usize,
}

impl Sizes {
    fn of(ciphertexts: usize, results: usize, places: usize) -> Self {
        // Of each ciphertext its key, its table, where its reads begin, and a tile; of each result its coefficient.
        let of_each = 3 + size_of::<Tile>() / 4;
        Self {
            input: ciphertexts * LWE_WORDS,
            out: results * LWE_WORDS,
            small: (ciphertexts * SMALL_WORDS).div_ceil(2),
            turns: (ciphertexts * SMALL_WORDS).div_ceil(4),
            // Every list may end in the middle of a word; there are two lists of keys.
            indexes: (ciphertexts * of_each + results).div_ceil(2) + 2 * places + 16,
            tables: ciphertexts * POLYNOMIAL_SIZE,
        }
    }
}

impl<R: Runtime> Lane<R> {
    /// What a lane takes of the device.
    pub fn bytes(ciphertexts: usize, results: usize, places: usize) -> usize {
        let sizes = Sizes::of(ciphertexts, results, places);
        8 * (sizes.input + sizes.out + sizes.small + sizes.turns + sizes.indexes + sizes.tables)
    }

    pub fn new(
        runtime: &R,
        stream: Stream,
        ciphertexts: usize,
        results: usize,
        places: usize,
    ) -> Result<Self, DeviceError> {
        let sizes = Sizes::of(ciphertexts, results, places);
        let allocate = |words: usize| runtime.allocate(words * 8);
        Ok(Self {
            most: (0, 0),
            stream,
            device: Buffers {
                input: allocate(sizes.input)?,
                small: allocate(sizes.small)?,
                turns: allocate(sizes.turns)?,
                indexes: allocate(sizes.indexes)?,
                tables: allocate(sizes.tables)?,
                out: allocate(sizes.out)?,
            },
            host: Staging {
                input: runtime.stage(sizes.input)?,
                indexes: runtime.stage(sizes.indexes)?,
                tables: runtime.stage(sizes.tables)?,
                out: runtime.stage(sizes.out)?,
            },
        })
    }

    /// Copies the tasks' ciphertexts into the staging memory; gives how many words they are.
    pub fn gather<In: Pod, Out>(&mut self, tasks: &[Task<'_, In, Out>]) -> usize {
        let results = tasks.iter().map(|task| task.reads.len()).sum();
        let (inputs, most_results) = self.most;
        self.most = (inputs.max(tasks.len()), most_results.max(results));
        let words: &mut [In] = cast_slice_mut(self.host.input.as_mut());
        let mut at = 0;
        for task in tasks {
            words[at..][..task.input.len()].copy_from_slice(task.input);
            at += task.input.len();
        }
        (at * size_of::<In>()).div_ceil(8)
    }

    /// Copies what came out to where it belongs.
    pub fn scatter<In, Out: Pod>(&self, tasks: &mut [Task<'_, In, Out>]) {
        let mut words: &[Out] = cast_slice(self.host.out.as_ref());
        for task in tasks {
            let (own, rest) = words.split_at(task.out.len());
            task.out.copy_from_slice(own);
            words = rest;
        }
    }

    /// The polynomials of those tables that the tasks use, one after another; and of each task, which is its own.
    pub fn tables<In, Out>(
        &mut self,
        tables: &[&Table],
        tasks: &[Task<'_, In, Out>],
    ) -> (usize, Vec<u32>) {
        let (used, of) = used_tables(tables.len(), tasks.iter());
        let polynomials = self.host.tables.as_mut();
        for (polynomial, &table) in polynomials.chunks_exact_mut(POLYNOMIAL_SIZE).zip(&used) {
            tables[table].fill(polynomial);
        }
        (used.len(), of)
    }

    /// All lists that kernels read, and where they will be.
    pub fn indexes<In, Out>(
        &mut self,
        tasks: &[Task<'_, In, Out>],
        table_of: &[u32],
        keyswitch_keys: &[Address],
        rotation_keys: &[Address],
    ) -> Indexes {
        let key_of: Vec<u32> = tasks.iter().map(|task| task.key).collect();
        let mut reads_of = vec![0u32];
        let mut reads = Vec::new();
        for task in tasks {
            reads.extend(task.reads.iter().map(|read| read.packed()));
            reads_of.push(reads.len() as u32);
        }
        let buffers = self.device;
        let mut pack = Pack {
            words: self.host.indexes.as_mut(),
            used: 0,
            address: buffers.indexes,
        };
        let tiles = plan::tiles(&key_of).map(|tiles| (pack.put(&tiles), tiles.len()));
        Indexes {
            tiles,
            keyswitch_keys: pack.put(keyswitch_keys),
            rotation_keys: pack.put(rotation_keys),
            lookups: Lookups {
                key_of: pack.put(&key_of),
                table_of: pack.put(table_of),
                turns: buffers.turns,
                reads_of: pack.put(&reads_of),
                tables: buffers.tables,
                reads: pack.put(&reads),
                out: buffers.out,
            },
            words: pack.used,
        }
    }

    /// A matrix's lists, in the place of tables, and how many words they take.
    pub fn lists(&mut self, matrix: plan::Matrix) -> (Linear, usize) {
        let mut pack = Pack {
            words: self.host.tables.as_mut(),
            used: 0,
            address: self.device.tables,
        };
        let args = Linear {
            input: self.device.input,
            out: self.device.out,
            groups: pack.put(&matrix.groups),
            inputs: pack.put(&matrix.inputs),
            weights: pack.put(&matrix.weights),
            constants: pack.put(&matrix.constants),
        };
        (args, pack.used)
    }
}

pub struct Indexes {
    /// Of each size of tiles, where they are and how many.
    pub tiles: [(Address, usize); 3],
    pub keyswitch_keys: Address,
    pub rotation_keys: Address,
    pub lookups: Lookups,
    /// Of the staging memory that are used.
    pub words: usize,
}

/// Lists one after another, each at a whole word.
struct Pack<'a> {
    words: &'a mut [u64],
    used: usize,
    address: Address,
}

impl Pack<'_> {
    fn put<T: Pod>(&mut self, list: &[T]) -> Address {
        let bytes: &[u8] = cast_slice(list);
        let words = bytes.len().div_ceil(8);
        let target: &mut [u8] = cast_slice_mut(&mut self.words[self.used..][..words]);
        target[..bytes.len()].copy_from_slice(bytes);
        let at = self.address + 8 * self.used as u64;
        self.used += words;
        at
    }
}
