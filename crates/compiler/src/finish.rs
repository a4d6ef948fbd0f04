//! The last steps of every layout: what scores mean, and how few bits of inputs and results will do.

use std::collections::BTreeMap;

use fhe::noise;
use fhe::program::{
    Decide, FORMAT, INPUT_BITS, Link, Precision, RESULT_BITS, ResultSpec, Round, ScoreMeaning, Sum,
};
use fhe::{ParamSet, Program, ProgramError, ProgramFile};
use models::Model;

use crate::inputs::Inputs;
use crate::{Options, Output};

/// Sending fewer bits may make noise worse by this share of it: nobody sees that.
const WORSE: f64 = 1.02;
/// Rounding of results that are not exact may add so much to the variance of the quietest: score errors, which are bounds
/// over all that tables may do, do not show it.
const ROUNDING: f64 = 0.1;
/// Flooding noise of linear results exceeds what the weights shape by so many bits at least.
pub(crate) const FLOODING_BITS_MIN: f64 = 10.0;

pub(crate) fn link(model: &Model) -> Link {
    match model.output.link {
        models::Link::Identity => Link::Identity,
        models::Link::Logistic => Link::Logistic,
        models::Link::LogisticShare => Link::LogisticShare,
        models::Link::Softmax => Link::Softmax,
        models::Link::Exp => Link::Exp,
    }
}

pub(crate) fn decide(model: &Model) -> Option<Decide> {
    match &model.output.decide {
        models::Decide::None => None,
        models::Decide::Threshold { at, below, above } => Some(Decide::Threshold {
            at: *at,
            below: below.clone(),
            above: above.clone(),
        }),
        models::Decide::Greatest { labels } => Some(Decide::Greatest {
            labels: labels.clone(),
        }),
    }
}

/// What results of `rounds` mean: for labels, one number; else one score each, by its (scale, offset).
pub(crate) fn file(
    model: &Model,
    options: &Options,
    inputs: &Inputs,
    input_step_bits: u32,
    rounds: Vec<Round>,
    meanings: &[(f64, f64)],
) -> ProgramFile {
    let linear = rounds.iter().all(|round| round.lookup.is_none());
    let for_labels = options.output == Output::Labels;
    let names = model.output.names.iter().zip(meanings).enumerate();
    let scores = names.map(|(index, (name, &(scale, offset)))| ScoreMeaning {
        name: name.clone(),
        results: vec![index as u32],
        scale,
        offset,
    });
    let label = ScoreMeaning {
        name: "label".into(),
        results: vec![0],
        scale: 1.0,
        offset: 0.0,
    };
    let about = [
        ("source", model.source.to_string()),
        ("model columns", model.features.len().to_string()),
    ];
    ProgramFile {
        format: FORMAT.into(),
        name: options.name.clone(),
        version: options.version,
        description: options.description.clone(),
        params: match linear {
            true => ParamSet::Linear,
            false => ParamSet::Bootstrap,
        },
        columns: inputs.columns.clone(),
        inputs: inputs.inputs(),
        text: None,
        input_step_bits,
        input_bits: *INPUT_BITS.end(),
        rounds,
        result: ResultSpec {
            bits: *RESULT_BITS.end(),
            precision: match linear || for_labels {
                true => Precision::Exact,
                false => Precision::Rounded,
            },
            wraps: false,
            scores: match for_labels {
                true => vec![label],
                false => scores.collect(),
            },
            link: match for_labels {
                true => Link::Identity,
                false => link(model),
            },
            decide: match for_labels {
                true => Some(model.output.decide.labels())
                    .filter(|labels| !labels.is_empty())
                    .map(|labels| Decide::Index { labels }),
                false => decide(model),
            },
        },
        about: about
            .map(|(name, text)| (name.to_owned(), text))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    }
}

/// The file with as few bits of results, and then of inputs, as change nothing that matters. Results cost far more to send.
pub(crate) fn tighten(mut file: ProgramFile) -> Result<Program, ProgramError> {
    let best = Program::new(file.clone())?;
    let quiet = quietest(&file) * ROUNDING;
    file.result.bits = least(*RESULT_BITS.start(), file.result.bits, |bits| {
        let mut file = file.clone();
        file.result.bits = bits;
        let exact = file.result.precision == Precision::Exact;
        (exact || noise::result_rounding(bits) <= quiet) && as_good(&best, file)
    });
    file.input_bits = least(*INPUT_BITS.start(), file.input_bits, |bits| {
        let mut file = file.clone();
        file.input_bits = bits;
        as_good(&best, file)
    });
    Program::new(file)
}

/// The least variance that a result of lookups can have.
fn quietest(file: &ProgramFile) -> f64 {
    let norm = |sum: &Sum| {
        sum.terms
            .iter()
            .map(|&(_, w)| (w as f64).powi(2))
            .sum::<f64>()
    };
    let sums = match file.rounds.last() {
        Some(round) if round.lookup.is_none() => round.sums.iter(),
        _ => [].iter(),
    };
    let least = sums.map(norm).filter(|norm| *norm > 0.0).reduce(f64::min);
    noise::bootstrapped() * least.unwrap_or(1.0)
}

/// The least number for which `holds`, which holds for `high` and for all above one for which it does.
pub(crate) fn least(mut low: u32, mut high: u32, holds: impl Fn(u32) -> bool) -> u32 {
    while low < high {
        let middle = (low + high) / 2;
        match holds(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    high
}

fn as_good(best: &Program, file: ProgramFile) -> bool {
    let Ok(program) = Program::new(file) else {
        return false;
    };
    let (best, got) = (best.noise(), program.noise());
    let errors = got.score_error.iter().zip(&best.score_error);
    let rounds = got.rounds.iter().zip(&best.rounds);
    let needed = |best: f64| best.min(FLOODING_BITS_MIN);
    let flooded = got.flooding_bits.zip(best.flooding_bits);
    errors.into_iter().all(|(got, best)| *got <= best * WORSE)
        && rounds
            .into_iter()
            .all(|(got, best)| got.sd_entries <= best.sd_entries * WORSE)
        && flooded.is_none_or(|(got, best)| got >= needed(best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_number_is_found() {
        for least_good in 8..=48 {
            assert_eq!(least(8, 48, |bits| bits >= least_good), least_good);
        }
    }
}
