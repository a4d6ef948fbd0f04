//! A linear model as one round of integer sums: no bootstrap, and results that are exact.

use fhe::Program;
use fhe::program::{MAX_RESULTS, MAX_STEP_BITS, Round, Sum};
use models::{Linear, Model};

use crate::finish::{self, FLOODING_BITS_MIN};
use crate::inputs::{Inputs, Value};
use crate::{CompileError, Options};

/// Bits of a weight, its sign included: the most that flooding leaves room for is taken.
const WEIGHT_BITS: std::ops::RangeInclusive<u32> = 6..=12;

/// What came out, and how far integers may lead a score astray.
pub(crate) struct Laid {
    pub program: Program,
    pub weight_bits: u32,
    /// Of each score: how far it is at most from the model's at the encoded values (rounding of weights and bias).
    pub weight_error: Vec<f64>,
    /// Of each score: and how far rounding of inputs that lie within their ranges may move it.
    pub input_error: Vec<f64>,
}

pub(crate) fn layout(
    model: &Model,
    linear: &Linear,
    rows: &[&[f64]],
    options: &Options,
) -> Result<Laid, CompileError> {
    if linear.weights.len() > MAX_RESULTS {
        return Err(CompileError::TooLarge {
            what: "the number of scores",
            got: linear.weights.len(),
            limit: MAX_RESULTS,
            instead: "split the model by its outputs",
        });
    }
    let used = |feature: usize| linear.weights.iter().any(|w| w[feature] != 0.0);
    let inputs = Inputs::new(model, used, rows, options.input_bits, 0.0)?;
    let mut refused = None;
    for weight_bits in WEIGHT_BITS.rev() {
        let scores: Vec<Score> = linear
            .weights
            .iter()
            .zip(&linear.bias)
            .map(|(weights, bias)| {
                Score::new(&inputs.select(weights), *bias, &inputs.values, weight_bits)
            })
            .collect();
        let reach = scores.iter().map(|score| score.reach).max().unwrap_or(1);
        // The sign takes one more bit.
        let step_bits = (reach as u64 + 1).next_power_of_two().ilog2() + 1;
        if step_bits > MAX_STEP_BITS {
            continue;
        }
        let meanings: Vec<(f64, f64)> = scores.iter().map(|s| (s.scale, s.offset)).collect();
        let round = Round {
            sums: scores.iter().map(|score| score.sum.clone()).collect(),
            lookup: None,
        };
        let file = finish::file(model, options, &inputs, step_bits, vec![round], &meanings);
        let flooded = |program: &Program| {
            let bits = program.noise().flooding_bits;
            bits.is_some_and(|bits| bits >= FLOODING_BITS_MIN)
        };
        match Program::new(file.clone()) {
            Ok(program) if flooded(&program) => {
                return Ok(Laid {
                    program: finish::tighten(file)?,
                    weight_bits,
                    weight_error: scores.iter().map(|score| score.weight_error).collect(),
                    input_error: scores.iter().map(|score| score.input_error).collect(),
                });
            }
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(
        || CompileError::Unsupported {
            what: format!("a sum of {} columns of so many bits", inputs.values.len()),
            instead: "use fewer bits for an input (--input-bits), or fewer columns".into(),
        },
        CompileError::Program,
    ))
}

struct Score {
    sum: Sum,
    scale: f64,
    offset: f64,
    /// The greatest absolute value of the sum.
    reach: i64,
    weight_error: f64,
    input_error: f64,
}

impl Score {
    fn new(weights: &[f64], bias: f64, values: &[Value], weight_bits: u32) -> Self {
        // The score is Σ (weight · unit) · integer, and a constant.
        let slopes: Vec<f64> = weights
            .iter()
            .zip(values)
            .map(|(w, v)| w * v.unit)
            .collect();
        let constant = bias
            + weights
                .iter()
                .zip(values)
                .map(|(w, v)| w * v.zero)
                .sum::<f64>();
        let most = slopes.iter().fold(0.0, |most, w| w.abs().max(most));
        let scale = match most > 0.0 {
            true => most / ((1i64 << (weight_bits - 1)) - 1) as f64,
            false => 1.0,
        };
        let integers: Vec<i64> = slopes.iter().map(|w| (w / scale).round() as i64).collect();
        let swing: i64 = integers
            .iter()
            .zip(values)
            .map(|(w, v)| w.abs() * v.high)
            .sum();
        // The constant is the client's to see only where it would make every result longer.
        let fits = (constant / scale).abs() <= swing as f64;
        let bias = if fits {
            (constant / scale).round() as i64
        } else {
            0
        };
        let terms = integers.iter().enumerate().filter(|(_, w)| **w != 0);
        let slope_errors = integers.iter().zip(&slopes).zip(values);
        let slope_errors =
            slope_errors.map(|((&w, s), v)| (w as f64 * scale - s).abs() * v.high as f64);
        let constant_error = if fits {
            (bias as f64 * scale - constant).abs()
        } else {
            0.0
        };
        Self {
            weight_error: slope_errors.sum::<f64>() + constant_error,
            input_error: slopes.iter().map(|slope| slope.abs() / 2.0).sum(),
            sum: Sum {
                terms: terms.map(|(i, &w)| (i as u32, w)).collect(),
                bias,
            },
            scale,
            offset: if fits { 0.0 } else { constant },
            reach: swing + bias.abs(),
        }
    }
}

pub(crate) fn notes(laid: &Laid) -> Vec<String> {
    let noise = laid.program.noise();
    let worst = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
    vec![
        format!(
            "{} columns, {} bits a weight: one sum for each of {} scores, no lookup",
            laid.program.input_count(),
            laid.weight_bits,
            laid.program.result_count()
        ),
        format!(
            "rounding moves a score by at most {:.2e} (weights) and {:.2e} (inputs within their ranges)",
            worst(&laid.weight_error),
            worst(&laid.input_error)
        ),
        format!(
            "flooding noise exceeds what the weights shape by {:.1} bits",
            noise.flooding_bits.unwrap_or(0.0)
        ),
    ]
}

#[cfg(test)]
mod tests;
