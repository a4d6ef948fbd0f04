//! Whole programs through a backend: every round of many jobs, of any keys and programs, as one batch.
//!
//! Invariants: jobs never mix but inside a batch, where each ciphertext carries its key; memory is bounded by
//! [`MAX_CIPHERTEXTS`], which the caller keeps by asking [`Compiled::ciphertexts_per_row`] first.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use edge_types::Digest;
use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE};
use fhe::program::{Lookup, Round, Sum};
use fhe::{ParamSet, Program, Reply, Request};

use crate::backend::*;
use crate::ring::expand_masks;

/// Ciphertexts of one batch and step: 16 KB each, and up to three steps at once are in memory (400 MB).
pub const MAX_CIPHERTEXTS: usize = 8192;

/// A program with its test polynomials made.
#[derive(Debug)]
pub struct Compiled {
    program: Program,
    /// Of each round.
    tables: Vec<Vec<Table>>,
}

impl Compiled {
    pub fn new(program: Program) -> Result<Self, KernelError> {
        let of_round = |round: &Round| match &round.lookup {
            None => Ok(Vec::new()),
            Some(lookup) => lookup
                .tables
                .iter()
                .map(|table| Table::new(table, lookup.step_bits))
                .collect(),
        };
        let tables = program
            .rounds()
            .iter()
            .map(of_round)
            .collect::<Result<_, _>>()?;
        Ok(Self { program, tables })
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The most ciphertexts that one row takes in any step.
    pub fn ciphertexts_per_row(&self) -> usize {
        let most = |round: &Round| {
            let outputs = round.lookup.as_ref().map_or(0, Lookup::outputs);
            round.sums.len().max(outputs)
        };
        self.program.rounds().iter().map(most).max().unwrap_or(1)
    }

    /// The set that a key must serve.
    pub fn params(&self) -> ParamSet {
        self.program.params()
    }
}

/// Rows of one request to be evaluated.
pub struct Job<K> {
    pub program: Arc<Compiled>,
    pub key: Arc<K>,
    pub request: Arc<Request>,
    /// Which of the request's rows: a long request is evaluated in parts, whose results follow one another.
    pub rows: Range<usize>,
}

impl<K> Job<K> {
    /// All rows at once.
    pub fn whole(program: Arc<Compiled>, key: Arc<K>, request: Arc<Request>) -> Self {
        let rows = 0..request.rows();
        Self {
            program,
            key,
            request,
            rows,
        }
    }
}

#[derive(Debug)]
pub struct Engine<B> {
    backend: B,
}

/// A job on its way: where its ciphertexts begin in the current batch.
struct Running {
    job: usize,
    start: usize,
}

impl<B: Backend> Engine<B> {
    pub fn new(backend: B) -> Self {
        Self { backend }
    }

    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Evaluates all jobs. Each gets its results row after row, [`LWE_WORDS`] words each. `seed` must be new and
    /// secret: linear results are hidden with it.
    pub fn run(
        &self,
        jobs: &[Job<B::Key>],
        seed: [u8; 32],
    ) -> Result<(Vec<Vec<u64>>, Timings), KernelError> {
        check(jobs)?;
        let (keys, key_of) = distinct_keys(jobs);
        let mut timings = Timings::default();
        let mut done = vec![Vec::new(); jobs.len()];
        let started = Instant::now();
        let (mut batch, mut running) = self.first_sums(jobs, &key_of)?;
        timings.linear += started.elapsed();
        for round in 0.. {
            let going = self.finish(jobs, &keys, &mut batch, running, round, &mut done, seed)?;
            if going.is_empty() {
                break;
            }
            self.look_up(jobs, &keys, &mut batch, &going, round, &mut timings)?;
            running = take_finished(jobs, &batch, going, round, &mut done);
            let started = Instant::now();
            (batch, running) = self.next_sums(jobs, &key_of, &batch, &running, round + 1)?;
            timings.linear += started.elapsed();
        }
        Ok((done, timings))
    }

