//! Whether a backend computes what it should: random programs, on random rows of several clients in one batch, each result
//! decrypted and held against the program in the clear. What comes out can be held against another backend word for word, too. For
//! tests, and for whoever has a new device.

use std::sync::Arc;

use edge_types::Digest;
use fhe::client::Pending;
use fhe::program::*;
use fhe::{
    Client, ClientKey, EvaluationKey, FheError, OsEntropy, ParamSet, Program, PublicProgram, Reply,
    Request,
};

use crate::backend::{Backend, KernelError};
use crate::engine::{Compiled, Engine, Job};
use crate::probe::file;
use crate::random::Random;

#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    #[error(transparent)]
    Fhe(#[from] FheError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("case {case} of seed {seed}: {got} in place of {expected}")]
    Wrong {
        seed: u64,
        case: usize,
        got: f64,
        expected: f64,
    },
}

/// Clients whose rows are computed together.
const CLIENTS: usize = 2;
/// What a last lookup gives is exact: 2^-128 of its noise lies beyond half of 2^-8.
const RESULT_STEP_BITS: u32 = 8;

pub struct Cases {
    seed: u64,
    clients: Vec<(Client, EvaluationKey)>,
    cases: Vec<Case>,
}

struct Case {
    client: usize,
    program: Program,
    rows: Vec<Vec<i64>>,
    pending: Pending,
}

impl Cases {
    /// So many programs, each of a client in turn, under new keys; the same seed makes the same programs and rows.
    pub fn random(seed: u64, count: usize) -> Result<Self, ConformanceError> {
        let make = |_| -> Result<_, FheError> {
            let key = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy)?;
            let evaluation = key.evaluation_key(&mut OsEntropy)?;
            Ok((Client::new(key, evaluation.id()), evaluation))
        };
        let clients: Vec<_> = (0..CLIENTS).map(make).collect::<Result<_, _>>()?;
        let mut random = Random(seed);
        let mut cases = Vec::new();
        for index in 0..count {
            let program = program(&mut random);
            let inputs = program.input_count();
            let row = |random: &mut Random| (0..inputs).map(|_| random.below(2)).collect();
            let rows: Vec<Vec<i64>> = (0..1 + random.below(2)).map(|_| row(&mut random)).collect();
            let client = index % CLIENTS;
            let public = PublicProgram::from(&program);
            let pending = clients[client].0.encrypt(&public, &rows, &mut OsEntropy)?;
            cases.push(Case {
                client,
                program,
                rows,
                pending,
            });
        }
        Ok(Self {
            seed,
            clients,
            cases,
        })
    }

    /// Computes all of them in one batch and decrypts; gives each one's words.
    pub fn run<B: Backend>(&self, backend: B) -> Result<Vec<Vec<u64>>, ConformanceError> {
        self.run_on(&Engine::new(backend))
    }

    /// The same, on an engine that others use as well.
    pub fn run_on<B: Backend>(
        &self,
        engine: &Engine<B>,
    ) -> Result<Vec<Vec<u64>>, ConformanceError> {
        let expand = |(_, key): &(Client, EvaluationKey)| engine.backend().expand(key);
        let keys = self
            .clients
            .iter()
            .map(|client| expand(client).map(Arc::new));
        let keys: Vec<Arc<B::Key>> = keys.collect::<Result<_, _>>()?;
        let job = |case: &Case| -> Result<Job<B::Key>, ConformanceError> {
            let compiled = Compiled::new(case.program.clone())?;
            let request = Request::from_bytes(&case.pending.bytes)?;
            let key = keys[case.client].clone();
            Ok(Job::whole(Arc::new(compiled), key, Arc::new(request)))
        };
        let jobs: Vec<Job<B::Key>> = self.cases.iter().map(job).collect::<Result<_, _>>()?;
        let (results, _) = engine.run(&jobs, [7; 32])?;
        for (index, (case, job)) in self.cases.iter().zip(&jobs).enumerate() {
            self.check(index, case, &job.request, &results[index])?;
        }
        Ok(results)
    }

    fn check(
        &self,
        index: usize,
        case: &Case,
        request: &Request,
        words: &[u64],
    ) -> Result<(), ConformanceError> {
        let digest = Digest::of(&case.pending.bytes);
        let reply = Reply::to(request, digest, &case.program, words)?;
        let public = PublicProgram::from(&case.program);
        let (client, _) = &self.clients[case.client];
        let scores = client.decrypt(&public, &case.pending, &reply.to_bytes())?;
        for (row, scores) in case.rows.iter().zip(scores) {
            let clear = case.program.evaluate_clear(row).unwrap_or_default();
            let clear = public.clear_scores(&clear);
            for (expected, got) in clear.iter().zip(&scores) {
                if expected.integer != got.integer {
                    return Err(ConformanceError::Wrong {
                        seed: self.seed,
                        case: index,
                        got: got.integer,
                        expected: expected.integer,
                    });
                }
            }
        }
        Ok(())
    }
}

