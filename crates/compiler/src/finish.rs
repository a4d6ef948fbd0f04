//! The last steps of every layout: what scores mean, and how few bits of inputs and results will do.

use std::collections::BTreeMap;

use fhe::noise;
use fhe::program::{
    Decide, FORMAT, INPUT_BITS, Link, Precision, RESULT_BITS, ResultSpec, Round, ScoreMeaning, Sum,
};
use fhe::{ParamSet, Program, ProgramError, ProgramFile};
use models::Model;

use crate::inputs::Inputs;
use crate::{Options, Output, probability};

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

/// `meanings`: of each score, its (scale, offset); for labels and probabilities there is one number, and these say nothing.
pub(crate) fn file(
    model: &Model,
    options: &Options,
    inputs: &Inputs,
    input_step_bits: u32,
    rounds: Vec<Round>,
    meanings: &[(f64, f64)],
) -> ProgramFile {
    let linear = rounds.iter().all(|round| round.lookup.is_none());
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
        result: meaning(model, options.output, linear, meanings),
        about: about
            .map(|(name, text)| (name.to_owned(), text))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    }
}

/// What results mean, but for how they are sent.
fn meaning(model: &Model, output: Output, linear: bool, meanings: &[(f64, f64)]) -> ResultSpec {
    let spec = |precision: Precision, scores: Vec<ScoreMeaning>| ResultSpec {
        bits: *RESULT_BITS.end(),
        precision,
        wraps: false,
        scores,
        link: Link::Identity,
        decide: decide(model),
    };
    let one = |name: &str, scale: f64| ScoreMeaning {
        name: name.into(),
        results: vec![0],
        scale,
        offset: 0.0,
    };
    match output {
        Output::Scores => {
            let names = model.output.names.iter().zip(meanings).enumerate();
            let scores = names.map(|(index, (name, &(scale, offset)))| ScoreMeaning {
                name: name.clone(),
                results: vec![index as u32],
                scale,
                offset,
            });
            let precision = match linear {
                true => Precision::Exact,
                false => Precision::Rounded,
            };
            ResultSpec {
                link: link(model),
                ..spec(precision, scores.collect())
            }
        }
        Output::Labels => ResultSpec {
            decide: Some(model.output.decide.labels())
                .filter(|labels| !labels.is_empty())
                .map(|labels| Decide::Index { labels }),
            ..spec(Precision::Exact, vec![one("label", 1.0)])
        },
        Output::Probability => {
            let name = model.output.names.first().map_or("", String::as_str);
            let mut spec = spec(Precision::Exact, vec![one(name, 1.0 / probability::STEPS)]);
            if let Some(Decide::Threshold { at, .. }) = &mut spec.decide {
                *at = probability::DECIDES_AT;
            }
            spec
        }
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
