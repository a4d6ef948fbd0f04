//! The backend of a gateway: GPUs where there are some, and the CPU for all else, for whatever they leave undone, and alone
//! where there are none.
//!
//! With GPUs a key is held as the client sent it (30 MB), as an upload needs it; the CPU's own form (120 MB) is made only when
//! the CPU has to stand in, and of a few keys.

use std::sync::Arc;
use std::time::Instant;

use fhe::params::{LWE_WORDS, SMALL_WORDS};
use fhe::{EvaluationKey, KeyId, ParamSet};
use parking_lot::Mutex;

use crate::backend::*;
use crate::cpu::{CpuBackend, CpuKey, check_len, check_lookups, check_reads};
use crate::device::{Device, DeviceError, Task};
use crate::gpus::Gpus;

/// Keys that the CPU holds while it stands in for GPUs, 120 MB each.
const SPARE_KEYS: usize = 8;

pub struct Accelerated {
    cpu: CpuBackend,
    gpus: Option<Arc<Gpus>>,
    /// The one used last is the last.
    spare: Mutex<Vec<(KeyId, Arc<CpuKey>)>>,
}

pub struct AcceleratedKey {
    /// With bootstraps only where no GPU does them.
    cpu: Arc<CpuKey>,
    /// What GPUs and stand-ins are made from.
    evaluation: Option<EvaluationKey>,
}

type Keys = [Arc<AcceleratedKey>];

impl Accelerated {
    pub fn new(cpu: CpuBackend, gpus: Option<Arc<Gpus>>) -> Self {
        Self {
            cpu,
            gpus,
            spare: Mutex::default(),
        }
    }

    pub fn gpus(&self) -> Option<&Gpus> {
        self.gpus.as_deref()
    }

    /// The keys as the CPU computes with them, those that these ciphertexts name with their bootstraps.
    fn of_cpu(&self, keys: &Keys, used: &[u32]) -> Result<Vec<Arc<CpuKey>>, KernelError> {
        let of = |(index, key): (usize, &Arc<AcceleratedKey>)| match &key.evaluation {
            Some(evaluation) if used.contains(&(index as u32)) => self.stand_in(evaluation),
            _ => Ok(key.cpu.clone()),
        };
        keys.iter().enumerate().map(of).collect()
    }

    fn stand_in(&self, evaluation: &EvaluationKey) -> Result<Arc<CpuKey>, KernelError> {
        let mut spare = self.spare.lock();
        let id = evaluation.id();
        let key = match spare.iter().position(|(of, _)| *of == id) {
            Some(index) => spare.remove(index).1,
            None => {
                if spare.len() == SPARE_KEYS {
                    spare.remove(0);
                }
                Arc::new(self.cpu.expand(evaluation)?)
            }
        };
        spare.push((id, key.clone()));
        Ok(key)
    }

    /// Lookups on GPUs, `In` of a large or of a small ciphertext. `on_cpu` does what they leave undone: of these inputs, the
    /// results one after another.
    fn on_gpus<In: Sync>(
        &self,
        gpus: &Gpus,
        keys: &Keys,
        inputs: Words<'_, In>,
        asked: &Asked<'_>,
        call: &DeviceCall<In>,
        on_cpu: &dyn Fn(&[usize]) -> Result<LweBatch, KernelError>,
    ) -> Result<LweBatch, KernelError> {
        let evaluation = evaluation_keys(keys, inputs.keys)?;
        let of_read = |read: &Read| inputs.keys[read.input as usize];
        let mut out = LweBatch::zeros(asked.reads.iter().map(of_read).collect());
        let mut tasks = Vec::new();
        let mut rest = &mut out.words[..];
        for index in asked.in_order() {
            let input = &inputs.words[index * inputs.each..][..inputs.each];
            let reads = &asked.reads[asked.of_input[index].clone()];
            let (out, others) = rest.split_at_mut(reads.len() * LWE_WORDS);
            rest = others;
            tasks.push(Task {
                index,
                input,
                key: inputs.keys[index],
                table: asked.uses[index],
                reads,
                out,
            });
        }
        let mut left = gpus.run(&evaluation, tasks, &|device, places, tasks| {
            call(device, places, asked.tables, tasks)
        })?;
        if left.is_empty() {
            return Ok(out);
        }
        left.sort_by_key(|task| task.index);
        let done = on_cpu(&indexes(&left))?;
        give(left, &done.words);
        Ok(out)
    }
}