/// One or two rounds of lookups with tables of 2 to 4 bits over values that are 0 or 1.
fn program(random: &mut Random) -> Program {
    let inputs = random.within(1, 3) as usize;
    let rounds = random.within(1, 2) as usize;
    let bits: Vec<u32> = (0..rounds).map(|_| random.within(2, 4) as u32).collect();
    let mut made = Vec::new();
    let mut values = inputs;
    for round in 0..rounds {
        let last = round + 1 == rounds;
        let round = match last {
            true => lookups(random, values, bits[round], RESULT_STEP_BITS, -100..=100),
            // The next round's sums are read with a padding bit.
            false => lookups(random, values, bits[round], bits[round + 1] + 1, 0..=1),
        };
        values = round.lookup.as_ref().map_or(0, Lookup::outputs);
        made.push(round);
    }
    let mut file = file("random", inputs, bits[0] + 1, 64, made, vec![]);
    file.result.bits = random.within(32, 48) as u32;
    file.result.precision = Precision::Exact;
    Program::new(file).expect("made so that it can be computed")
}

/// Up to two sums of values that are 0 or 1, each with a table; some are read twice.
fn lookups(
    random: &mut Random,
    values: usize,
    bits: u32,
    step_bits: u32,
    entries: std::ops::RangeInclusive<i64>,
) -> Round {
    let most = (1 << bits) - 1;
    let (mut sums, mut reads) = (Vec::new(), Vec::new());
    for index in 0..random.within(1, 2) as u32 {
        let (mut terms, mut below, mut above) = (Vec::new(), 0, 0);
        for value in 0..values as u32 {
            let weight = random.within(-2, 2);
            if weight == 0 || above - below + weight.abs() > most {
                continue;
            }
            terms.push((value, weight));
            (below, above) = (below + weight.min(0), above + weight.max(0));
        }
        if terms.is_empty() {
            terms.push((0, 1));
            above += 1;
        }
        let room = most - (above - below);
        let bias = random.within(0, room) - below;
        // Of the entries above the one that is read, some are there whatever the sum is.
        let shift = random.within(0, most - (above + bias)) as u32;
        reads.push((index, 0));
        if shift > 0 {
            reads.push((index, shift));
        }
        sums.push(Sum { terms, bias });
    }
    let table = |random: &mut Random| {
        let entry = |_| random.within(*entries.start(), *entries.end());
        (0..1 << bits).map(entry).collect::<Vec<i64>>()
    };
    let tables = vec![table(random), table(random)];
    let uses = sums.iter().map(|_| random.below(2) as u32).collect();
    Round {
        lookup: Some(Lookup {
            bits,
            fraction_bits: 0,
            precision: Precision::Exact,
            step_bits,
            tables,
            uses,
            reads,
        }),
        sums,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuBackend;
    use crate::rns::RnsBackend;

    #[test]
    fn both_ways_of_rotating_compute_random_programs() {
        let cases = Cases::random(61, 8).unwrap();
        cases.run(CpuBackend::new(None).unwrap()).unwrap();
        let reference = RnsBackend::new(CpuBackend::new(None).unwrap());
        let words = cases.run(reference).unwrap();
        assert_eq!(words.len(), 8);
    }

    #[test]
    fn programs_are_what_they_should_be_for_many_seeds() {
        for seed in 0..500 {
            let mut random = Random(seed);
            assert!(program(&mut random).bootstraps_per_row() > 0);
        }
    }

    #[test]
    fn a_wrong_result_is_seen() {
        let cases = Cases::random(62, 1).unwrap();
        let case = &cases.cases[0];
        let request = Request::from_bytes(&case.pending.bytes).unwrap();
        let mut words = cases.run(CpuBackend::new(None).unwrap()).unwrap().remove(0);
        let body = fhe::params::LWE_WORDS - 1;
        words[body] = words[body].wrapping_add(1 << 56);
        let checked = cases.check(0, case, &request, &words);
        assert!(matches!(checked, Err(ConformanceError::Wrong { .. })));
    }
}
