//! Affine layers as integer sums that a rounded lookup can read, or that a client decrypts: scales, biases and margins.
//!
//! Invariant: a sum's interval, over all that its inputs can be, keeps [`SIGMAS`] standard deviations of noise away from
//! the padding bit. `fhe` checks it again.

use fhe::noise;
use fhe::program::{Lookup, Precision, Sum};
use models::Linear;

use crate::inputs::Value;

/// Standard deviations between the last value that a sum can take and a failure: a little more than 2^-128 needs.
const SIGMAS: f64 = 13.25;
/// A unit is so much of the torus after a lookup: far below the noise of a bootstrap.
pub(crate) const STEP_BITS: u32 = 20;
/// Of results as they are sent; more bits change nothing against the noise of a bootstrap.
const SENT_BITS: u32 = 20;
/// Rounding weights to whole numbers may widen a sum a little: so much room is kept.
const SLACK: f64 = 0.998;

/// Where a layer's sums go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// A rounded lookup of 2^bits entries.
    Lookup { bits: u32 },
    /// A lookup that tells above from below: zero lies between two entries.
    Step { bits: u32 },
    /// To the client.
    Result,
}

/// One unit's sum, and what it stands for: `sum = scale · real + zero`.
#[derive(Clone, Debug)]
pub(crate) struct Laid {
    pub sum: Sum,
    pub scale: f64,
    pub zero: f64,
    /// Standard deviation of what is read, in parts of the torus.
    pub sd: f64,
}

impl Target {
    pub fn bits(self) -> u32 {
        match self {
            Self::Lookup { bits } | Self::Step { bits } => bits,
            Self::Result => 0,
        }
    }

    fn sd(self, variance: f64) -> f64 {
        let more = match self {
            Self::Result => noise::result_rounding(SENT_BITS),
            _ => noise::keyswitch() + noise::modulus_switch(),
        };
        (variance + more).sqrt()
    }

    /// From where to where sums may reach, in parts of the torus.
    fn room(self, variance: f64) -> (f64, f64) {
        let margin = SIGMAS * self.sd(variance);
        match self {
            Self::Result => (-0.5 + margin, 0.5 - margin),
            _ => {
                let half_entry = 2f64.powi(-(self.bits() as i32 + 2));
                // Zero is moved by up to half an entry to lie between two of them.
                let moved = match self {
                    Self::Step { .. } => half_entry,
                    _ => 0.0,
                };
                let away = margin - half_entry + moved;
                (away, 0.5 - 2.0 * half_entry - away)
            }
        }
    }

    /// The bias that puts an interval (of the terms alone) where it belongs, and the place of real zero.
    fn place(self, low: f64, high: f64, constant: f64, variance: f64, unit: f64) -> (f64, f64) {
        let (from, to) = self.room(variance);
        let centred = (from + to) / 2.0 / unit - (low + high) / 2.0;
        match self {
            Self::Result if result_keeps_bias(low, high, constant) => (constant, 0.0),
            Self::Result | Self::Lookup { .. } => (centred, centred - constant),
            Self::Step { bits } => {
                let entry = 2f64.powi(-(bits as i32 + 1)) / unit;
                let zero = centred - constant;
                let between = ((zero / entry + 0.5).round() - 0.5) * entry;
                // A zero outside of the sums' reach needs no exact place.
                (between + constant, between)
            }
        }
    }
}

/// A constant stays inside of the sum, unseen, where that costs at most a bit of the result.
fn result_keeps_bias(low: f64, high: f64, constant: f64) -> bool {
    let inside = (low + constant).abs().max((high + constant).abs());
    inside <= high - low
}

/// The first layer: inputs have many bits and little noise, so weights have many bits too, and each unit its own scale.
pub(crate) fn first(layer: &Linear, inputs: &[Value], step_bits: u32, target: Target) -> Vec<Laid> {
    let unit = 2f64.powi(-(step_bits as i32));
    let lay = |(weights, bias): (&Vec<f64>, &f64)| {
        let slopes: Vec<f64> = weights
            .iter()
            .zip(inputs)
            .map(|(w, v)| w * v.unit)
            .collect();
        let constant = bias
            + weights
                .iter()
                .zip(inputs)
                .map(|(w, v)| w * v.zero)
                .sum::<f64>();
        let swing: f64 = slopes
            .iter()
            .zip(inputs)
            .map(|(s, v)| s.abs() * (v.high - v.low) as f64)
            .sum();
        let mut scale = 1.0;
        let mut variance = 0.0;
        // The noise depends on the weights and the room for them on the noise: two turns are enough.
        for _ in 0..3 {
            let (from, to) = target.room(variance);
            scale = match swing > 0.0 {
                true => (to - from) * SLACK / unit / swing,
                false => 1.0,
            };
            variance =
                slopes.iter().map(|s| (s * scale).powi(2)).sum::<f64>() * noise::fresh() * 2.0;
        }
        let integers: Vec<i64> = slopes.iter().map(|s| (s * scale).round() as i64).collect();
        finish(&integers, inputs, constant, scale, variance, unit, target)
    };
    layer.weights.iter().zip(&layer.bias).map(lay).collect()
}

