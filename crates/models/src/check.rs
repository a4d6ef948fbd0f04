//! The rules of `model.rs`, held against a model: what passes cannot make a reader of it index out of range or loop.

use std::collections::HashSet;

use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Activation, Body, Decide, Layer, Linear, Mlp, Model, Node, Tree, Trees};

impl Model {
    /// Whether every rule of the representation holds. The readers call it last; whoever puts a model together by hand should too.
    pub fn check(&self) -> Result<(), ModelError> {
        let features = self.features.len();
        within("features", features, limits::FEATURES_MAX)?;
        if features == 0 {
            return Err(invalid("it has no features".to_owned()));
        }
        names_differ("feature", &self.features)?;
        let scores = self.output.names.len();
        within("scores", scores, limits::SCORES_MAX)?;
        if scores == 0 {
            return Err(invalid("it gives no score".to_owned()));
        }
        names_are_short("score", &self.output.names)?;
        self.check_decision(scores)?;
        match &self.body {
            Body::Linear(linear) => linear.check(features, scores),
            Body::Trees(trees) => trees.check(features, scores),
            Body::Mlp(mlp) => mlp.check(features, scores),
        }
    }

    fn check_decision(&self, scores: usize) -> Result<(), ModelError> {
        match &self.output.decide {
            Decide::None => Ok(()),
            Decide::Threshold { at, below, above } => {
                finite("the threshold of its decision", *at)?;
                names_differ("label", &[below.clone(), above.clone()])?;
                if scores != 1 {
                    return Err(invalid(format!(
                        "it decides by a threshold on one score and has {scores}"
                    )));
                }
                Ok(())
            }
            Decide::Greatest { labels } => {
                names_differ("label", labels)?;
                if labels.len() != scores {
                    return Err(invalid(format!(
                        "it has {} labels for {scores} scores",
                        labels.len()
                    )));
                }
                Ok(())
            }
        }
    }
}

fn invalid(what: String) -> ModelError {
    ModelError::Invalid(what)
}

fn finite(what: &str, value: f64) -> Result<(), ModelError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(invalid(format!(
        "{what} is {value}, which is not a finite number"
    )))
}

fn names_are_short(what: &str, names: &[String]) -> Result<(), ModelError> {
    match names
        .iter()
        .find(|name| name.len() > limits::NAME_BYTES_MAX)
    {
        None => Ok(()),
        Some(name) => Err(invalid(format!(
            "a {what} has a name of {} bytes; {} are allowed",
            name.len(),
            limits::NAME_BYTES_MAX
        ))),
    }
}

fn names_differ(what: &str, names: &[String]) -> Result<(), ModelError> {
    names_are_short(what, names)?;
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(invalid(format!(
            "two {what}s are called \"{name}\"; give each a name of its own"
        ))),
    }
}

/// A matrix with as many rows as there are biases, each as wide as the input.
fn check_dense(
    what: &str,
    weights: &[Vec<f64>],
    bias: &[f64],
    inputs: usize,
) -> Result<(), ModelError> {
    if weights.len() != bias.len() {
        return Err(invalid(format!(
            "{what} has {} rows of weights and {} biases",
            weights.len(),
            bias.len()
        )));
    }
    if let Some(row) = weights.iter().find(|row| row.len() != inputs) {
        return Err(invalid(format!(
            "{what} has a row of {} weights for {inputs} inputs",
            row.len()
        )));
    }
    for value in weights.iter().flatten().chain(bias) {
        finite(&format!("a weight of {what}"), *value)?;
    }
    Ok(())
}

impl Linear {
    fn check(&self, features: usize, scores: usize) -> Result<(), ModelError> {
        if self.bias.len() != scores {
            return Err(invalid(format!(
                "its linear part gives {} scores and {scores} are named",
                self.bias.len()
            )));
        }
        within("weights", scores * features, limits::ELEMENTS_MAX)?;
        check_dense("its linear part", &self.weights, &self.bias, features)
    }
}

impl Mlp {
    fn check(&self, features: usize, scores: usize) -> Result<(), ModelError> {
        within("layers", self.layers.len(), limits::LAYERS_MAX)?;
        let mut inputs = features;
        let mut weights = 0;
        for (at, layer) in self.layers.iter().enumerate() {
            within("units in a layer", layer.bias.len(), limits::UNITS_MAX)?;
            weights += inputs * layer.bias.len();
            within("weights", weights, limits::ELEMENTS_MAX)?;
            layer.check(at, inputs)?;
            inputs = layer.bias.len();
        }
        if self.layers.is_empty() || inputs != scores {
            return Err(invalid(format!(
                "its last layer gives {inputs} scores and {scores} are named"
            )));
        }
        Ok(())
    }
}

