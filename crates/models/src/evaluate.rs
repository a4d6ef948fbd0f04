//! A model in the clear, in f64: what the encrypted evaluation is measured against.

use crate::model::{Activation, Body, Decide, Layer, Linear, Link, Model, Node, Tree, Trees};

impl Model {
    /// The raw scores of a row, before the link. NaN stands for a missing value.
    ///
    /// A row that is too short is read as if the rest were missing; what it has too much is not looked at.
    pub fn scores(&self, row: &[f64]) -> Vec<f64> {
        match &self.body {
            Body::Linear(linear) => linear.scores(row),
            Body::Trees(trees) => trees.scores(row),
            Body::Mlp(mlp) => {
                let mut values: Vec<f64> = (0..self.features.len())
                    .map(|at| value_at(row, at))
                    .collect();
                for layer in &mlp.layers {
                    values = layer.apply(&values);
                }
                values
            }
        }
    }

    /// Scores after the link: predictions, or probabilities.
    pub fn linked(&self, scores: &[f64]) -> Vec<f64> {
        match self.output.link {
            Link::Identity => scores.to_vec(),
            Link::Logistic => scores.iter().map(|score| logistic(*score)).collect(),
            Link::LogisticShare => shares(scores.iter().map(|score| logistic(*score)).collect()),
            Link::Softmax => {
                // The greatest is taken off first, so that nothing overflows.
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                shares(scores.iter().map(|score| (score - top).exp()).collect())
            }
            Link::Exp => scores.iter().map(|score| score.exp()).collect(),
        }
    }

    /// The label that raw scores stand for; none for a regression.
    pub fn label(&self, scores: &[f64]) -> Option<&str> {
        match &self.output.decide {
            Decide::None => None,
            Decide::Threshold { at, below, above } => {
                Some(if *scores.first()? > *at { above } else { below })
            }
            Decide::Greatest { labels } => {
                let mut best = 0;
                for (at, score) in scores.iter().enumerate() {
                    if *score > scores[best] {
                        best = at;
                    }
                }
                labels.get(best).map(String::as_str)
            }
        }
    }
}

fn value_at(row: &[f64], at: usize) -> f64 {
    row.get(at).copied().unwrap_or(f64::NAN)
}

fn logistic(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

fn shares(mut parts: Vec<f64>) -> Vec<f64> {
    let sum: f64 = parts.iter().sum();
    for part in &mut parts {
        *part /= sum;
    }
    parts
}

fn weighted(weights: &[f64], inputs: &[f64], bias: f64) -> f64 {
    weights.iter().enumerate().fold(bias, |sum, (at, weight)| {
        sum + weight * value_at(inputs, at)
    })
}

impl Linear {
    fn scores(&self, row: &[f64]) -> Vec<f64> {
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(weights, bias)| weighted(weights, row, *bias))
            .collect()
    }
}

impl Layer {
    fn apply(&self, inputs: &[f64]) -> Vec<f64> {
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(weights, bias)| self.activation.apply(weighted(weights, inputs, *bias)))
            .collect()
    }
}

impl Activation {
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Self::Identity => value,
            Self::Relu => value.max(0.0),
            Self::Clip { min, max } => value.max(min).min(max),
            Self::Sigmoid => logistic(value),
            Self::Tanh => value.tanh(),
        }
    }
}

impl Trees {
    fn scores(&self, row: &[f64]) -> Vec<f64> {
        let mut scores = self.base.clone();
        for (score, value) in self.trees.iter().flat_map(|tree| tree.leaf(row)) {
            if let Some(sum) = scores.get_mut(*score as usize) {
                *sum += value;
            }
        }
        scores
    }
}

impl Tree {
    /// The values in the leaf that a row reaches. Ends, because a child's index is larger than its parent's.
    pub fn leaf(&self, row: &[f64]) -> &[(u32, f64)] {
        let mut at = 0;
        loop {
            match self.nodes.get(at as usize) {
                None => return &[],
                Some(Node::Leaf { values }) => return values,
                Some(Node::Split {
                    feature,
                    above,
                    if_above,
                    otherwise,
                    missing_above,
                }) => {
                    let value = value_at(row, *feature as usize);
                    let goes_above = if value.is_nan() {
                        *missing_above
                    } else {
                        value > *above
                    };
                    let next = if goes_above { *if_above } else { *otherwise };
                    if next <= at {
                        return &[];
                    }
                    at = next;
                }
            }
        }
    }
}
