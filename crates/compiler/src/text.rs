//! A linear model of hashed words as one round of integer sums: the fewest weight bits that keep its answers.
//!
//! Invariant: what comes out has exact results, and flooding noise that hides what its weights shape.

use std::collections::BTreeMap;

use fhe::program::{
    FORMAT, INPUT_BITS, MAX_INPUTS, MAX_RESULTS, MAX_STEP_BITS, Precision, RESULT_BITS, ResultSpec,
    Round, ScoreMeaning, Sum,
};
use fhe::text::{Norm, TextEncoder};
use fhe::{ParamSet, Program, ProgramFile};
use models::{Body, Linear, Model};

use crate::finish::{self, FLOODING_BITS_MIN};
use crate::{CompileError, Compiled, Options, Output};

/// Bits of a weight, its sign included.
const WEIGHT_BITS: std::ops::RangeInclusive<u32> = 4..=12;
/// Scores that rounding moves by no more than this share of their spread are as good as the model's.
const GOOD_ERROR: f64 = 0.01;
/// A share of 1 is encoded as this: seven bits hold a word's share of a text as well as a linear model can tell.
const MOST_SHARE: i64 = 127;
/// Counts above this are rare, and are held to it: the room that they would take is every other word's too.
const MOST_COUNT: i64 = 15;
/// Calibration texts beyond these say nothing new.
const MAX_TEXTS: usize = 20_000;

/// How the model was given its texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TextOptions {
    /// The column of the table that holds the text.
    pub column: String,
    pub norm: Norm,
    /// The greatest encoded integer; else the calibration texts say.
    pub most: Option<i64>,
}