fn indexes<In, Out>(tasks: &[Task<'_, In, Out>]) -> Vec<usize> {
    tasks.iter().map(|task| task.index).collect()
}

/// Results one after another.
fn give<In, Out: Copy>(tasks: Vec<Task<'_, In, Out>>, mut results: &[Out]) {
    for task in tasks {
        let (own, others) = results.split_at(task.out.len());
        task.out.copy_from_slice(own);
        results = others;
    }
}

/// Ciphertexts of `each` words, with their keys.
struct Words<'a, In> {
    words: &'a [In],
    each: usize,
    keys: &'a [u32],
}

struct Asked<'a> {
    tables: &'a [&'a Table],
    uses: &'a [u32],
    reads: &'a [Read],
    of_input: Vec<std::ops::Range<usize>>,
}

impl Asked<'_> {
    /// Inputs in the order of their reads; those that nothing is read of need not be computed.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.of_input.len()).collect();
        order.retain(|&input| !self.of_input[input].is_empty());
        order.sort_by_key(|&input| self.of_input[input].start);
        order
    }

    /// The same of some inputs only: their tables, and their reads.
    fn of(&self, inputs: &[usize]) -> (Vec<u32>, Vec<Read>) {
        let uses = inputs.iter().map(|&input| self.uses[input]).collect();
        let reads = inputs.iter().enumerate().flat_map(|(at, &input)| {
            let reads = self.reads[self.of_input[input].clone()].iter();
            reads.map(move |read| Read {
                input: at as u32,
                ..*read
            })
        });
        (uses, reads.collect())
    }
}

type DeviceCall<In> = dyn Fn(&dyn Device, &[usize], &[&Table], &mut [Task<'_, In, u64>]) -> Result<(), DeviceError>
    + Sync;

/// Of all keys, in the same order, those that are used with bootstraps.
fn evaluation_keys<'k>(
    keys: &'k Keys,
    used: &[u32],
) -> Result<Vec<&'k EvaluationKey>, KernelError> {
    if used.iter().any(|&key| key as usize >= keys.len()) {
        return Err(KernelError::Shape("there is no such key"));
    }
    // A key that none of these ciphertexts uses may have no bootstraps: any other stands for it, and is not looked at.
    let some = used
        .iter()
        .find_map(|&key| keys[key as usize].evaluation.as_ref());
    let of = |(index, key): (usize, &'k Arc<AcceleratedKey>)| match &key.evaluation {
        Some(evaluation) => Ok(evaluation),
        None if used.contains(&(index as u32)) => Err(KernelError::NoBootstrapKey),
        None => some.ok_or(KernelError::NoBootstrapKey),
    };
    keys.iter().enumerate().map(of).collect()
}

fn gathered(batch: &LweBatch, inputs: &[usize]) -> LweBatch {
    let words = inputs.iter().map(|&input| batch.ciphertext(input));
    LweBatch {
        words: words.collect::<Vec<_>>().concat(),
        keys: inputs.iter().map(|&input| batch.keys[input]).collect(),
    }
}

