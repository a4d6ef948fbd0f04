//! Programs that give a label and no score: comparisons of scores, then the one class that wins all of its own.

use fhe::program::{Lookup, Precision, Round, Sum};
use models::{Decide, Linear, Model};

use crate::CompileError;

/// Classes that are compared two by two: more take too many lookups, and the last sum too many bits.
const CLASSES_MAX: usize = 10;

/// What must be above zero, in place of scores: one number for a threshold, else one for each pair of classes, in order.
pub(crate) fn comparisons(model: &Model, scores: &Linear) -> Result<Linear, CompileError> {
    match &model.output.decide {
        Decide::None => Err(CompileError::Unsupported {
            what: "a label of a model that gives none".into(),
            instead: "compile it for its scores (--output scores)".into(),
        }),
        Decide::Threshold { at, .. } => Ok(Linear {
            weights: vec![scores.weights[0].clone()],
            bias: vec![scores.bias[0] - at],
        }),
        Decide::Greatest { labels } if labels.len() > CLASSES_MAX => Err(CompileError::TooLarge {
            what: "the number of labels to compare",
            got: labels.len(),
            limit: CLASSES_MAX,
            instead: "compile it for its scores (--output scores): the client then picks the greatest",
        }),
        Decide::Greatest { labels } => {
            let pairs = pairs(labels.len());
            let less = |(i, j): &(usize, usize)| {
                let both = scores.weights[*i].iter().zip(&scores.weights[*j]);
                both.map(|(a, b)| a - b).collect()
            };
            Ok(Linear {
                weights: pairs.iter().map(less).collect(),
                bias: pairs
                    .iter()
                    .map(|&(i, j)| scores.bias[i] - scores.bias[j])
                    .collect(),
            })
        }
    }
}

fn pairs(classes: usize) -> Vec<(usize, usize)> {
    (0..classes)
        .flat_map(|i| (i + 1..classes).map(move |j| (i, j)))
        .collect()
}

/// The unit that comparisons come out in.
pub(crate) fn step_bits(model: &Model) -> u32 {
    match classes(model) {
        // 0 or 1, and its sign.
        None => 2,
        Some(classes) => won_bits(classes) + 1,
    }
}

/// `None` for a threshold.
fn classes(model: &Model) -> Option<usize> {
    match &model.output.decide {
        Decide::Greatest { labels } => Some(labels.len()),
        _ => None,
    }
}

/// Bits of a number of comparisons won, 0 to classes - 1.
fn won_bits(classes: usize) -> u32 {
    classes.next_power_of_two().ilog2().max(1)
}

/// The rounds after the comparisons: none for a threshold, whose comparison is the label's place already.
pub(crate) fn rounds(model: &Model) -> Vec<Round> {
    let Some(classes) = classes(model) else {
        return vec![];
    };
    if classes == 2 {
        // Their one comparison says which: 1 where the first wins.
        return vec![Round {
            sums: vec![Sum {
                terms: vec![(0, -1)],
                bias: 1,
            }],
            lookup: None,
        }];
    }
    let pairs = pairs(classes);
    // How many of its comparisons a class wins; of equal scores the first wins. Class 0 needs no lookup: it is what is
    // left when nobody else wins all.
    let won = |class: usize| Sum {
        terms: pairs
            .iter()
            .enumerate()
            .filter_map(|(at, &(i, j))| match class {
                _ if class == i => Some((at as u32, 1)),
                _ if class == j => Some((at as u32, -1)),
                _ => None,
            })
            .collect(),
        bias: class as i64,
    };
    let bits = won_bits(classes);
    let table = |class: usize| {
        (0..1usize << bits)
            .map(|won| match won + 1 == classes {
                true => class as i64,
                false => 0,
            })
            .collect()
    };
    // As if all could win at once: the check of intervals knows no better.
    let most = classes * (classes - 1) / 2;
    vec![
        Round {
            sums: (1..classes).map(won).collect(),
            lookup: Some(Lookup {
                bits,
                fraction_bits: 0,
                precision: Precision::Exact,
                step_bits: (most + 1).next_power_of_two().ilog2() + 1,
                tables: (1..classes).map(table).collect(),
                uses: (0..classes as u32 - 1).collect(),
                reads: vec![],
            }),
        },
        Round {
            sums: vec![Sum {
                terms: (0..classes as u32 - 1).map(|at| (at, 1)).collect(),
                bias: 0,
            }],
            lookup: None,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::{Body, Link, Output, SourceFormat};

    fn model(classes: usize) -> Model {
        let names: Vec<String> = (0..classes).map(|i| format!("c{i}")).collect();
        Model {
            source: SourceFormat::Onnx,
            features: vec!["f".into()],
            body: Body::Linear(Linear {
                weights: vec![vec![0.0]; classes],
                bias: vec![0.0; classes],
            }),
            output: Output {
                link: Link::Softmax,
                decide: Decide::Greatest {
                    labels: names.clone(),
                },
                names,
            },
        }
    }

    /// The rounds in the clear, from what each comparison came to.
    fn winner(rounds: &[Round], compared: Vec<i64>) -> i64 {
        let mut values = compared;
        for round in rounds {
            values = round
                .sums
                .iter()
                .enumerate()
                .map(|(at, sum)| {
                    let terms = sum.terms.iter().map(|&(i, w)| w * values[i as usize]);
                    let total = terms.sum::<i64>() + sum.bias;
                    match &round.lookup {
                        None => total,
                        Some(lookup) => lookup.tables[lookup.uses[at] as usize][total as usize],
                    }
                })
                .collect();
        }
        values[0]
    }

    #[test]
    fn the_first_of_the_greatest_scores_wins() {
        for classes in 2..=CLASSES_MAX {
            let rounds = rounds(&model(classes));
            for turn in 0..classes * classes {
                // All orders that a few rotations and collisions make, with equal scores among them.
                let scores: Vec<usize> = (0..classes)
                    .map(|i| (i * (turn + 1) + turn) % (turn % classes + 2))
                    .collect();
                let most = scores.iter().max();
                let expected = scores.iter().position(|s| Some(s) == most);
                let compared = pairs(classes)
                    .iter()
                    .map(|&(i, j)| i64::from(scores[i] >= scores[j]))
                    .collect();
                assert_eq!(
                    Some(winner(&rounds, compared) as usize),
                    expected,
                    "{scores:?}"
                );
            }
        }
    }

    #[test]
    fn too_many_classes_are_refused_with_what_to_do() {
        let model = model(CLASSES_MAX + 1);
        let Body::Linear(scores) = &model.body else {
            panic!("not linear");
        };
        let error = comparisons(&model, scores).unwrap_err().to_string();
        assert!(
            error.contains("11") && error.contains("--output scores"),
            "{error}"
        );
    }
}
