//! How far a program is from its model on some rows: in the clear, and with the noise that encryption brings.

use fhe::{Program, PublicProgram, Score};
use models::Model;

use crate::simulate::{self, Normal};

/// Draws of the noise for each row.
const DRAWS: usize = 4;
/// More rows than this say no more.
const ROWS_MAX: usize = 5_000;
const SEED: u64 = 0x5eed;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Rows that were compared; those that the program refuses, or that the model gives nothing for, are left out.
    pub rows: usize,
    /// Rows with another label than the model's, computed in the clear; `None` where there are no labels.
    pub labels_changed: Option<usize>,
    /// Share of labels that differ from the model's once noise of the predicted size is added.
    pub labels_changed_by_noise: Option<f64>,
    /// Of any score, in the clear; 0 where the client gets no scores.
    pub largest_score_error: f64,
    /// Root of the mean square of the score errors with noise, as a part of the scores' standard deviation.
    pub relative_error: f64,
}

impl Agreement {
    /// A line for each thing that was measured.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(changed) = self.labels_changed {
            notes.push(format!(
                "{changed} of {} calibration rows get another label than the model gives them, {:.2} % with the noise of encryption",
                self.rows,
                100.0 * self.labels_changed_by_noise.unwrap_or(0.0)
            ));
        }
        if self.largest_score_error > 0.0 {
            notes.push(format!(
                "a score is off by at most {:.2e} on these rows in the clear; with noise by {:.2} % of the scores' standard deviation",
                self.largest_score_error,
                100.0 * self.relative_error
            ));
        }
        notes
    }
}

/// Compares on rows in the order of the model's features.
pub fn agreement(model: &Model, program: &Program, rows: &[Vec<f64>]) -> Agreement {
    Compare::new(model, program).all(rows)
}

pub(crate) struct Compare<'a> {
    model: &'a Model,
    program: &'a Program,
    public: PublicProgram,
    /// Of each column of the program, its place in a row of the model.
    features: Vec<usize>,
}

impl<'a> Compare<'a> {
    pub fn new(model: &'a Model, program: &'a Program) -> Self {
        let public = PublicProgram::from(program);
        let place = |name: &String| model.features.iter().position(|f| f == name);
        Self {
            features: public.columns.iter().filter_map(place).collect(),
            model,
            program,
            public,
        }
    }

    fn encode(&self, row: &[f64]) -> Option<Vec<i64>> {
        let row: Vec<f64> = self.features.iter().map(|&f| row[f]).collect();
        self.public.encode(0, &row).ok()
    }

    pub fn all(&self, rows: &[Vec<f64>]) -> Agreement {
        let stride = rows.len().div_ceil(ROWS_MAX).max(1);
        let mut normal = Normal::new(SEED);
        let result = &self.public.result;
        let has_scores = result.scores.len() == self.model.output.names.len()
            && !matches!(result.decide, Some(fhe::program::Decide::Index { .. }));
        // A program may give the model's probabilities in place of its scores.
        let is_linked = result.link != crate::finish::link(self.model);
        let mut tally = Tally::default();
        let (mut changed, mut changed_by_noise, mut any_label) = (0, 0, false);
        for row in rows.iter().step_by(stride) {
            let Some(inputs) = self.encode(row) else {
                continue;
            };
            let Some(results) = self.program.evaluate_clear(&inputs) else {
                continue;
            };
            let clear = self.public.clear_scores(&results);
            let scores = self.model.scores(row);
            if scores.iter().any(|score| !score.is_finite()) {
                continue;
            }
            let label = self.model.label(&scores);
            any_label |= label.is_some();
            let scores = match is_linked {
                true => self.model.linked(&scores),
                false => scores,
            };
            tally.rows += 1;
            changed += usize::from(label != self.public.label(&clear));
            if has_scores {
                tally.clear(&scores, &clear);
            }
            for _ in 0..DRAWS {
                let noisy = simulate::scores(self.program, &self.public, &inputs, &mut normal);
                changed_by_noise += usize::from(label != self.public.label(&noisy));
                if has_scores {
                    tally.noisy(&scores, &noisy);
                }
            }
        }
        let draws = (tally.rows * DRAWS).max(1) as f64;
        Agreement {
            rows: tally.rows,
            labels_changed: any_label.then_some(changed),
            labels_changed_by_noise: any_label.then_some(changed_by_noise as f64 / draws),
            largest_score_error: tally.largest,
            relative_error: tally.relative(),
        }
    }
}

#[derive(Default)]
struct Tally {
    rows: usize,
    largest: f64,
    squares: f64,
    /// Of each score: its sum and its sum of squares.
    sums: Vec<(f64, f64)>,
}

impl Tally {
    fn clear(&mut self, scores: &[f64], clear: &[Score]) {
        self.sums.resize(scores.len(), (0.0, 0.0));
        for ((score, clear), sums) in scores.iter().zip(clear).zip(&mut self.sums) {
            self.largest = self.largest.max((score - clear.value).abs());
            sums.0 += score;
            sums.1 += score * score;
        }
    }

    fn noisy(&mut self, scores: &[f64], noisy: &[Score]) {
        let errors = scores.iter().zip(noisy).map(|(a, b)| (a - b.value).powi(2));
        self.squares += errors.sum::<f64>();
    }

    fn relative(&self) -> f64 {
        let rows = self.rows.max(1) as f64;
        let spread = self
            .sums
            .iter()
            .map(|(sum, squares)| squares / rows - (sum / rows).powi(2));
        let spread = spread.sum::<f64>().max(1e-12);
        (self.squares / (rows * DRAWS as f64) / spread).sqrt()
    }
}
