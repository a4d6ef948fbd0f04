//! The noise of a program, round by round, and the refusal of one that would fail too often.

use serde::{Deserialize, Serialize};

use super::{Precision, ProgramError, ProgramFile, Sum};
use crate::noise;
use crate::params::MAX_LOG2_P_FAIL;

/// What is published beside a program. Probabilities are log2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoiseReport {
    /// The worst bootstrap of each round that has any.
    pub rounds: Vec<f64>,
    /// That anything at all goes wrong in one row; `None` for nothing that could.
    pub row: Option<f64>,
    /// How far a score may be off, but for once in 2^128 times; 0 where it is exact.
    pub score_error: Vec<f64>,
    /// Bits by which flooding noise exceeds the noise that depends on the weights; linear programs only.
    pub flooding_bits: Option<f64>,
}

pub(super) fn report(file: &ProgramFile) -> Result<NoiseReport, ProgramError> {
    let mut variances = vec![noise::fresh(); file.inputs.len()];
    let mut rounds = Vec::new();
    let mut failures = Vec::new();
    for (index, round) in file.rounds.iter().enumerate() {
        variances = round
            .sums
            .iter()
            .map(|sum| sum_variance(sum, &variances))
            .collect();
        let Some(lookup) = &round.lookup else {
            continue;
        };
        let fails: Vec<f64> = variances
            .iter()
            .map(|&v| noise::lookup_log2_p_fail(v, lookup.bits))
            .collect();
        let worst = fails.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        refuse_above(format!("round {index}"), worst)?;
        rounds.push(worst);
        failures.extend(fails);
        variances = vec![noise::bootstrapped(); variances.len()];
    }
    let flooding_bits = file.is_linear().then(|| flooding_bits(file, &variances));
    let results = result_failures(file, &variances)?;
    let score_error = score_errors(file, &variances);
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

fn sum_variance(sum: &Sum, inputs: &[f64]) -> f64 {
    let term = |&(input, weight): &(u32, i64)| (weight as f64).powi(2) * inputs[input as usize];
    sum.terms.iter().map(term).sum()
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

fn result_failures(file: &ProgramFile, variances: &[f64]) -> Result<Vec<f64>, ProgramError> {
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
    let fails: Vec<f64> = variances
        .iter()
        .map(|&v| noise::log2_p_fail(received(file, v), half_unit - flooding))
        .collect();
    refuse_above(
        "the result".into(),
        fails.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )?;
    Ok(fails)
}

fn score_errors(file: &ProgramFile, variances: &[f64]) -> Vec<f64> {
    let unit = 2f64.powi(file.step_bits(file.rounds.len()) as i32);
    let flooding = if file.is_linear() { 0.25 } else { 0.0 };
    let scores = file.result.scores.iter().zip(variances);
    scores
        .map(|(score, &variance)| match file.result.precision {
            Precision::Exact => 0.0,
            Precision::Rounded => {
                (noise::bound_2m128(received(file, variance)) * unit + flooding) * score.scale.abs()
            }
        })
        .collect()
}

/// Against the standard deviation of the noise that the weights shape: Σ weight · noise of an input.
fn flooding_bits(file: &ProgramFile, variances: &[f64]) -> f64 {
    let flooding = 2f64.powi(file.flooding_bound_log2() as i32 - 64);
    let worst = variances.iter().copied().fold(0.0, f64::max);
    (flooding / worst.max(noise::fresh()).sqrt()).log2()
}

/// log2 of the sum of 2^x, where 2^x itself would underflow.
fn log2_sum(logs: &[f64]) -> Option<f64> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most.is_finite()
        .then(|| most + logs.iter().map(|l| (l - most).exp2()).sum::<f64>().log2())
}
