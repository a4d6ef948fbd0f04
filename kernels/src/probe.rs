//! Programs whose results tell their own noise: what predictions are held against, in tests and in a benchmark.
//!
//! A table that is the identity, with far more entries than a sum's noise spans, gives back the entry that was read: the
//! whole part of the result, less the entry that was meant, is the noise before the bootstrap (the sum's, the keyswitch's,
//! the modulus switch's), and what is left over is the noise that the bootstrap put out.

use std::sync::Arc;

use fhe::program::*;
use fhe::{Client, FheError, OsEntropy, ParamSet, Program, PublicProgram, noise};

use crate::{Backend, Compiled, Engine, KernelError};

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Fhe(#[from] FheError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A kind of round, and what its noise should be.
#[derive(Clone, Debug)]
pub struct Probe {
    pub name: &'static str,
    program: Program,
    meant: Meant,
    /// Standard deviation of what is measured first, in parts of the torus.
    pub predicted: f64,
    /// Of a bootstrap's output, where there is one.
    pub predicted_output: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
enum Meant {
    /// An integer result: the whole of what it is off by is noise.
    Result(i64),
    /// This entry of an identity table.
    Entry(i64),
}

/// What was measured, in parts of the torus.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Of the round itself.
    pub errors: Vec<f64>,
    /// Of the bootstrap's output.
    pub outputs: Vec<f64>,
}

/// Entries of the identity table, and the unit of what comes out of it.
const BITS: u32 = 10;
const STEP_BITS: u32 = BITS + 1;
/// Sums of one row: so many samples come from each.
const SUMS: usize = 32;
/// Far from both ends of the table.
const MIDDLE: i64 = 1 << (BITS - 1);

/// Every kind of round that a program can have.
pub fn probes() -> Result<Vec<Probe>, ProgramError> {
    Ok(vec![
        linear()?,
        fresh_lookup()?,
        short_bodies()?,
        summed_lookup()?,
    ])
}

/// Weights as a model has them; hidden and flooded.
fn linear() -> Result<Probe, ProgramError> {
    let weights: Vec<i64> = (0..32).map(|i| (i * 37) % 101 - 50).collect();
    let total: i64 = weights.iter().sum();
    let terms = weights.iter().enumerate().map(|(i, &w)| (i as u32, w));
    let sum = Sum {
        terms: terms.collect(),
        bias: 0,
    };
    let squares: i64 = weights.iter().map(|w| w * w).sum();
    let step_bits = 30;
    let file = file("linear", 32, step_bits, 64, vec![], vec![sum]);
    let program = Program::new(file)?;
    let flooding = 2f64.powi(program.flooding_bound_log2() as i32 - 64).powi(2) / 3.0;
    let variance = squares as f64 * noise::fresh() + noise::rerandomisation() + flooding;
    Ok(Probe {
        name: "linear, hidden and flooded",
        predicted: (variance + noise::result_rounding(48)).sqrt(),
        meant: Meant::Result(total),
        program,
        predicted_output: None,
    })
}

fn lookup(sums: usize) -> Lookup {
    Lookup {
        bits: BITS,
        fraction_bits: 0,
        precision: Precision::Rounded,
        step_bits: STEP_BITS,
        tables: vec![(0..1 << BITS).map(|i| i - MIDDLE).collect()],
        uses: vec![0; sums],
        reads: vec![],
    }
}

fn bootstrapped(name: &'static str, program: Program, meant: i64, sum_variance: f64) -> Probe {
    // Reading whole entries rounds once more: uniform over an entry.
    let entry = 2f64.powi(-(STEP_BITS as i32));
    let variance = sum_variance + noise::keyswitch() + noise::modulus_switch();
    Probe {
        name,
        program,
        meant: Meant::Entry(meant - MIDDLE),
        predicted: (variance + entry * entry / 12.0).sqrt(),
        predicted_output: Some((noise::bootstrapped() + noise::result_rounding(48)).sqrt()),
    }
}

/// Sums of `width` ones, each of other ciphertexts: the same twice would give the same noise twice.
fn windows(width: u32, apart: u32) -> Round {
    let sum = |index: u32| Sum {
        terms: (0..width).map(|i| (index * apart + i, 1)).collect(),
        bias: MIDDLE - i64::from(width),
    };
    Round {
        sums: (0..SUMS as u32).map(sum).collect(),
        lookup: Some(lookup(SUMS)),
    }
}

fn fresh_lookup() -> Result<Probe, ProgramError> {
    let round = windows(1, 1);
    let program = Program::new(file("fresh", SUMS, STEP_BITS, 64, vec![round], vec![]))?;
    Ok(bootstrapped(
        "lookup of fresh inputs",
        program,
        MIDDLE,
        noise::fresh(),
    ))
}

/// Bodies cut to 12 bits, which is what a model of one round may send.
fn short_bodies() -> Result<Probe, ProgramError> {
    let round = windows(16, 16);
    let inputs = 16 * SUMS;
    let file = file("short-bodies", inputs, STEP_BITS, 12, vec![round], vec![]);
    let program = Program::new(file)?;
    let variance = 16.0 * (noise::fresh() + noise::body_rounding(12));
    Ok(bootstrapped(
        "lookup of inputs cut to 12 bits",
        program,
        MIDDLE,
        variance,
    ))
}

/// A sum over bootstrapped values with a 2-norm of 5: what the parameter set was made for.
fn summed_lookup() -> Result<Probe, ProgramError> {
    let before = SUMS + 24;
    let one = |input| Sum {
        terms: vec![(input, 1)],
        bias: 0,
    };
    let first = Round {
        sums: (0..before as u32).map(one).collect(),
        lookup: Some(Lookup {
            bits: 4,
            fraction_bits: 0,
            precision: Precision::Exact,
            step_bits: STEP_BITS,
            tables: vec![vec![1; 16]],
            uses: vec![0; before],
            reads: vec![],
        }),
    };
    let rounds = vec![first, windows(25, 1)];
    let program = Program::new(file("summed", before, 5, 64, rounds, vec![]))?;
    let variance = 25.0 * noise::bootstrapped();
    Ok(bootstrapped(
        "lookup of a sum of 25 bootstraps",
        program,
        MIDDLE,
        variance,
    ))
}

/// A program of values that are 0 or 1, whose scores are its results.
pub(crate) fn file(
    name: &str,
    inputs: usize,
    input_step_bits: u32,
    input_bits: u32,
    mut rounds: Vec<Round>,
    last: Vec<Sum>,
) -> ProgramFile {
    if !last.is_empty() {
        rounds.push(Round {
            sums: last,
            lookup: None,
        });
    }
    let results = rounds.last().map_or(0, |round| match &round.lookup {
        Some(lookup) => lookup.outputs(),
        None => round.sums.len(),
    });
    let linear = rounds.iter().all(|round| round.lookup.is_none());
    let score = |i: usize| ScoreMeaning {
        name: format!("s{i}"),
        results: vec![i as u32],
        scale: 1.0,
        offset: 0.0,
    };
    ProgramFile {
        format: FORMAT.into(),
        name: name.into(),
        version: 1,
        description: String::new(),
        params: match linear {
            true => ParamSet::Linear,
            false => ParamSet::Bootstrap,
        },
        columns: (0..inputs).map(|i| format!("c{i}")).collect(),
        inputs: (0..inputs)
            .map(|column| Input {
                column,
                encode: Encode::Above(0.0),
                missing: None,
            })
            .collect(),
        text: None,
        input_step_bits,
        input_bits,
        rounds,
        result: ResultSpec {
            bits: 48,
            precision: Precision::Rounded,
            wraps: false,
            scores: (0..results).map(score).collect(),
            link: Link::Identity,
            decide: None,
        },
        about: Default::default(),
    }
}

impl Probe {
    /// Samples that one row gives.
    pub fn samples_per_row(&self) -> usize {
        self.program.result_count()
    }

    /// Bootstraps that one row takes.
    pub fn bootstraps_per_row(&self) -> usize {
        self.program.bootstraps_per_row()
    }

    /// Encrypts `rows` rows of ones, evaluates them, decrypts, and tells noise from value.
    pub fn measure<B: Backend>(
        &self,
        engine: &Engine<B>,
        client: &Client,
        key: &Arc<B::Key>,
        rows: usize,
        seed: [u8; 32],
    ) -> Result<Measured, ProbeError> {
        let public = PublicProgram::from(&self.program);
        let ones = vec![vec![1i64; self.program.input_count()]; rows];
        let pending = client.encrypt(&public, &ones, &mut OsEntropy)?;
        let program = Arc::new(Compiled::new(self.program.clone())?);
        let (reply, _) = engine.answer(&program, key, &pending.bytes, seed)?;
        let unit = 2f64.powi(-(public.result_step_bits as i32));
        let mut measured = Measured::default();
        for score in client.decrypt(&public, &pending, &reply)?.iter().flatten() {
            match self.meant {
                Meant::Result(meant) => measured.errors.push((score.integer - meant as f64) * unit),
                Meant::Entry(meant) => {
                    let read = score.integer.round();
                    measured.errors.push((read - meant as f64) * unit);
                    measured.outputs.push((score.integer - read) * unit);
                }
            }
        }
        Ok(measured)
    }
}

/// Standard deviation around zero: a bias is noise too.
pub fn deviation(errors: &[f64]) -> f64 {
    (errors.iter().map(|e| e * e).sum::<f64>() / errors.len().max(1) as f64).sqrt()
}