impl Layer {
    fn check(&self, at: usize, inputs: usize) -> Result<(), ModelError> {
        check_dense(&format!("layer {at}"), &self.weights, &self.bias, inputs)?;
        match self.activation {
            Activation::Clip { min, max } => {
                finite("the lower bound of a clip", min)?;
                finite("the upper bound of a clip", max)?;
                if min > max {
                    return Err(invalid(format!(
                        "layer {at} clips to {min}…{max}, which is empty"
                    )));
                }
                Ok(())
            }
            Activation::Identity | Activation::Relu | Activation::Sigmoid | Activation::Tanh => {
                Ok(())
            }
        }
    }
}

impl Trees {
    fn check(&self, features: usize, scores: usize) -> Result<(), ModelError> {
        within("trees", self.trees.len(), limits::TREES_MAX)?;
        let nodes = self.trees.iter().map(|tree| tree.nodes.len()).sum();
        within("tree nodes", nodes, limits::NODES_MAX)?;
        if self.base.len() != scores {
            return Err(invalid(format!(
                "its trees give {} scores and {scores} are named",
                self.base.len()
            )));
        }
        for base in &self.base {
            finite("a base score", *base)?;
        }
        let mut values = 0;
        for (at, tree) in self.trees.iter().enumerate() {
            values += tree.check(at, features, scores)?;
            within("leaf values", values, limits::LEAF_VALUES_MAX)?;
        }
        Ok(())
    }
}

impl Tree {
    /// How many values its leaves have.
    fn check(&self, tree: usize, features: usize, scores: usize) -> Result<usize, ModelError> {
        if self.nodes.is_empty() {
            return Err(invalid(format!("tree {tree} has no nodes")));
        }
        let mut depths: Vec<Option<usize>> = vec![None; self.nodes.len()];
        depths[0] = Some(0);
        let mut count = 0;
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(depth) = depths[at] else {
                return Err(invalid(format!(
                    "node {at} of tree {tree} hangs on no other node"
                )));
            };
            match node {
                Node::Split {
                    feature,
                    above,
                    if_above,
                    otherwise,
                    missing_above: _,
                } => {
                    if *feature as usize >= features {
                        return Err(invalid(format!(
                            "node {at} of tree {tree} asks for feature {feature}, and there are {features}"
                        )));
                    }
                    finite(
                        &format!("the threshold of node {at} of tree {tree}"),
                        *above,
                    )?;
                    within("splits above a leaf", depth + 1, limits::DEPTH_MAX)?;
                    for child in [*if_above as usize, *otherwise as usize] {
                        if child <= at || child >= depths.len() {
                            return Err(invalid(format!(
                                "node {at} of tree {tree} leads to node {child}; a child comes after its parent and before node {}",
                                depths.len()
                            )));
                        }
                        if depths[child].replace(depth + 1).is_some() {
                            return Err(invalid(format!(
                                "node {child} of tree {tree} hangs on two others"
                            )));
                        }
                    }
                }
                Node::Leaf { values } => {
                    check_leaf(values, tree, at, scores)?;
                    count += values.len();
                }
            }
        }
        Ok(count)
    }

    /// The most splits between the root and a leaf, 0 for a single leaf.
    pub fn depth(&self) -> usize {
        let mut depths = vec![0; self.nodes.len()];
        let mut deepest = 0;
        for (at, node) in self.nodes.iter().enumerate() {
            deepest = deepest.max(depths[at]);
            if let Node::Split {
                if_above,
                otherwise,
                ..
            } = node
            {
                for child in [*if_above as usize, *otherwise as usize] {
                    if child < depths.len() {
                        depths[child] = depths[at] + 1;
                    }
                }
            }
        }
        deepest
    }
}

fn check_leaf(
    values: &[(u32, f64)],
    tree: usize,
    at: usize,
    scores: usize,
) -> Result<(), ModelError> {
    let mut next = 0;
    for (score, value) in values {
        if (*score as usize) < next || *score as usize >= scores {
            return Err(invalid(format!(
                "leaf {at} of tree {tree} adds to score {score} out of order or range: there are {scores}"
            )));
        }
        next = *score as usize + 1;
        finite(&format!("a value of leaf {at} of tree {tree}"), *value)?;
    }
    Ok(())
}