    /// One request as its bytes came in, alone, to the bytes of its reply.
    pub fn answer(
        &self,
        program: &Arc<Compiled>,
        key: &Arc<B::Key>,
        request: &[u8],
        seed: [u8; 32],
    ) -> Result<(Vec<u8>, Timings), KernelError> {
        let digest = Digest::of(request);
        let request = Arc::new(Request::from_bytes(request).map_err(KernelError::Wire)?);
        let job = Job::whole(program.clone(), key.clone(), request.clone());
        let (results, timings) = self.run(&[job], seed)?;
        let reply = Reply::to(&request, digest, program.program(), &results[0]);
        Ok((reply.map_err(KernelError::Wire)?.to_bytes(), timings))
    }

    fn first_sums(
        &self,
        jobs: &[Job<B::Key>],
        key_of: &[u32],
    ) -> Result<(LweBatch, Vec<Running>), KernelError> {
        let masks: Vec<Vec<u64>> = jobs
            .iter()
            .map(|job| expand_masks(&job.request, job.rows.clone()))
            .collect::<Result<_, _>>()?;
        let (mut inputs, mut sums, mut running) = (Vec::new(), Vec::new(), Vec::new());
        for (index, job) in jobs.iter().enumerate() {
            running.push(Running {
                job: index,
                start: sums.len(),
            });
            let program = job.program.program();
            let rows = job
                .request
                .row_bodies()
                .skip(job.rows.start)
                .zip(masks[index].chunks_exact(POLYNOMIAL_SIZE));
            for (body, mask) in rows {
                let input = inputs.len();
                inputs.push(RingInput {
                    mask,
                    body,
                    key: key_of[index],
                });
                sums.extend(program.rounds()[0].sums.iter().map(|sum| RingSum {
                    input,
                    terms: &sum.terms,
                    constant: constant(sum, program.step_bits(0)),
                }));
            }
        }
        Ok((self.backend.ring_linear(&inputs, &sums)?, running))
    }

    /// Jobs whose `round` has no lookup end here; linear ones are hidden first. Gives those that go on.
    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        jobs: &[Job<B::Key>],
        keys: &[Arc<B::Key>],
        batch: &mut LweBatch,
        running: Vec<Running>,
        round: usize,
        done: &mut [Vec<u64>],
        seed: [u8; 32],
    ) -> Result<Vec<Running>, KernelError> {
        let has_lookup = |one: &Running| {
            jobs[one.job].program.program().rounds()[round]
                .lookup
                .is_some()
        };
        let (going, ending): (Vec<_>, Vec<_>) = running.into_iter().partition(has_lookup);
        for one in ending {
            let job = &jobs[one.job];
            let program = job.program.program();
            let sums = program.rounds()[round].sums.len();
            let (mut results, _) = segment(batch, job, &one, sums);
            if program.is_linear() {
                let flooding = vec![program.flooding_bound_log2(); results.len()];
                // Another seed for each job: the backend tells only ciphertexts of one call apart.
                let job_seed = blake3::derive_key(
                    HIDE_CONTEXT,
                    &[&seed[..], &(one.job as u64).to_le_bytes()].concat(),
                );
                self.backend.hide(keys, &mut results, &flooding, job_seed)?;
            }
            done[one.job] = results.words;
        }
        Ok(going)
    }

