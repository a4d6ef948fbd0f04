//! A CUDA device: what it holds, and the order in which its kernels are launched.
#![allow(unsafe_code)]

use std::ops::Range;

use bytemuck::Pod;
use fhe::EvaluationKey;
use fhe::params::*;
use parking_lot::Mutex;

use super::args::*;
use super::constants::Constants;
use super::lane::{Indexes, Lane};
use super::plan::{self, TILE_SIZES};
use super::runtime::{Kernel, Runtime, Stream};
use crate::backend::{KernelError, LweBatch, LweSum, Table};
use crate::device::{Device, DeviceError, Memory, Task};
use crate::standard::StandardKey;
use crate::survey::Budget;

mod keys;

pub use keys::KEY_BYTES;
use keys::{KeyPlace, ROTATION_BYTES};

/// How ciphertexts are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By Fourier transforms in f64, where that is half as fast as f32, with up to so many ciphertexts in a block.
    Fourier { together: usize },
    /// Exactly, in integers: everywhere else.
    Exact,
}

/// What a driver tells of a device.
#[derive(Clone, Debug)]
pub struct About {
    pub name: String,
    pub method: Method,
    pub multiprocessors: usize,
}

/// Exact rotations that a multiprocessor does at once, or nearly.
const EXACT_TOGETHER: usize = 4;
/// Results for each ciphertext that buffers have room for: some lookups are read more than once.
const RESULTS: usize = 2;
const STREAMS: [Stream; 2] = [0, 1];
const LEAST_WAVE: usize = 64;
const MOST_PLACES: usize = 4096;

pub struct CudaDevice<R: Runtime> {
    runtime: R,
    about: About,
    /// Ciphertexts of a piece of work: what all multiprocessors rotate at once. Copies of one piece hide behind the other.
    wave: usize,
    places: usize,
    constants: Constants,
    state: Mutex<State<R>>,
}

struct State<R: Runtime> {
    lanes: [Lane<R>; 2],
    keys: Vec<Option<KeyPlace>>,
    /// A bootstrap key on its way: as clients have it.
    standard: Address,
    staging: R::Staging,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    Keyswitch,
    Bootstrap,
    Both,
}

impl<R: Runtime> CudaDevice<R> {
    /// Takes the device's memory: for work at once, for keys as they come.
    pub fn new(runtime: R, about: About, budget: Budget) -> Result<Self, DeviceError> {
        let (free, _) = runtime.memory()?;
        let together = match about.method {
            Method::Fourier { together } => together,
            Method::Exact => EXACT_TOGETHER,
        };
        let mut wave = (about.multiprocessors * together).max(LEAST_WAVE);
        let lanes = |wave| 2 * Lane::<R>::bytes(wave, wave * RESULTS, MOST_PLACES) as u64;
        while wave > LEAST_WAVE && lanes(wave) > free / 4 {
            wave /= 2;
        }
        // A twentieth stays free: a driver allocates for itself too.
        let taken = lanes(wave) + ROTATION_BYTES as u64 + free / 20;
        let for_keys = free.saturating_sub(taken).min(budget.key_bytes);
        let places = (for_keys / KEY_BYTES as u64).min(MOST_PLACES as u64) as usize;
        if places == 0 {
            return Err(DeviceError::OutOfMemory(format!(
                "{} MB are free, and {} MB are needed: end what else uses the device, or leave more memory to keys",
                free >> 20,
                (taken + KEY_BYTES as u64) >> 20
            )));
        }
        let [first, second] =
            STREAMS.map(|stream| Lane::new(&runtime, stream, wave, wave * RESULTS, places));
        let lanes = [first?, second?];
        let mut staging = runtime.stage(ROTATION_BYTES / 8)?;
        let standard = runtime.allocate(ROTATION_BYTES)?;
        let constants = Constants::new(&runtime, &mut staging)?;
        Ok(Self {
            state: Mutex::new(State {
                lanes,
                keys: vec![None; places],
                standard,
                staging,
            }),
            runtime,
            about,
            wave,
            places,
            constants,
        })
    }

    #[cfg(test)]
    pub fn runtime(&self) -> &R {
        &self.runtime
    }

    #[cfg(test)]
    pub fn runtime_mut(&mut self) -> &mut R {
        &mut self.runtime
    }

