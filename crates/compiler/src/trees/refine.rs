//! Rounds some table entries the other way, where calibration rows then lie nearer to their scores.
//!
//! Each table by itself is rounded to the nearest integers; but a row reads one entry of every table, and their errors add
//! up. An entry is moved by one unit where this makes the sum of squares over the rows that read it smaller. It stays within
//! one unit of its value and within its table's range, so neither noise nor intervals change.

use super::measure;
use super::quantise::{Output, Quantised, Sums};

/// Times that all tables are gone through.
const SWEEPS: usize = 3;
/// How many rows an entry's own error counts for: a few rows are no reason to round badly.
const OWN_WEIGHT: f64 = 2.0;

pub fn refine(quantised: &mut Quantised, sums: &Sums, outputs: &[Output], rows: &[Vec<usize>]) {
    // A score that is found from the others follows them.
    let own = sums.terms.len() - usize::from(sums.last_follows);
    for score in 0..own {
        let mut left = residuals(quantised, sums, outputs, rows, score);
        for _ in 0..SWEEPS {
            for &(output, _) in &sums.terms[score] {
                let unit = quantised.scores[score].unit;
                let table = &mut quantised.tables[output];
                move_entries(table, unit, output, &outputs[output], rows, &mut left);
            }
        }
    }
    for score in 0..sums.terms.len() {
        let left = residuals(quantised, sums, outputs, rows, score);
        let mean = left.iter().sum::<f64>() / left.len().max(1) as f64;
        quantised.scores[score].offset += mean;
        quantised.scores[score].bound = bound(quantised, sums, outputs, score);
    }
}

/// Of each row: the score less what stands for it.
fn residuals(
    quantised: &Quantised,
    sums: &Sums,
    outputs: &[Output],
    rows: &[Vec<usize>],
    score: usize,
) -> Vec<f64> {
    let of = |row: &Vec<usize>| {
        sums.scores(outputs, row)[score] - measure::scores(quantised, row)[score]
    };
    rows.iter().map(of).collect()
}

/// Moves entries of one table where that helps; `left` is kept up.
fn move_entries(
    table: &mut [i64],
    unit: f64,
    output: usize,
    of: &Output,
    rows: &[Vec<usize>],
    left: &mut [f64],
) {
    let low = table.iter().min().copied().unwrap_or(0);
    let high = table.iter().max().copied().unwrap_or(0);
    let errors: Vec<f64> = of
        .values
        .iter()
        .zip(table.iter())
        .map(|(value, integer)| value - unit * *integer as f64)
        .collect();
    let middle = middle(&errors);
    let mut total = vec![0.0; table.len()];
    for (row, left) in rows.iter().zip(left.iter()) {
        total[row[output]] += left;
    }
    let mut moved = vec![0.0; table.len()];
    for entry in 0..table.len() {
        let step: i64 = if total[entry] > 0.0 { 1 } else { -1 };
        let by = unit * step as f64;
        let error = errors[entry] - middle;
        let fits = (low..=high).contains(&(table[entry] + step)) && (error - by).abs() < unit;
        let of_rows = by * (2.0 * total[entry] - by * of.counts[entry] as f64);
        let of_own = OWN_WEIGHT * (error.powi(2) - (error - by).powi(2));
        if fits && of_rows + of_own > 0.0 {
            table[entry] += step;
            moved[entry] = by;
        }
    }
    for (row, left) in rows.iter().zip(left.iter_mut()) {
        *left -= moved[row[output]];
    }
}

fn ends(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

fn middle(values: &[f64]) -> f64 {
    let (low, high) = ends(values);
    (low + high) / 2.0
}

/// The most that a score can be off, whatever entries are read together.
fn bound(quantised: &Quantised, sums: &Sums, outputs: &[Output], score: usize) -> f64 {
    let of = &quantised.scores[score];
    let bias: i64 = of.parts.iter().map(|part| part.bias).sum();
    let mut least = sums.base[score] - of.offset - of.unit * bias as f64;
    let mut most = least;
    for (output, sign) in &sums.terms[score] {
        let pairs = outputs[*output]
            .values
            .iter()
            .zip(&quantised.tables[*output]);
        let error =
            |(value, integer): (&f64, &i64)| *sign as f64 * (value - of.unit * *integer as f64);
        let (low, high) = ends(&pairs.map(error).collect::<Vec<_>>());
        least += low;
        most += high;
    }
    most.max(-least)
}