fn finish(
    integers: &[i64],
    inputs: &[Value],
    constant: f64,
    scale: f64,
    variance: f64,
    unit: f64,
    target: Target,
) -> Laid {
    let ends = integers.iter().zip(inputs).map(|(&w, v)| {
        let ends = (w * v.low, w * v.high);
        (ends.0.min(ends.1), ends.0.max(ends.1))
    });
    let (low, high) = ends.fold((0, 0), |sum, ends| (sum.0 + ends.0, sum.1 + ends.1));
    let (bias, zero) = target.place(low as f64, high as f64, constant * scale, variance, unit);
    let terms = integers.iter().enumerate().filter(|(_, w)| **w != 0);
    Laid {
        sum: Sum {
            terms: terms.map(|(i, &w)| (i as u32, w)).collect(),
            bias: bias.round() as i64,
        },
        scale,
        zero: zero + bias.round() - bias,
        sd: target.sd(variance),
    }
}

/// What a hidden unit's table holds before its unit is chosen, and how it behaves on the calibration rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub entries: Vec<f64>,
    pub mean: f64,
    pub variance: f64,
}

impl Table {
    fn ends(&self) -> (f64, f64) {
        let low = self.entries.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self
            .entries
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        (low - self.mean, high - self.mean)
    }
}

/// A later layer: its inputs come from lookups, whose noise allows small whole weights only. What each table counts in
/// is chosen so that the weights behind it are close to whole numbers up to `weight_most`.
pub(crate) struct Later {
    /// Entries of the tables before it, in units of 2^-[`STEP_BITS`].
    pub tables: Vec<Vec<i64>>,
    pub laid: Vec<Laid>,
}

pub(crate) fn later(layer: &Linear, before: &[Table], weight_most: f64, target: Target) -> Later {
    let ends: Vec<(f64, f64)> = before.iter().map(Table::ends).collect();
    // Each unit fills the torus alike: a weight's share of it.
    let shares: Vec<Vec<f64>> = layer
        .weights
        .iter()
        .map(|weights| {
            let reach: f64 = weights
                .iter()
                .zip(&ends)
                .map(|(w, e)| w.abs() * (e.1 - e.0))
                .sum();
            let share = if reach > 0.0 { 1.0 / reach } else { 0.0 };
            weights.iter().map(|w| w * share).collect()
        })
        .collect();
    let gains: Vec<f64> = (0..before.len())
        .map(|j| {
            gain(
                &shares.iter().map(|s| s[j]).collect::<Vec<_>>(),
                weight_most,
            )
        })
        .collect();
    let integers: Vec<Vec<i64>> = shares
        .iter()
        .map(|share| {
            let whole = |(s, g): (&f64, &f64)| (s / g).round() as i64;
            share.iter().zip(&gains).map(whole).collect()
        })
        .collect();
    let unit = 2f64.powi(-(STEP_BITS as i32));
    let noise_of = |w: &Vec<i64>| {
        let norm = w.iter().map(|&w| (w as f64).powi(2)).sum::<f64>();
        norm * noise::bootstrapped()
    };
    // The real value of a sum per unit of the common factor, and its constant.
    let units: Vec<Unit> = layer
        .weights
        .iter()
        .zip(&layer.bias)
        .zip(&integers)
        .map(|((weights, bias), w)| Unit::new(weights, *bias, w, before, &gains, &ends))
        .collect();
    let factor = units
        .iter()
        .zip(&integers)
        .map(|(u, w)| u.factor(target, noise_of(w)) / unit)
        .fold(f64::INFINITY, f64::min)
        * SLACK;
    // Everything must be a number of the torus that a table can hold.
    let widest = ends
        .iter()
        .zip(&gains)
        .map(|(e, g)| e.0.abs().max(e.1.abs()) * g)
        .fold(0.0, f64::max);
    let factor = factor.min(0.49 / unit / widest.max(f64::MIN_POSITIVE));
    let tables: Vec<Vec<i64>> = before
        .iter()
        .zip(&gains)
        .map(|(table, g)| {
            let entry = |a: &f64| ((a - table.mean) * g * factor).round() as i64;
            table.entries.iter().map(entry).collect()
        })
        .collect();
    let values: Vec<Value> = tables
        .iter()
        .zip(before)
        .zip(&gains)
        .map(|((entries, table), g)| Value {
            unit: 1.0 / (g * factor),
            zero: table.mean,
            low: entries.iter().copied().min().unwrap_or(0),
            high: entries.iter().copied().max().unwrap_or(0),
        })
        .collect();
    let laid = units
        .iter()
        .zip(&integers)
        .map(|(u, w)| {
            finish(
                w,
                &values,
                u.constant,
                u.scale * factor,
                noise_of(w),
                unit,
                target,
            )
        })
        .collect();
    Later { tables, laid }
}