    fn run<In: Pod, Out: Pod>(
        &self,
        steps: Steps,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, In, Out>],
    ) -> Result<(), DeviceError> {
        let mut state = self.state.lock();
        let State { lanes, keys, .. } = &mut *state;
        let of = |&place: &usize| keys.get(place).copied().flatten();
        let keys: Vec<KeyPlace> = places
            .iter()
            .map(of)
            .collect::<Option<_>>()
            .ok_or(KernelError::Shape("there is no key in the place"))?;
        let pieces = plan::pieces(tasks, self.wave, self.wave * RESULTS);
        self.pipelined(
            lanes,
            &pieces,
            tasks,
            |lane, piece, tasks| self.begin(steps, lane, &keys, tables, &tasks[piece.clone()]),
            |lane, piece, tasks| lane.scatter(&mut tasks[piece.clone()]),
        )
    }

    /// After a failure nothing may be on its way when the staging memory is used again.
    fn settled<T>(&self, outcome: Result<T, DeviceError>) -> Result<T, DeviceError> {
        if outcome.is_err() {
            for stream in STREAMS {
                let _ = self.runtime.wait(stream);
            }
        }
        outcome
    }

    /// While a piece is computed, the one before is emptied and the next one is filled. `begin` queues a piece of `work` on a lane
    /// that is free; `end` takes what came out.
    fn pipelined<Piece, Work: ?Sized>(
        &self,
        lanes: &mut [Lane<R>; 2],
        pieces: &[Piece],
        work: &mut Work,
        begin: impl Fn(&mut Lane<R>, &Piece, &Work) -> Result<(), DeviceError>,
        end: impl Fn(&Lane<R>, &Piece, &mut Work),
    ) -> Result<(), DeviceError> {
        let mut step = |index: usize| -> Result<(), DeviceError> {
            if let Some(piece) = pieces.get(index) {
                begin(&mut lanes[index % 2], piece, work)?;
            }
            if let Some(before) = index.checked_sub(1) {
                let lane = &lanes[before % 2];
                self.runtime.wait(lane.stream)?;
                end(lane, &pieces[before], work);
            }
            Ok(())
        };
        let outcome = (0..pieces.len() + 1).try_for_each(&mut step);
        self.settled(outcome)
    }

    /// Queues a piece of work. The lane is free.
    fn begin<In: Pod, Out>(
        &self,
        steps: Steps,
        lane: &mut Lane<R>,
        keys: &[KeyPlace],
        tables: &[&Table],
        tasks: &[Task<'_, In, Out>],
    ) -> Result<(), DeviceError> {
        let runtime = &self.runtime;
        let stream = lane.stream;
        let words = lane.gather(tasks);
        let (used_tables, table_of) = match steps {
            Steps::Keyswitch => (0, Vec::new()),
            _ => lane.tables(tables, tasks),
        };
        let keyswitch: Vec<Address> = keys.iter().map(|key| key.keyswitch).collect();
        let rotation: Vec<Address> = keys.iter().map(|key| key.rotation).collect();
        let indexes = lane.indexes(tasks, &table_of, &keyswitch, &rotation);
        let to = match steps {
            Steps::Bootstrap => lane.device.small,
            _ => lane.device.input,
        };
        // SAFETY: lanes live as long as the device, a lane is not touched before its stream was waited for, and its
        // buffers are made for as many ciphertexts, tables and results as a piece has.
        unsafe {
            runtime.upload(stream, &lane.host.input, words, to)?;
            runtime.upload(
                stream,
                &lane.host.indexes,
                indexes.words,
                lane.device.indexes,
            )?;
            if steps != Steps::Bootstrap {
                self.keyswitch_step(lane, &indexes, tasks.len())?;
            }
            if steps == Steps::Keyswitch {
                let words = (tasks.len() * SMALL_WORDS).div_ceil(2);
                return runtime.download(stream, lane.device.small, words, &mut lane.host.out);
            }
            let words = used_tables * POLYNOMIAL_SIZE;
            runtime.upload(stream, &lane.host.tables, words, lane.device.tables)?;
            self.rotate_step(lane, &indexes, tasks.len())?;
            let results: usize = tasks.iter().map(|task| task.reads.len()).sum();
            runtime.download(
                stream,
                lane.device.out,
                results * LWE_WORDS,
                &mut lane.host.out,
            )
        }
    }

    /// Queues a matrix product. The lane is free.
    fn begin_sums(
        &self,
        lane: &mut Lane<R>,
        words: &[u64],
        matrix: plan::Matrix,
        sums: usize,
    ) -> Result<(), DeviceError> {
        lane.host.input.as_mut()[..words.len()].copy_from_slice(words);
        let blocks = matrix.groups.len() * plan::LINEAR_BLOCKS;
        let (args, used) = lane.lists(matrix);
        let (runtime, stream) = (&self.runtime, lane.stream);
        // SAFETY: the lane is not touched before the wait, and pieces are cut so that it has room for what they hold.
        unsafe {
            runtime.upload(stream, &lane.host.input, words.len(), lane.device.input)?;
            runtime.upload(stream, &lane.host.tables, used, lane.device.tables)?;
            runtime.launch(stream, Kernel::Linear, blocks, &args)?;
            let words = sums * LWE_WORDS;
            runtime.download(stream, lane.device.out, words, &mut lane.host.out)
        }
    }

    /// # Safety
    /// The lane's inputs and indexes are queued.
    unsafe fn keyswitch_step(
        &self,
        lane: &Lane<R>,
        indexes: &Indexes,
        count: usize,
    ) -> Result<(), DeviceError> {
        let runtime = &self.runtime;
        let tiles = indexes.tiles.iter().map(|(_, count)| count).sum();
        let words = plan::keyswitch_words(tiles, self.about.multiprocessors);
        // SAFETY: as the caller's; a block writes within the ciphertexts of its tile.
        unsafe {
            runtime.zero(lane.stream, lane.device.small, count * SMALL_WORDS * 4)?;
            for (size, (address, tiles)) in TILE_SIZES.into_iter().zip(indexes.tiles) {
                if tiles == 0 {
                    continue;
                }
                let args = Keyswitch {
                    input: lane.device.input,
                    out: lane.device.small,
                    keys: indexes.keyswitch_keys,
                    tiles: address,
                    words: words as u32,
                    unused: 0,
                };
                let blocks = tiles * plan::COLUMN_BLOCKS * (POLYNOMIAL_SIZE / words);
                runtime.launch(lane.stream, Kernel::Keyswitch(size), blocks, &args)?;
            }
        }
        Ok(())
    }

    /// # Safety
    /// The lane's small ciphertexts, indexes and tables are queued.
    unsafe fn rotate_step(
        &self,
        lane: &Lane<R>,
        indexes: &Indexes,
        count: usize,
    ) -> Result<(), DeviceError> {
        let runtime = &self.runtime;
        let switch = ModulusSwitch {
            input: lane.device.small,
            turns: lane.device.turns,
        };
        // SAFETY: as the caller's; a block writes its ciphertext's turns, and the results of its reads.
        unsafe {
            runtime.launch(lane.stream, Kernel::ModulusSwitch, count, &switch)?;
            match self.about.method {
                Method::Fourier { together } => {
                    let args = RotateFft {
                        lookups: indexes.lookups,
                        ciphertexts: count as u32,
                        unused: 0,
                        keys: indexes.rotation_keys,
                        roots: self.constants.roots,
                    };
                    let of_each = count.div_ceil(self.about.multiprocessors);
                    let together = of_each.clamp(1, together);
                    let blocks = count.div_ceil(together);
                    runtime.launch(lane.stream, Kernel::RotateFft(together), blocks, &args)
                }
                Method::Exact => {
                    let args = RotateRns {
                        lookups: indexes.lookups,
                        keys: indexes.rotation_keys,
                        twiddles: self.constants.twiddles,
                    };
                    runtime.launch(lane.stream, Kernel::RotateRns, count, &args)
                }
            }
        }
    }
}

