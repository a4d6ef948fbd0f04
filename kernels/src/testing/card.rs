//! A device that computes on the CPU, to the bit as the CPU backend does, and fails when it is told to.

use std::collections::HashSet;
use std::sync::Arc;

use fhe::params::LWE_WORDS;
use fhe::{EvaluationKey, KeyId};
use parking_lot::Mutex;

use crate::backend::*;
use crate::cpu::CpuKey;
use crate::device::{Device, DeviceError, Task};
use crate::testing::fixture;

/// What a card does, and what it is told to do.
#[derive(Default)]
pub struct Script {
    pub uploads: Vec<KeyId>,
    /// Ciphertexts of each call.
    pub calls: Vec<usize>,
    /// Places from which on there is no memory.
    pub memory: usize,
    /// The next calls fail so.
    pub failures: Vec<DeviceError>,
}

pub struct CpuCard {
    pub script: Arc<Mutex<Script>>,
    places: Mutex<Vec<Option<Arc<CpuKey>>>>,
    batch: usize,
}

impl CpuCard {
    pub fn new(places: usize, batch: usize) -> Self {
        let script = Script {
            memory: places,
            ..Script::default()
        };
        Self {
            script: Arc::new(Mutex::new(script)),
            places: Mutex::new(vec![None; places]),
            batch,
        }
    }

    /// Counts the call, checks what it is given, and fails if that is its turn.
    fn begin<In, Out>(
        &self,
        places: &[usize],
        tasks: &[Task<'_, In, Out>],
    ) -> Result<(Vec<Arc<CpuKey>>, Vec<u32>), DeviceError> {
        let mut script = self.script.lock();
        script.calls.push(tasks.len());
        if let Some(failure) = script.failures.pop() {
            return Err(failure);
        }
        assert!(tasks.len() <= self.batch);
        let distinct: HashSet<&usize> = places.iter().collect();
        assert_eq!(distinct.len(), places.len(), "one key in each place");
        let held = self.places.lock();
        let keys = places.iter().map(|&place| held[place].clone().unwrap());
        Ok((keys.collect(), tasks.iter().map(|task| task.key).collect()))
    }
}

/// Tables and reads of tasks as a backend takes them.
fn asked<In>(tasks: &[Task<'_, In, u64>]) -> (Vec<u32>, Vec<Read>) {
    let reads = tasks.iter().enumerate().flat_map(|(input, task)| {
        task.reads.iter().map(move |read| Read {
            input: input as u32,
            ..*read
        })
    });
    let reads = reads.collect();
    (tasks.iter().map(|task| task.table).collect(), reads)
}

fn give<In>(tasks: &mut [Task<'_, In, u64>], words: &[u64]) {
    let mut rest = words;
    for task in tasks {
        assert_eq!(task.out.len(), task.reads.len() * LWE_WORDS);
        let (own, others) = rest.split_at(task.out.len());
        task.out.copy_from_slice(own);
        rest = others;
    }
    assert!(rest.is_empty());
}

fn inputs<In: Copy, Out>(tasks: &[Task<'_, In, Out>]) -> Vec<In> {
    let words = tasks.iter().map(|task| task.input);
    words.collect::<Vec<_>>().concat()
}

impl Device for CpuCard {
    fn name(&self) -> String {
        "a card".to_owned()
    }
    fn places(&self) -> usize {
        self.places.lock().len()
    }
    fn batch(&self) -> usize {
        self.batch
    }

    fn most_reads(&self) -> usize {
        self.batch
    }

    fn upload(&self, place: usize, key: &EvaluationKey) -> Result<(), DeviceError> {
        let mut script = self.script.lock();
        if place >= script.memory {
            return Err(DeviceError::OutOfMemory("no place".to_owned()));
        }
        script.uploads.push(key.id());
        let fixture = fixture();
        let index = fixture.evaluation.iter().position(|one| one == key);
        let expanded = match index {
            Some(index) => fixture.keys[index].clone(),
            None => Arc::new(fixture.backend.expand(key)?),
        };
        self.places.lock()[place] = Some(expanded);
        Ok(())
    }

    fn linear(
        &self,
        inputs: &LweBatch,
        sums: &[LweSum<'_>],
        out: &mut [u64],
    ) -> Result<bool, DeviceError> {
        self.begin::<u64, u64>(&[], &[])?;
        out.copy_from_slice(&fixture().backend.linear(inputs, sums)?.words);
        Ok(true)
    }

    fn keyswitch(
        &self,
        places: &[usize],
        tasks: &mut [Task<'_, u64, u32>],
    ) -> Result<(), DeviceError> {
        let (keys, of) = self.begin(places, tasks)?;
        let batch = LweBatch {
            words: inputs(tasks),
            keys: of,
        };
        let small = fixture().backend.keyswitch(&keys, &batch)?;
        for (index, task) in tasks.iter_mut().enumerate() {
            task.out.copy_from_slice(small.ciphertext(index));
        }
        Ok(())
    }

    fn bootstrap(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u32, u64>],
    ) -> Result<(), DeviceError> {
        let (keys, of) = self.begin(places, tasks)?;
        let batch = SmallBatch {
            words: inputs(tasks),
            keys: of,
        };
        let (uses, reads) = asked(tasks);
        let backend = &fixture().backend;
        let out = backend.bootstrap(&keys, &batch, tables, &uses, &reads)?;
        give(tasks, &out.words);
        Ok(())
    }

    fn look_up(
        &self,
        places: &[usize],
        tables: &[&Table],
        tasks: &mut [Task<'_, u64, u64>],
    ) -> Result<(), DeviceError> {
        let (keys, of) = self.begin(places, tasks)?;
        let batch = LweBatch {
            words: inputs(tasks),
            keys: of,
        };
        let (uses, reads) = asked(tasks);
        let backend = &fixture().backend;
        let mut timings = Timings::default();
        let out = backend.look_up(&keys, &batch, tables, &uses, &reads, &mut timings)?;
        give(tasks, &out.words);
        Ok(())
    }
}
