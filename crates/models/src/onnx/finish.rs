//! From what the outputs of a graph stand for to a model.

use std::rc::Rc;

use super::attributes::FORMAT;
use super::dense::fold;
use super::graph::Walk;
use super::proto::GraphProto;
use super::value::{Draft, Labels, Scores, Value, View};
use crate::build;
use crate::error::ModelError;
use crate::model::{Activation, Body, Linear, Link, Mlp, Model, Output, SourceFormat};

pub(super) fn model(graph: &GraphProto, walk: Walk) -> Result<Model, ModelError> {
    let mut scores: Option<Scores> = None;
    let mut labelled: Option<(Scores, Labels)> = None;
    for output in &graph.output {
        match walk.value(&output.name)? {
            Value::Scores(found) => keep_one(&mut scores, found)?,
            Value::Units(units) => keep_one(&mut scores, units.finish()?)?,
            Value::Label(found, labels) => labelled = Some((found, labels)),
            Value::Place(found) => {
                let labels = build::numbered_labels(if found.count == 1 { 2 } else { found.count });
                labelled = Some((found, labels.into()));
            }
            other => {
                return Err(FORMAT.unsupported(
                    format!(
                        "the output {}, which is {}",
                        output.name.chars().take(40).collect::<String>(),
                        other.describe()
                    ),
                    "export a model whose outputs are its scores, its probabilities or its label",
                ));
            }
        }
    }
    let (scores, labels) = match (scores, labelled) {
        (Some(scores), Some((of, labels))) => {
            if scores.id != of.id {
                return Err(two_models());
            }
            // The threshold is the labels' affair, the link that of the other output.
            let view = of.view;
            (Scores { view, ..scores }, labels)
        }
        (Some(scores), None) => {
            let labels = implied_labels(&scores);
            (scores, labels)
        }
        (None, Some((scores, labels))) => (scores, labels),
        (None, None) => return Err(FORMAT.damaged("its graph has no outputs")),
    };
    let output = output(&scores, &labels)?;
    let body = body(&scores.body, walk.features.len())?;
    Ok(Model {
        source: SourceFormat::Onnx,
        features: walk.features,
        body,
        output,
    })
}

fn keep_one(kept: &mut Option<Scores>, found: Scores) -> Result<(), ModelError> {
    match kept {
        Some(kept) if kept.id != found.id => Err(two_models()),
        // Raw scores beside probabilities: the probabilities say more.
        Some(_) if found.link == Link::Identity => Ok(()),
        _ => {
            *kept = Some(found);
            Ok(())
        }
    }
}

fn two_models() -> ModelError {
    FORMAT.unsupported(
        "outputs that come from different models",
        "export each model into a file of its own",
    )
}

/// The labels of scores that no operator turned into a label: those of a network that ends in probabilities are numbered.
fn implied_labels(scores: &Scores) -> Labels {
    if !scores.labels.is_empty() {
        return Rc::clone(&scores.labels);
    }
    match (scores.link, scores.count, scores.view) {
        (Link::Softmax | Link::LogisticShare, count, _) if count > 1 => {
            build::numbered_labels(count).into()
        }
        (Link::Logistic, 1, _) | (_, 1, View::Pair { .. }) => build::numbered_labels(2).into(),
        _ => Rc::default(),
    }
}

fn output(scores: &Scores, labels: &[String]) -> Result<Output, ModelError> {
    let link = scores.link;
    let at = match scores.view {
        View::Pair { at } => at,
        View::Plain => 0.0,
    };
    if labels.is_empty() {
        return Ok(Output::values(scores.count, link));
    }
    if scores.count == 1
        && let [below, above] = labels
    {
        return Ok(Output::binary(below.clone(), above.clone(), link, at));
    }
    if labels.len() != scores.count {
        return Err(FORMAT.damaged(format!(
            "it has {} labels for {} scores",
            labels.len(),
            scores.count
        )));
    }
    Ok(Output::classes(labels.to_vec(), link))
}

fn body(draft: &Rc<Draft>, features: usize) -> Result<Body, ModelError> {
    match &**draft {
        Draft::Trees(trees) => Ok(Body::Trees(trees.clone())),
        Draft::Dense { rows, layers } => {
            let mut made = Vec::with_capacity(layers.len());
            for (at, layer) in layers.iter().enumerate() {
                made.push(if at == 0 {
                    fold(rows, layer, features)?
                } else {
                    (**layer).clone()
                });
            }
            if made.len() == 1
                && made[0].activation == Activation::Identity
                && let Some(layer) = made.pop()
            {
                return Ok(Body::Linear(Linear {
                    weights: layer.weights,
                    bias: layer.bias,
                }));
            }
            Ok(Body::Mlp(Mlp { layers: made }))
        }
    }
}