impl<R: Runtime> Device for CudaDevice<R> {
    fn name(&self) -> String {
        self.about.name.clone()
    }

    fn memory(&self) -> Option<Memory> {
        let state = self.state.lock();
        let bytes = |ciphertexts, results| Lane::<R>::bytes(ciphertexts, results, self.places);
        let of_lane = bytes(self.wave, self.wave * RESULTS) as u64;
        let keys = state.keys.iter().flatten().count() as u64;
        let of_keys = keys * KEY_BYTES as u64;
        let standard = ROTATION_BYTES as u64;
        let most = state.lanes.iter().map(|lane| lane.most);
        let of_work: usize = most.map(|(inputs, results)| bytes(inputs, results)).sum();
        Some(Memory {
            taken: 2 * of_lane + standard + of_keys,
            used: of_work as u64 + of_keys + if keys > 0 { standard } else { 0 },
        })
    }

    fn places(&self) -> usize {
        self.places
    }

    /// Pieces of it are cut as the buffers are.
    fn batch(&self) -> usize {
        crate::MAX_CIPHERTEXTS
    }

    fn most_reads(&self) -> usize {
        self.wave * RESULTS
    }

    fn upload(&self, place: usize, key: &EvaluationKey) -> Result<(), DeviceError> {
        // Before others have to wait for it.
        let key = StandardKey::new(key)?;
        let outcome = self.put_key(&mut self.state.lock(), place, &key);
        self.settled(outcome)
    }

    fn linear(
        &self,
        inputs: &LweBatch,
        sums: &[LweSum<'_>],
        out: &mut [u64],
    ) -> Result<bool, DeviceError> {
        let room = self.wave * POLYNOMIAL_SIZE;
        let pieces = plan::sum_pieces(sums, self.wave, self.wave * RESULTS, room);
        let Some(pieces) = pieces else {
            return Ok(false);
        };
        let of = |range: &Range<usize>| range.start * LWE_WORDS..range.end * LWE_WORDS;
        self.pipelined(
            &mut self.state.lock().lanes,
            &pieces,
            out,
            |lane, piece, _| {
                let matrix = plan::matrix(&sums[piece.sums.clone()], piece.inputs.start);
                let words = &inputs.words[of(&piece.inputs)];
                self.begin_sums(lane, words, matrix, piece.sums.len())
            },
            |lane, piece, out| {
                let target = &mut out[of(&piece.sums)];
                target.copy_from_slice(&lane.host.out.as_ref()[..target.len()]);
            },
        )?;
        Ok(true)
    }

    fn keyswitch(
        &self,
        places: &[usize],
        tasks: &mut [Task<'_, u64, u32>],
    ) -> Result<(), DeviceError> {
        self.run(Steps::Keyswitch, places, &[], tasks)
    }

    fn bootstrap(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u32, u64>],
    ) -> Result<(), DeviceError> {
        self.run(Steps::Bootstrap, places, tables, tasks)
    }

    fn look_up(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u64, u64>],
    ) -> Result<(), DeviceError> {
        self.run(Steps::Both, places, tables, tasks)
    }
}
