//! The noise of a program, round by round, and the refusal of one that would fail too often.

use serde::{Deserialize, Serialize};

use super::{Intervals, Lookup, Precision, ProgramError, ProgramFile, Sum};
use crate::noise;
use crate::params::MAX_LOG2_P_FAIL;

/// What is published beside a program. Probabilities are log2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoiseReport {
    /// Of each round that has lookups.
    pub rounds: Vec<RoundNoise>,
    /// That anything at all goes wrong in one row; `None` for nothing that could.
    pub row: Option<f64>,
    /// How far a score may be off, but for once in 2^128 times; 0 where it is exact.
    pub score_error: Vec<f64>,
    /// Bits by which flooding noise exceeds the noise that depends on the weights; linear programs only.
    pub flooding_bits: Option<f64>,
}

/// The worst lookup of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundNoise {
    pub bootstraps: usize,
    pub precision: Precision,
    /// Standard deviation of what a lookup reads, in entries of its table.
    pub sd_entries: f64,
    /// How many standard deviations away the nearest failure is: a wrong entry of an exact lookup, the padding bit of a
    /// rounded one.
    pub sigmas: f64,
    pub log2_p_fail: f64,
}

/// Two variances of a value, in units of the torus squared.
#[derive(Clone, Copy)]
struct Noisy {
    /// Around what was computed: what the next lookup has to bear.
    noise: f64,
    /// Around what the program computes in the clear: rounded lookups may have read a neighbour.
    deviation: f64,
}

pub(super) fn report(
    file: &ProgramFile,
    intervals: &Intervals,
) -> Result<NoiseReport, ProgramError> {
    let fresh = noise::fresh() + noise::body_rounding(file.input_bits);
    let fresh = Noisy {
        noise: fresh,
        deviation: fresh,
    };
    let mut values = vec![fresh; file.input_count()];
    let mut rounds = Vec::new();
    let mut failures = Vec::new();
    for (index, round) in file.rounds.iter().enumerate() {
        let sums: Vec<Noisy> = round.sums.iter().map(|s| sum_noise(s, &values)).collect();
        let Some(lookup) = &round.lookup else {
            values = sums;
            continue;
        };
        let read = sums.iter().zip(&intervals.sums[index]);
        let read: Vec<Read> = read.map(|(&s, &i)| Read::of(lookup, s, i)).collect();
        let worst = RoundNoise {
            bootstraps: read.len(),
            precision: lookup.precision,
            sd_entries: read.iter().map(|r| r.sd_entries).fold(0.0, f64::max),
            sigmas: read.iter().map(|r| r.sigmas).fold(f64::INFINITY, f64::min),
            log2_p_fail: read
                .iter()
                .map(|r| r.log2_p_fail)
                .fold(f64::NEG_INFINITY, f64::max),
        };
        refuse_above(format!("round {index}"), worst.log2_p_fail)?;
        rounds.push(worst);
        failures.extend(read.iter().map(|r| r.log2_p_fail));
        values = lookup
            .reads()
            .map(|(sum, _)| looked_up(lookup, sum as usize, &read[sum as usize]))
            .collect();
    }
    let flooding_bits = file.is_linear().then(|| flooding_bits(file, &values));
    let results = result_failures(file, &values)?;
    let score_error = score_errors(file, &values);
    failures.extend(results);
    Ok(NoiseReport {
        rounds,
        row: log2_sum(&failures),
        score_error,
        flooding_bits,
    })
}

fn refuse_above(place: String, log2_p_fail: f64) -> Result<(), ProgramError> {
    // `<=` and not `>`: a NaN is refused too.
    if log2_p_fail <= MAX_LOG2_P_FAIL {
        return Ok(());
    }
    Err(ProgramError::TooNoisy { place, log2_p_fail })
}

fn sum_noise(sum: &Sum, inputs: &[Noisy]) -> Noisy {
    let mut total = Noisy {
        noise: 0.0,
        deviation: 0.0,
    };
    for &(input, weight) in &sum.terms {
        let of = inputs[input as usize];
        let square = (weight as f64).powi(2);
        total.noise += square * of.noise;
        total.deviation += square * of.deviation;
    }
    total
}

/// One lookup's reading of its sum.
struct Read {
    sd_entries: f64,
    sigmas: f64,
    log2_p_fail: f64,
    /// Of the entry that is read, against the one that is read in the clear, in entries squared.
    deviation_entries: f64,
}