/// A ciphertext goes to a card and back in about the time in which a core adds up two others (16 KB at 12 GB/s each way).
fn pays_on_a_card(inputs: &LweBatch, sums: &[LweSum<'_>], threads: usize) -> bool {
    let terms: usize = sums.iter().map(|sum| sum.terms.len()).sum();
    terms > 2 * threads * (inputs.len() + sums.len())
}

impl Backend for Accelerated {
    type Key = AcceleratedKey;

    fn name(&self) -> String {
        let cards = self.gpus.iter().flat_map(|gpus| gpus.names());
        let all: Vec<&str> = cards.collect();
        match all.is_empty() {
            true => self.cpu.name(),
            false => format!("{}; {}", all.join("; "), self.cpu.name()),
        }
    }

    fn expand_for(
        &self,
        key: &EvaluationKey,
        needed: ParamSet,
    ) -> Result<AcceleratedKey, KernelError> {
        let by_gpu = self.gpus.is_some() && needed == ParamSet::Bootstrap;
        if by_gpu && key.set() != ParamSet::Bootstrap {
            return Err(KernelError::NoBootstrapKey);
        }
        let of_cpu = match by_gpu {
            true => ParamSet::Linear,
            false => needed,
        };
        Ok(AcceleratedKey {
            cpu: Arc::new(self.cpu.expand_for(key, of_cpu)?),
            evaluation: by_gpu.then(|| key.clone()),
        })
    }

    fn expanded_bytes(&self, needed: ParamSet) -> usize {
        match (&self.gpus, needed) {
            (Some(_), ParamSet::Bootstrap) => {
                self.cpu.expanded_bytes(ParamSet::Linear) + EvaluationKey::MAX_BYTES
            }
            _ => self.cpu.expanded_bytes(needed),
        }
    }

    fn ring_linear(
        &self,
        inputs: &[RingInput<'_>],
        sums: &[RingSum<'_>],
    ) -> Result<LweBatch, KernelError> {
        self.cpu.ring_linear(inputs, sums)
    }

    fn linear(&self, inputs: &LweBatch, sums: &[LweSum<'_>]) -> Result<LweBatch, KernelError> {
        if let Some(gpus) = &self.gpus
            && pays_on_a_card(inputs, sums, self.cpu.threads())
        {
            self.cpu.check_linear(inputs, sums)?;
            let mut out = LweBatch::zeros(sums.iter().map(|sum| sum.key).collect());
            if gpus.linear(inputs, sums, &mut out.words)? {
                return Ok(out);
            }
        }
        self.cpu.linear(inputs, sums)
    }

    fn hide(
        &self,
        keys: &Keys,
        batch: &mut LweBatch,
        flooding: &[u32],
        seed: [u8; 32],
    ) -> Result<(), KernelError> {
        self.cpu
            .hide(&self.of_cpu(keys, &[])?, batch, flooding, seed)
    }

    fn keyswitch(&self, keys: &Keys, batch: &LweBatch) -> Result<SmallBatch, KernelError> {
        let Some(gpus) = &self.gpus else {
            return self.cpu.keyswitch(&self.of_cpu(keys, &batch.keys)?, batch);
        };
        check_len(batch.words.len(), batch.len(), LWE_WORDS)?;
        let evaluation = evaluation_keys(keys, &batch.keys)?;
        let mut out = SmallBatch::zeros(batch.keys.clone());
        let outs = out.words.chunks_exact_mut(SMALL_WORDS);
        let tasks = outs.enumerate().map(|(index, out)| Task {
            index,
            input: batch.ciphertext(index),
            key: batch.keys[index],
            table: 0,
            reads: &[],
            out,
        });
        let left = gpus.run(&evaluation, tasks.collect(), &|device, places, tasks| {
            device.keyswitch(places, tasks)
        })?;
        if !left.is_empty() {
            let part = gathered(batch, &indexes(&left));
            let keys = self.of_cpu(keys, &part.keys)?;
            give(left, &self.cpu.keyswitch(&keys, &part)?.words);
        }
        Ok(out)
    }

    fn bootstrap(
        &self,
        keys: &Keys,
        batch: &SmallBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
    ) -> Result<LweBatch, KernelError> {
        let Some(gpus) = &self.gpus else {
            let keys = self.of_cpu(keys, &batch.keys)?;
            return self.cpu.bootstrap(&keys, batch, tables, uses, reads);
        };
        let of_input = check_lookups(batch, tables, uses, reads)?;
        let asked = Asked {
            tables,
            uses,
            reads,
            of_input,
        };
        let inputs = Words {
            words: &batch.words[..],
            each: SMALL_WORDS,
            keys: &batch.keys,
        };
        let call: &DeviceCall<u32> =
            &|device, places, tables, tasks| device.bootstrap(places, tables, tasks);
        self.on_gpus(gpus, keys, inputs, &asked, call, &|left| {
            let words = left.iter().map(|&input| batch.ciphertext(input));
            let part = SmallBatch {
                words: words.collect::<Vec<_>>().concat(),
                keys: left.iter().map(|&input| batch.keys[input]).collect(),
            };
            let (uses, reads) = asked.of(left);
            let keys = self.of_cpu(keys, &part.keys)?;
            self.cpu.bootstrap(&keys, &part, tables, &uses, &reads)
        })
    }

    fn look_up(
        &self,
        keys: &Keys,
        batch: &LweBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
        timings: &mut Timings,
    ) -> Result<LweBatch, KernelError> {
        let Some(gpus) = &self.gpus else {
            let keys = self.of_cpu(keys, &batch.keys)?;
            return self.cpu.look_up(&keys, batch, tables, uses, reads, timings);
        };
        check_len(batch.words.len(), batch.len(), LWE_WORDS)?;
        let of_input = check_reads(batch.len(), tables, uses, reads)?;
        let asked = Asked {
            tables,
            uses,
            reads,
            of_input,
        };
        let inputs = Words {
            words: &batch.words[..],
            each: LWE_WORDS,
            keys: &batch.keys,
        };
        let call: &DeviceCall<u64> =
            &|device, places, tables, tasks| device.look_up(places, tables, tasks);
        let started = Instant::now();
        let out = self.on_gpus(gpus, keys, inputs, &asked, call, &|left| {
            let part = gathered(batch, left);
            let (uses, reads) = asked.of(left);
            let keys = self.of_cpu(keys, &part.keys)?;
            let mut ignored = Timings::default();
            self.cpu
                .look_up(&keys, &part, tables, &uses, &reads, &mut ignored)
        })?;
        // A card does both without a stop between them.
        timings.bootstrap += started.elapsed();
        timings.bootstraps += uses.len();
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
