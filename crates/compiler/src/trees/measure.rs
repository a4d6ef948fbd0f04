//! What rounding to integers costs, on the calibration rows.

use models::{Decide, Model};

use super::quantise::{Output, Quantised};

/// Labels that must stay the same, as a share of the rows.
const LABELS_SAME: f64 = 0.998;
/// Of a model with labels, the error of a score may be this share of what the score itself spreads.
const SHARE_WITH_LABELS: f64 = 0.02;
/// Of the variance of a regression's values, what may be lost.
const VARIANCE_LOST: f64 = 0.002;

/// Both are the worst of all scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Share of rows with the same label; 1 without labels.
    pub labels_same: f64,
    /// Root of the mean square error of a score, over the score's standard deviation.
    pub share: f64,
}

impl Cost {
    pub fn is_small(&self, model: &Model) -> bool {
        match model.output.decide {
            Decide::None => self.share.powi(2) < VARIANCE_LOST,
            Decide::Threshold { .. } | Decide::Greatest { .. } => {
                is_kept(self.labels_same) && self.share < SHARE_WITH_LABELS
            }
        }
    }

    /// Whether it is less than another one.
    pub fn beats(&self, other: &Self) -> bool {
        (self.labels_same, -self.share) > (other.labels_same, -other.share)
    }
}

/// The share of rows whose label is the same, before and after.
pub fn same<'a, L: PartialEq>(
    before: &'a [Vec<f64>],
    after: &'a [Vec<f64>],
    label: impl Fn(&'a [f64]) -> L,
) -> f64 {
    let pairs = before.iter().zip(after);
    let same = pairs.filter(|(before, after)| label(before) == label(after));
    same.count() as f64 / before.len().max(1) as f64
}

pub fn is_kept(labels_same: f64) -> bool {
    labels_same >= LABELS_SAME
}

/// Scores before and after, per row.
pub fn cost(model: &Model, before: &[Vec<f64>], after: &[Vec<f64>]) -> Cost {
    let rows = before.len().max(1) as f64;
    let scores = before.first().map_or(0, Vec::len);
    let share = |score: usize| {
        let mean = before.iter().map(|row| row[score]).sum::<f64>() / rows;
        let spread = before
            .iter()
            .map(|row| (row[score] - mean).powi(2))
            .sum::<f64>();
        let pairs = before.iter().zip(after);
        let error = pairs
            .map(|(b, a)| (b[score] - a[score]).powi(2))
            .sum::<f64>();
        match spread > 0.0 {
            true => (error / spread).sqrt(),
            // All rows have the same score: any error but none is too much to tell.
            false if error > 0.0 => 1.0,
            false => 0.0,
        }
    };
    Cost {
        labels_same: same(before, after, |scores| model.label(scores)),
        share: (0..scores).map(share).fold(0.0, f64::max),
    }
}

/// The scores of a row that reads these entries, one of each output.
pub fn scores(quantised: &Quantised, entries: &[usize]) -> Vec<f64> {
    let read = |&(output, sign): &(usize, i64)| sign * quantised.tables[output][entries[output]];
    let score = |score: &super::quantise::Score| {
        let parts = score.parts.iter();
        let integer: i64 = parts
            .map(|part| part.bias + part.terms.iter().map(read).sum::<i64>())
            .sum();
        integer as f64 * score.unit + score.offset
    };
    quantised.scores.iter().map(score).collect()
}

/// How often each entry is read.
pub fn count(outputs: &mut [Output], rows: &[Vec<usize>]) {
    for entries in rows {
        for (output, &entry) in outputs.iter_mut().zip(entries) {
            output.counts[entry] += 1;
        }
    }
}