/// Compiles a linear model whose features are the buckets of scikit-learn's `HashingVectorizer`, without alternating signs.
pub fn text(
    model: &Model,
    texts: &[String],
    how: &TextOptions,
    options: &Options,
) -> Result<Compiled, CompileError> {
    let linear = linear_of(model, options)?;
    let rows = Rows::new(model, texts, how)?;
    let mut found: Option<(Candidate, Program)> = None;
    let mut refused = None;
    for bits in WEIGHT_BITS {
        let candidate = Candidate::new(linear, &rows, bits);
        match laid_out(model, &rows, &candidate, how, options) {
            Ok(Some(program)) => {
                let good = candidate.is_good();
                if found
                    .as_ref()
                    .is_none_or(|(best, _)| candidate.rank() < best.rank())
                {
                    found = Some((candidate, program));
                }
                if good {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let (candidate, program) = found.ok_or_else(|| {
        refused.map_or_else(
            || CompileError::Unsupported {
                what: format!(
                    "a sum of {} buckets of 0 to {}",
                    rows.encoder.buckets, rows.encoder.most
                ),
                instead: "take a smaller greatest count, or fewer buckets (n_features)".into(),
            },
            CompileError::Program,
        )
    })?;
    let program = finish::tighten(program.file().clone())?;
    Ok(Compiled {
        notes: notes(&program, &candidate, &rows),
        program,
    })
}

fn linear_of<'a>(model: &'a Model, options: &Options) -> Result<&'a Linear, CompileError> {
    let unsupported = |what: &str, instead: &str| CompileError::Unsupported {
        what: what.into(),
        instead: instead.into(),
    };
    let Body::Linear(linear) = &model.body else {
        let instead =
            "train a linear one (LogisticRegression, LinearSVC) on HashingVectorizer's counts";
        return Err(unsupported("a model of texts that is not linear", instead));
    };
    if options.output != Output::Scores {
        let instead = "ask for scores: anything else takes a bootstrap";
        return Err(unsupported(
            "a label or a probability without scores, of a model of texts",
            instead,
        ));
    }
    let too_large = |what, got, limit, instead| CompileError::TooLarge {
        what,
        got,
        limit,
        instead,
    };
    let buckets = model.features.len();
    if buckets > MAX_INPUTS {
        let instead = "train it on HashingVectorizer(n_features=2048)";
        return Err(too_large(
            "the number of buckets",
            buckets,
            MAX_INPUTS,
            instead,
        ));
    }
    if linear.weights.len() > MAX_RESULTS {
        let (got, instead) = (linear.weights.len(), "split the model by its labels");
        return Err(too_large("the number of scores", got, MAX_RESULTS, instead));
    }
    Ok(linear)
}

/// The calibration texts: as the model is given them, and as they are encrypted.
struct Rows<'a> {
    encoder: TextEncoder,
    model: &'a Model,
    encoded: Vec<Vec<i64>>,
    /// The model's own scores.
    scores: Vec<Vec<f64>>,
    /// Texts with a count above `most`.
    held: usize,
}

impl<'a> Rows<'a> {
    fn new(model: &'a Model, texts: &[String], how: &TextOptions) -> Result<Self, CompileError> {
        if texts.is_empty() {
            return Err(CompileError::Calibration("there is no text in it".into()));
        }
        let mut encoder = TextEncoder {
            buckets: model.features.len() as u32,
            most: how.most.unwrap_or(MOST_SHARE),
            norm: how.norm,
        };
        let texts = &texts[..texts.len().min(MAX_TEXTS)];
        let wrong = |(row, why): (usize, String)| {
            CompileError::Calibration(format!("row {}: {why}", row + 1))
        };
        let features = texts.iter().enumerate();
        let features =
            features.map(|(row, text)| encoder.features(text).map_err(|why| wrong((row, why))));
        let features = features.collect::<Result<Vec<_>, _>>()?;
        let greatest = |row: &Vec<f64>| row.iter().copied().fold(0.0, f64::max);
        if how.norm == Norm::None && how.most.is_none() {
            let most = features.iter().map(greatest).fold(1.0, f64::max);
            encoder.most = (most as i64).min(MOST_COUNT);
        }
        let encoded = texts.iter().enumerate();
        let encoded =
            encoded.map(|(row, text)| encoder.encode(text).map_err(|why| wrong((row, why))));
        let most = encoder.most as f64;
        Ok(Self {
            encoded: encoded.collect::<Result<_, _>>()?,
            scores: features.iter().map(|row| model.scores(row)).collect(),
            held: match how.norm {
                Norm::None => features.iter().filter(|row| greatest(row) > most).count(),
                Norm::L2 => 0,
            },
            encoder,
            model,
        })
    }
}

/// Weights of so many bits, and what they make of the calibration texts.
struct Candidate {
    bits: u32,
    sums: Vec<Sum>,
    /// Of each sum: a score is integer · scale + offset.
    meanings: Vec<(f64, f64)>,
    /// Labels that are not the model's.
    changed: usize,
    /// Root mean square of what scores are off, as a share of the spread of the model's scores.
    error: f64,
}

impl Candidate {
    fn new(linear: &Linear, rows: &Rows<'_>, bits: u32) -> Self {
        let unit = rows.encoder.unit();
        let (mut sums, mut meanings) = (Vec::new(), Vec::new());
        for (weights, &bias) in linear.weights.iter().zip(&linear.bias) {
            let (sum, scale) = rounded(weights, unit, bits);
            sums.push(sum);
            meanings.push((scale, bias));
        }
        let mut this = Self {
            bits,
            sums,
            meanings,
            changed: 0,
            error: 0.0,
        };
        this.judge(rows);
        this
    }

    fn judge(&mut self, rows: &Rows<'_>) {
        let (mut squares, mut spread, mut mean) = (0.0, 0.0, 0.0);
        let count = (rows.scores.len() * self.sums.len()) as f64;
        for (encoded, scores) in rows.encoded.iter().zip(&rows.scores) {
            let got = self.scores(encoded);
            self.changed += usize::from(rows.model.label(&got) != rows.model.label(scores));
            for (got, wanted) in got.iter().zip(scores) {
                squares += (got - wanted).powi(2);
                spread += wanted.powi(2);
                mean += wanted / count;
            }
        }
        let spread = (spread / count - mean.powi(2)).max(0.0).sqrt();
        self.error = (squares / count).sqrt() / spread.max(f64::MIN_POSITIVE);
    }

    fn scores(&self, encoded: &[i64]) -> Vec<f64> {
        let of = |sum: &Sum| -> i64 {
            let terms = sum.terms.iter();
            terms
                .map(|&(input, weight)| weight * encoded[input as usize])
                .sum()
        };
        let scored = self.sums.iter().zip(&self.meanings);
        scored
            .map(|(sum, (scale, offset))| of(sum) as f64 * scale + offset)
            .collect()
    }

    /// Less is better.
    fn rank(&self) -> (usize, f64) {
        (self.changed, self.error)
    }

    fn is_good(&self) -> bool {
        self.changed == 0 && self.error <= GOOD_ERROR
    }

    /// The greatest absolute value of any sum.
    fn reach(&self, most: i64) -> i64 {
        let swing = |sum: &Sum| {
            sum.terms
                .iter()
                .map(|(_, weight)| weight.abs() * most)
                .sum()
        };
        self.sums.iter().map(swing).max().unwrap_or(0)
    }
}

/// The weights as integers of `bits` bits, and what 1 of them means.
fn rounded(weights: &[f64], unit: f64, bits: u32) -> (Sum, f64) {
    let most = weights
        .iter()
        .fold(0.0, |most, weight| weight.abs().max(most));
    let largest = ((1i64 << (bits - 1)) - 1) as f64;
    let step = if most > 0.0 { most / largest } else { 1.0 };
    let integers = weights.iter().map(|weight| (weight / step).round() as i64);
    let terms = integers.enumerate().filter(|(_, weight)| *weight != 0);
    let mut terms: Vec<(u32, i64)> = terms
        .map(|(index, weight)| (index as u32, weight))
        .collect();
    if terms.is_empty() {
        // A model that looks at nothing is still a sum.
        terms.push((0, 0));
    }
    (Sum { terms, bias: 0 }, step * unit)
}

/// None: flooding noise would not hide what these weights shape.
fn laid_out(
    model: &Model,
    rows: &Rows<'_>,
    candidate: &Candidate,
    how: &TextOptions,
    options: &Options,
) -> Result<Option<Program>, fhe::ProgramError> {
    let reach = candidate.reach(rows.encoder.most).max(1) as u64;
    // The sign takes one more bit.
    let input_step_bits = (reach + 1).next_power_of_two().ilog2() + 1;
    if input_step_bits > MAX_STEP_BITS {
        return Ok(None);
    }
    let names = model
        .output
        .names
        .iter()
        .zip(&candidate.meanings)
        .enumerate();
    let scores = names.map(|(index, (name, &(scale, offset)))| ScoreMeaning {
        name: name.clone(),
        results: vec![index as u32],
        scale,
        offset,
    });
    let about = [
        ("source", model.source.to_string()),
        ("bits of a weight", candidate.bits.to_string()),
    ];
    let program = Program::new(ProgramFile {
        format: FORMAT.into(),
        name: options.name.clone(),
        version: options.version,
        description: options.description.clone(),
        params: ParamSet::Linear,
        columns: vec![how.column.clone()],
        inputs: Vec::new(),
        text: Some(rows.encoder.clone()),
        input_step_bits,
        input_bits: *INPUT_BITS.end(),
        rounds: vec![Round {
            sums: candidate.sums.clone(),
            lookup: None,
        }],
        result: ResultSpec {
            bits: *RESULT_BITS.end(),
            precision: Precision::Exact,
            wraps: false,
            scores: scores.collect(),
            link: finish::link(model),
            decide: finish::decide(model),
        },
        about: about
            .map(|(name, said)| (name.to_owned(), said))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    })?;
    Ok(is_flooded(&program).then_some(program))
}

fn is_flooded(program: &Program) -> bool {
    let bits = program.noise().flooding_bits;
    bits.is_some_and(|bits| bits >= FLOODING_BITS_MIN)
}

fn notes(program: &Program, candidate: &Candidate, rows: &Rows<'_>) -> Vec<String> {
    let file = program.file();
    let encoder = &rows.encoder;
    vec![
        format!(
            "{} buckets of 0 to {}, {} bits a weight: one sum of {} terms in all for {} scores, no lookup",
            encoder.buckets,
            encoder.most,
            candidate.bits,
            program.terms_per_row(),
            program.result_count()
        ),
        format!(
            "of {} calibration texts, {} get another label than by the model in the clear; scores are off by {:.2} % of their spread",
            rows.encoded.len(),
            candidate.changed,
            candidate.error * 100.0
        ),
        format!(
            "{} of them have a word that is counted more than {} times",
            rows.held, encoder.most
        ),
        format!(
            "{} bits of each input and {} of each result are sent; flooding noise exceeds what the weights shape by {:.1} bits",
            file.input_bits,
            file.result.bits,
            program.noise().flooding_bits.unwrap_or(0.0)
        ),
    ]
}

#[cfg(test)]
mod tests;
