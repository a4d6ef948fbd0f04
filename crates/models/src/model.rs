//! The one form that every file is read into: linear models, sums of trees, and small networks, with what their scores mean.
//!
//! Rules that hold for every model that [`crate::read_bytes`] gives ([`Model::check`] holds them):
//! - a row has `features.len()` values; a feature's index is below that;
//! - there are `output.names.len()` scores, 1 at least; every part of the body gives exactly so many;
//! - every number (weight, bias, threshold, leaf value) is finite;
//! - node 0 of a tree is its root, a child's index is larger than its parent's, and every other node has exactly one parent;
//! - a split sends a row on by `x > above`, compared in f64. Where the library compares in f32, `above` is the f64 edge at
//!   which the rounded value crosses the library's threshold (see `edge.rs`): no cast is needed, and none changes an answer.

use std::fmt;

/// The library, or the exchange format, that wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    Onnx,
    XgboostJson,
    LightgbmText,
    CatboostJson,
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::XgboostJson => "XGBoost",
            Self::LightgbmText => "LightGBM",
            Self::CatboostJson => "CatBoost",
        })
    }
}

/// A trained model: a row of features in, raw scores out, and what those scores mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub source: SourceFormat,
    /// One name a column, in the order of a row; all different. `f0`, `f1`, … where the file has none.
    pub features: Vec<String>,
    pub body: Body,
    pub output: Output,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Linear(Linear),
    Trees(Trees),
    Mlp(Mlp),
}

/// score\[s\] = bias\[s\] + Σ weights\[s\]\[i\] · x\[i\]. Scalers before it are folded in. A missing value makes the scores NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Per score, per feature.
    pub weights: Vec<Vec<f64>>,
    /// Per score.
    pub bias: Vec<f64>,
}

/// score\[s\] = base\[s\] + Σ over trees of the value for `s` in the leaf that the row reaches (0 where the leaf has none).
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    pub trees: Vec<Tree>,
    /// Per score.
    pub base: Vec<f64>,
}

/// Node 0 is the root; children have larger indexes than their parent, and one parent each. A single leaf is a tree too.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Split {
        feature: u32,
        /// The test is `x > above`, in f64.
        above: f64,
        if_above: u32,
        otherwise: u32,
        /// Whether a missing value (NaN) goes to `if_above`.
        missing_above: bool,
    },
    Leaf {
        /// (score, value), each score at most once, in rising order. Values are final: learning rate, weights and averaging are in them.
        values: Vec<(u32, f64)>,
    },
}

/// Dense layers, one after the other. The scores are what the last one gives. Scalers before the first are folded into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    pub layers: Vec<Layer>,
}

/// unit\[u\] = activation(bias\[u\] + Σ weights\[u\]\[i\] · input\[i\]).
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Per unit, per input.
    pub weights: Vec<Vec<f64>>,
    /// Per unit.
    pub bias: Vec<f64>,
    pub activation: Activation,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    Relu,
    /// min ≤ max, both finite.
    Clip {
        min: f64,
        max: f64,
    },
    Sigmoid,
    Tanh,
}

/// What the scores mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// One a score: the class that it speaks for (of a model with one score for two classes: the one above), or the target.
    pub names: Vec<String>,
    pub link: Link,
    pub decide: Decide,
}

/// From raw scores to what the library calls its prediction or its probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Identity,
    /// 1 / (1 + e^-s) of each score by itself.
    Logistic,
    /// Logistic of each score, then each divided by their sum: one-against-the-rest classifiers.
    LogisticShare,
    Softmax,
    /// e^s: generalised linear models with a log link.
    Exp,
}

/// From raw scores (before the link) to a label.
#[derive(Clone, Debug, PartialEq)]
pub enum Decide {
    /// A regression, or a ranking: there is no label.
    None,
    /// Of a model with one score: `above` where the score is greater than `at`, else `below`.
    Threshold {
        at: f64,
        below: String,
        above: String,
    },
    /// The label of the greatest score, of the first one of those that are equal. One label a score.
    Greatest { labels: Vec<String> },
}

impl Decide {
    /// In the model's order; none of a regression.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Self::None => vec![],
            Self::Threshold { below, above, .. } => vec![below.clone(), above.clone()],
            Self::Greatest { labels } => labels.clone(),
        }
    }
}