/// What one output of a table counts in: near the greatest of its weights over `weight_most`, where rounding costs least.
fn gain(shares: &[f64], weight_most: f64) -> f64 {
    let greatest = shares.iter().fold(0.0, |most: f64, s| most.max(s.abs()));
    if greatest == 0.0 {
        return 1.0;
    }
    let tries = (-12..=12).map(|i| greatest / weight_most * 1.025f64.powi(i));
    let error = |gain: f64| {
        shares
            .iter()
            .map(|s| (s - (s / gain).round() * gain).powi(2))
            .sum::<f64>()
    };
    let better = |best: (f64, f64), gain: f64| match error(gain) {
        // A little more error is no reason for another gain: exact ones stay.
        next if next < best.1 * 0.999 => (gain, next),
        _ => best,
    };
    let start = greatest / weight_most;
    tries.fold((start, error(start)), better).0
}

/// A unit of a later layer, in the numbers that its tables give per unit of the common factor.
struct Unit {
    low: f64,
    high: f64,
    /// sum = scale · (real - constant).
    scale: f64,
    constant: f64,
}

impl Unit {
    fn new(
        weights: &[f64],
        bias: f64,
        integers: &[i64],
        before: &[Table],
        gains: &[f64],
        ends: &[(f64, f64)],
    ) -> Self {
        let (mut low, mut high, mut both, mut square, mut constant) = (0.0, 0.0, 0.0, 0.0, bias);
        for (j, table) in before.iter().enumerate() {
            let w = integers[j] as f64 * gains[j];
            let at = (w * ends[j].0, w * ends[j].1);
            low += at.0.min(at.1);
            high += at.0.max(at.1);
            // The scale that fits the rounded weights best, by how much each input moves.
            both += w * weights[j] * table.variance;
            square += weights[j].powi(2) * table.variance;
            constant += weights[j] * table.mean;
        }
        Self {
            low,
            high,
            scale: if both > 0.0 { both / square } else { 1.0 },
            constant,
        }
    }

    /// How large the common factor may be, in parts of the torus.
    fn factor(&self, target: Target, variance: f64) -> f64 {
        let (from, to) = target.room(variance);
        let constant = self.constant * self.scale;
        let room = (to - from).max(0.0);
        match target {
            Target::Result if result_keeps_bias(self.low, self.high, constant) => {
                let reach = (self.low + constant)
                    .abs()
                    .max((self.high + constant).abs());
                room / 2.0 / reach.max(f64::MIN_POSITIVE)
            }
            _ => room / (self.high - self.low).max(f64::MIN_POSITIVE),
        }
    }
}

/// A lookup of one table each.
pub(crate) fn lookup(
    target: Target,
    step_bits: u32,
    out_step_bits: u32,
    tables: Vec<Vec<i64>>,
) -> Lookup {
    Lookup {
        bits: target.bits(),
        fraction_bits: step_bits - target.bits() - 1,
        precision: Precision::Rounded,
        step_bits: out_step_bits,
        uses: (0..tables.len() as u32).collect(),
        tables,
        reads: vec![],
    }
}

/// The real value in the middle of an entry of a lookup that reads `laid`.
pub(crate) fn real_at(laid: &Laid, entry: usize, fraction_bits: u32) -> f64 {
    (entry as f64 * 2f64.powi(fraction_bits as i32) - laid.zero) / laid.scale
}
