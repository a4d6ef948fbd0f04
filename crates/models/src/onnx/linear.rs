//! LinearRegressor and LinearClassifier of ai.onnx.ml.

use std::rc::Rc;

use super::attributes::{Attributes, FORMAT};
use super::value::{Draft, Rows, Scores, View};
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Activation, Layer, Link};

fn layer(attributes: Attributes<'_>, scores: usize, columns: usize) -> Result<Layer, ModelError> {
    let name = &attributes.0.op_type;
    within("scores", scores, limits::SCORES_MAX)?;
    let coefficients = attributes.floats("coefficients")?;
    if scores == 0 || coefficients.len() != scores * columns {
        return Err(FORMAT.damaged(format!(
            "{name} has {} coefficients for {scores} scores of {columns} features",
            coefficients.len()
        )));
    }
    let mut bias = attributes.floats("intercepts")?;
    if bias.is_empty() {
        bias = vec![0.0; scores];
    }
    if bias.len() != scores {
        return Err(FORMAT.damaged(format!(
            "{name} has {} intercepts for {scores} scores",
            bias.len()
        )));
    }
    Ok(Layer {
        weights: coefficients.chunks(columns).map(<[f64]>::to_vec).collect(),
        bias,
        activation: Activation::Identity,
    })
}

fn dense(rows: &Rc<Rows>, layer: Layer) -> Rc<Draft> {
    Rc::new(Draft::Dense {
        rows: Rc::clone(rows),
        layers: vec![Rc::new(layer)],
    })
}

pub(super) fn regressor(
    attributes: Attributes<'_>,
    rows: &Rc<Rows>,
    id: usize,
) -> Result<Scores, ModelError> {
    let targets = usize::try_from(attributes.int("targets", 1))
        .map_err(|_| FORMAT.damaged("LinearRegressor has fewer than 0 targets"))?;
    let layer = layer(attributes, targets, rows.columns.len())?;
    Ok(Scores {
        id,
        body: dense(rows, layer),
        count: targets,
        link: attributes.link()?,
        view: View::Plain,
        labels: Rc::default(),
    })
}

pub(super) fn classifier(
    attributes: Attributes<'_>,
    rows: &Rc<Rows>,
    id: usize,
) -> Result<Scores, ModelError> {
    let labels = attributes.labels("classlabels_ints", "classlabels_strings");
    let columns = rows.columns.len();
    let intercepts = attributes.floats("intercepts")?.len();
    let counted = if intercepts > 0 {
        intercepts
    } else {
        attributes.floats("coefficients")?.len() / columns
    };
    let mut layer = layer(attributes, counted, columns)?;
    let link = attributes.link()?;
    let mut count = counted;
    let mut view = View::Plain;
    if counted == 2 && link != Link::Softmax && mirrored(&layer) {
        // Exporters write both classes of two; the first says nothing that the second does not.
        layer.weights.remove(0);
        layer.bias.remove(0);
        count = 1;
    }
    if count == 1 {
        view = View::Pair { at: 0.0 };
    }
    let named = if count == 1 { 2 } else { count };
    if labels.len() != named {
        return Err(FORMAT.damaged(format!(
            "LinearClassifier has {} labels for {named} classes",
            labels.len()
        )));
    }
    Ok(Scores {
        id,
        body: dense(rows, layer),
        count,
        link,
        view,
        labels: labels.into(),
    })
}

fn mirrored(layer: &Layer) -> bool {
    let pairs = layer.weights[0].iter().zip(&layer.weights[1]);
    layer.bias[0] == -layer.bias[1] && pairs.into_iter().all(|(a, b)| *a == -b)
}