    /// Keyswitches and bootstraps the ciphertexts of `going`, which are all that is left in `batch` afterwards.
    fn look_up(
        &self,
        jobs: &[Job<B::Key>],
        keys: &[Arc<B::Key>],
        batch: &mut LweBatch,
        going: &[Running],
        round: usize,
        timings: &mut Timings,
    ) -> Result<(), KernelError> {
        let mut inputs = LweBatch::default();
        let (mut tables, mut uses, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for one in going {
            let job = &jobs[one.job];
            let Some(lookup) = &job.program.program().rounds()[round].lookup else {
                continue;
            };
            let (part, rows) = segment(batch, job, one, lookup.uses.len());
            inputs.words.extend(part.words);
            inputs.keys.extend(part.keys);
            let first = tables.len() as u32;
            tables.extend(&job.program.tables[round]);
            let is_last = round + 1 == job.program.program().rounds().len();
            let keep = match is_last {
                true => job.program.program().file().result.bits,
                false => Read::WHOLE,
            };
            for _ in 0..rows {
                let input = uses.len() as u32;
                reads.extend(lookup.reads().map(|(sum, shift)| Read {
                    input: input + sum,
                    coefficient: shift << (POLYNOMIAL_SIZE.ilog2() - lookup.bits),
                    keep,
                }));
                uses.extend(lookup.uses.iter().map(|table| first + table));
            }
        }
        *batch = self
            .backend
            .look_up(keys, &inputs, &tables, &uses, &reads, timings)?;
        Ok(())
    }

    fn next_sums(
        &self,
        jobs: &[Job<B::Key>],
        key_of: &[u32],
        batch: &LweBatch,
        running: &[Running],
        round: usize,
    ) -> Result<(LweBatch, Vec<Running>), KernelError> {
        let (mut sums, mut next) = (Vec::new(), Vec::new());
        for one in running {
            let job = &jobs[one.job];
            let program = job.program.program();
            next.push(Running {
                job: one.job,
                start: sums.len(),
            });
            let before = &program.rounds()[round - 1];
            let width = before.lookup.as_ref().map_or(0, Lookup::outputs);
            for row in 0..job.rows.len() {
                sums.extend(program.rounds()[round].sums.iter().map(|sum| LweSum {
                    base: one.start + row * width,
                    terms: &sum.terms,
                    constant: constant(sum, program.step_bits(round)),
                    key: key_of[one.job],
                }));
            }
        }
        Ok((self.backend.linear(batch, &sums)?, next))
    }
}

const HIDE_CONTEXT: &str = "veilgate 2026 fhe linear results: mask and flooding of one job";

fn constant(sum: &Sum, step_bits: u32) -> u64 {
    (sum.bias as u64) << (64 - step_bits)
}

/// A copy of the job's ciphertexts, so many for each row, and its rows.
fn segment<K>(batch: &LweBatch, job: &Job<K>, one: &Running, per_row: usize) -> (LweBatch, usize) {
    let rows = job.rows.len();
    let count = rows * per_row;
    let part = LweBatch {
        words: batch.words[one.start * LWE_WORDS..][..count * LWE_WORDS].to_vec(),
        keys: batch.keys[one.start..][..count].to_vec(),
    };
    (part, rows)
}

/// After the lookups of `round`, ciphertexts of the jobs in `going` lie one after another. Jobs without another round
/// end; gives the others, with their new places.
fn take_finished<K>(
    jobs: &[Job<K>],
    batch: &LweBatch,
    going: Vec<Running>,
    round: usize,
    done: &mut [Vec<u64>],
) -> Vec<Running> {
    let mut start = 0;
    let mut left = Vec::new();
    for one in going {
        let job = &jobs[one.job];
        let moved = Running {
            job: one.job,
            start,
        };
        let rounds = job.program.program().rounds();
        let outputs = rounds[round].lookup.as_ref().map_or(0, Lookup::outputs);
        let (part, _) = segment(batch, job, &moved, outputs);
        start += part.len();
        if round + 1 == rounds.len() {
            done[one.job] = part.words;
        } else {
            left.push(moved);
        }
    }
    left
}

fn distinct_keys<K>(jobs: &[Job<K>]) -> (Vec<Arc<K>>, Vec<u32>) {
    let mut keys: Vec<Arc<K>> = Vec::new();
    let of = jobs.iter().map(|job| {
        let known = keys.iter().position(|key| Arc::ptr_eq(key, &job.key));
        let index = known.unwrap_or_else(|| {
            keys.push(job.key.clone());
            keys.len() - 1
        });
        index as u32
    });
    let of = of.collect();
    (keys, of)
}

fn check<K>(jobs: &[Job<K>]) -> Result<(), KernelError> {
    let mut ciphertexts = 0;
    for job in jobs {
        if job.request.values_per_row() != job.program.program().input_count() {
            return Err(KernelError::Shape(
                "a request has another number of values than its program",
            ));
        }
        if job.rows.is_empty() || job.rows.end > job.request.rows() {
            return Err(KernelError::Shape(
                "a job is of rows that its request does not have",
            ));
        }
        ciphertexts += job.rows.len() * job.program.ciphertexts_per_row();
    }
    match ciphertexts {
        got if got > MAX_CIPHERTEXTS => Err(KernelError::TooLarge {
            got,
            limit: MAX_CIPHERTEXTS,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