impl Read {
    fn of(lookup: &Lookup, sum: Noisy, (low, high): (i64, i64)) -> Self {
        let switched = noise::keyswitch() + noise::modulus_switch();
        let total = sum.noise + switched;
        // One entry is so much of the torus.
        let entry = 2f64.powi(-(lookup.bits as i32 + 1));
        let distance = match lookup.precision {
            Precision::Exact => entry / 2.0,
            Precision::Rounded => {
                // Down to where the first entry's box ends, or up to where the last one's does.
                let unit = entry / 2f64.powi(lookup.fraction_bits as i32);
                let down = low as f64 * unit + entry / 2.0;
                let up = 0.5 - entry / 2.0 - high as f64 * unit;
                down.min(up)
            }
        };
        let sd = total.sqrt();
        let deviation_entries = match lookup.precision {
            Precision::Exact => 0.0,
            // And two roundings to whole entries, here and in the clear.
            Precision::Rounded => (sum.deviation + switched) / entry.powi(2) + 2.0 / 12.0,
        };
        Self {
            sd_entries: sd / entry,
            sigmas: distance / sd,
            log2_p_fail: noise::log2_p_fail(total, distance),
            deviation_entries,
        }
    }
}

/// What a table makes of the deviation of its input: at most its steepest step for each entry.
fn looked_up(lookup: &Lookup, sum: usize, read: &Read) -> Noisy {
    let noise = noise::bootstrapped();
    let steepest = match lookup.precision {
        Precision::Exact => 0.0,
        Precision::Rounded => {
            let table = &lookup.tables[lookup.uses[sum] as usize];
            let steps = table.windows(2).map(|pair| (pair[1] - pair[0]).abs());
            steps.max().unwrap_or(0) as f64 * 2f64.powi(-(lookup.step_bits as i32))
        }
    };
    Noisy {
        noise,
        deviation: noise + steepest.powi(2) * read.deviation_entries,
    }
}

/// Gaussian noise of a result as the client gets it, without the bounded flooding.
fn received(file: &ProgramFile, variance: f64) -> f64 {
    let hidden = if file.is_linear() {
        noise::rerandomisation()
    } else {
        0.0
    };
    variance + hidden + noise::result_rounding(file.result.bits)
}

fn result_failures(file: &ProgramFile, values: &[Noisy]) -> Result<Vec<f64>, ProgramError> {
    if file.result.precision == Precision::Rounded {
        return Ok(Vec::new());
    }
    let step_bits = file.step_bits(file.rounds.len()) as i32;
    let half_unit = 2f64.powi(-step_bits - 1);
    let flooding = if file.is_linear() {
        half_unit / 2.0
    } else {
        0.0
    };
    let fails: Vec<f64> = values
        .iter()
        .map(|value| noise::log2_p_fail(received(file, value.noise), half_unit - flooding))
        .collect();
    refuse_above(
        "the result".into(),
        fails.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )?;
    Ok(fails)
}

fn score_errors(file: &ProgramFile, values: &[Noisy]) -> Vec<f64> {
    let unit = 2f64.powi(file.step_bits(file.rounds.len()) as i32);
    let flooding = if file.is_linear() { 0.25 } else { 0.0 };
    let error = |score: &super::ScoreMeaning| {
        if file.result.precision == Precision::Exact {
            // Exact is what is read of the lookups' last values; what those were read from may have been rounded.
            let rounded = |lookup: &Lookup| lookup.precision == Precision::Rounded;
            if !file
                .rounds
                .iter()
                .filter_map(|r| r.lookup.as_ref())
                .any(rounded)
            {
                return 0.0;
            }
        }
        let parts = score.results.iter().map(|&part| values[part as usize]);
        let variance: f64 = parts.map(|part| received(file, part.deviation)).sum();
        let flooding = flooding * score.results.len() as f64;
        (noise::bound_2m128(variance) * unit + flooding) * score.scale.abs()
    };
    file.result.scores.iter().map(error).collect()
}

/// Against the standard deviation of the noise that the weights shape: Σ weight · noise of an input.
fn flooding_bits(file: &ProgramFile, values: &[Noisy]) -> f64 {
    let flooding = 2f64.powi(file.flooding_bound_log2() as i32 - 64);
    let worst = values.iter().map(|value| value.noise).fold(0.0, f64::max);
    (flooding / worst.max(noise::fresh()).sqrt()).log2()
}

/// log2 of the sum of 2^x, where 2^x itself would underflow.
fn log2_sum(logs: &[f64]) -> Option<f64> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most.is_finite()
        .then(|| most + logs.iter().map(|l| (l - most).exp2()).sum::<f64>().log2())
}
