//! XGBoost's JSON (`save_model("m.json")`): gbtree, dart and gblinear. Inputs are compared in f32, and `x < t` goes left.

use serde::Deserialize;

use crate::bounded;
use crate::build::{self, Draft, finite};
use crate::edge;
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Body, Linear, Link, Model, Output, SourceFormat, Tree, Trees};

const FORMAT: SourceFormat = SourceFormat::XgboostJson;

#[derive(Deserialize)]
struct File {
    learner: Learner,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(
        default,
        deserialize_with = "bounded::list::<_, _, { limits::FEATURES_MAX }>"
    )]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: Params,
    objective: Objective,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Params {
    base_score: String,
    #[serde(default)]
    num_class: String,
    num_feature: String,
    #[serde(default)]
    num_target: String,
}

#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
enum Booster {
    Gbtree {
        model: Forest,
    },
    Dart {
        gbtree: Inner,
        weight_drop: Vec<f64>,
    },
    Gblinear {
        model: Weights,
    },
}

#[derive(Deserialize)]
struct Inner {
    model: Forest,
}

#[derive(Deserialize)]
struct Forest {
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::TREES_MAX }>")]
    tree_info: Vec<i64>,
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::TREES_MAX }>")]
    trees: Vec<RawTree>,
}

#[derive(Deserialize)]
struct Weights {
    weights: Vec<f64>,
}

#[derive(Deserialize)]
struct RawTree {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<u32>,
    /// Of a leaf: its value.
    split_conditions: Vec<f64>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<u8>,
    #[serde(default)]
    tree_param: TreeParam,
}

#[derive(Default, Deserialize)]
struct TreeParam {
    #[serde(default)]
    size_leaf_vector: String,
}

/// Old versions write false and true, new ones 0 and 1.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Truth(bool),
    Number(u8),
}

impl Flag {
    fn is_set(self) -> bool {
        match self {
            Self::Truth(truth) => truth,
            Self::Number(number) => number != 0,
        }
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<Model, ModelError> {
    let File { learner } =
        serde_json::from_slice(bytes).map_err(|error| FORMAT.damaged(error.to_string()))?;
    let params = &learner.learner_model_param;
    let feature_count = count(&params.num_feature, "num_feature")?;
    within("features", feature_count, limits::FEATURES_MAX)?;
    let classes = count(&params.num_class, "num_class")?;
    let scores = classes.max(count(&params.num_target, "num_target")?).max(1);
    within("scores", scores, limits::SCORES_MAX)?;
    let features = match learner.feature_names {
        names if names.is_empty() => build::numbered_features(feature_count),
        names if names.len() == feature_count => names,
        names => {
            return Err(FORMAT.damaged(format!(
                "it names {} features and has {feature_count}",
                names.len()
            )));
        }
    };
    let (output, to_margin) = meaning(&learner.objective.name, scores)?;
    let base = base_scores(&params.base_score, scores)?
        .into_iter()
        .map(|base| {
            finite(FORMAT, to_margin(base), || {
                "base_score, as a raw score,".to_owned()
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let body = match learner.gradient_booster {
        Booster::Gbtree { model } => Body::Trees(forest(model, None, base)?),
        Booster::Dart {
            gbtree,
            weight_drop,
        } => Body::Trees(forest(gbtree.model, Some(weight_drop), base)?),
        // XGBoost's linear predictor adds the first base score to every class, whatever the others are (3.2).
        Booster::Gblinear { model } => Body::Linear(linear(
            &model.weights,
            feature_count,
            vec![base[0]; scores],
        )?),
    };
    let model = Model {
        source: FORMAT,
        features,
        body,
        output,
    };
    model.check()?;
    Ok(model)
}

/// A count that is written as text; an absent one is 0.
fn count(text: &str, name: &str) -> Result<usize, ModelError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse()
        .map_err(|_| FORMAT.damaged(format!("{name} is \"{}\", which is no count", cut(text))))
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// `5E-1`, and since version 3.1 `[5E-1]`, or one a score.
fn base_scores(text: &str, scores: usize) -> Result<Vec<f64>, ModelError> {
    let wrong = || FORMAT.damaged(format!("base_score \"{}\" is no number", cut(text)));
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    within("base scores", inner.split(',').count(), limits::SCORES_MAX)?;
    let found = inner
        .split(',')
        .map(|part| {
            part.trim()
                .parse::<f32>()
                .map(f64::from)
                .map_err(|_| wrong())
        })
        .collect::<Result<Vec<_>, _>>()?;
    match found.len() {
        1 => Ok(vec![found[0]; scores]),
        len if len == scores => Ok(found),
        len => Err(FORMAT.damaged(format!("it has {len} base scores for {scores} scores"))),
    }
}

type ToMargin = fn(f64) -> f64;

/// What the scores mean, and how base_score (which is given as a prediction) becomes a raw score.
fn meaning(objective: &str, scores: usize) -> Result<(Output, ToMargin), ModelError> {
    let logit: ToMargin = |p| (p / (1.0 - p)).ln();
    let same: ToMargin = |s| s;
    let two = |link| Output::binary("0".to_owned(), "1".to_owned(), link, 0.0);
    match objective {
        "binary:logistic" if scores == 1 => Ok((two(Link::Logistic), logit)),
        "binary:logitraw" if scores == 1 => Ok((two(Link::Identity), same)),
        // Several targets: each a yes or no of its own.
        "binary:logistic" | "reg:logistic" => Ok((Output::values(scores, Link::Logistic), logit)),
        "multi:softprob" | "multi:softmax" => Ok((
            Output::classes(build::numbered_labels(scores), Link::Softmax),
            same,
        )),
        "count:poisson" | "reg:gamma" | "reg:tweedie" => {
            Ok((Output::values(scores, Link::Exp), f64::ln))
        }
        "reg:squarederror" | "reg:linear" | "reg:absoluteerror" | "reg:squaredlogerror"
        | "reg:pseudohubererror" | "reg:quantileerror" | "rank:pairwise" | "rank:ndcg"
        | "rank:map" => Ok((Output::values(scores, Link::Identity), same)),
        other => Err(FORMAT.unsupported(
            format!("the objective {}", cut(other)),
            "use binary:logistic, binary:logitraw, multi:softprob, multi:softmax, reg:squarederror, reg:absoluteerror, reg:logistic, reg:gamma, reg:tweedie, count:poisson or rank:*",
        )),
    }
}

fn linear(weights: &[f64], features: usize, base: Vec<f64>) -> Result<Linear, ModelError> {
    let scores = base.len();
    // A row a feature, then one of biases; in each one number a score.
    if weights.len() != (features + 1) * scores {
        return Err(FORMAT.damaged(format!(
            "gblinear has {} weights for {features} features and {scores} scores",
            weights.len()
        )));
    }
    let column = |score| weights.iter().skip(score).step_by(scores).copied();
    Ok(Linear {
        weights: (0..scores)
            .map(|score| column(score).take(features).collect())
            .collect(),
        bias: base
            .iter()
            .enumerate()
            .map(|(score, base)| base + weights[features * scores + score])
            .collect(),
    })
}

fn forest(forest: Forest, weights: Option<Vec<f64>>, base: Vec<f64>) -> Result<Trees, ModelError> {
    let number = forest.trees.len();
    within("trees", number, limits::TREES_MAX)?;
    if forest.tree_info.len() != number {
        return Err(FORMAT.damaged(format!(
            "tree_info speaks of {} trees and there are {number}",
            forest.tree_info.len()
        )));
    }
    if weights
        .as_ref()
        .is_some_and(|weights| weights.len() != number)
    {
        return Err(FORMAT.damaged("weight_drop has not one weight a tree"));
    }
    let mut trees = Vec::with_capacity(number);
    let mut nodes = 0;
    for (at, (raw, score)) in forest.trees.into_iter().zip(forest.tree_info).enumerate() {
        nodes += raw.left_children.len();
        within("tree nodes", nodes, limits::NODES_MAX)?;
        let score = u32::try_from(score)
            .ok()
            .filter(|score| (*score as usize) < base.len())
            .ok_or_else(|| {
                FORMAT.damaged(format!("tree {at} adds to score {score} of {}", base.len()))
            })?;
        let weight = weights.as_ref().map_or(1.0, |weights| weights[at]);
        trees.push(one_tree(raw, at, score, weight)?);
    }
    Ok(Trees { trees, base })
}

fn one_tree(raw: RawTree, at: usize, score: u32, weight: f64) -> Result<Tree, ModelError> {
    let len = raw.left_children.len();
    let lengths = [
        raw.right_children.len(),
        raw.split_indices.len(),
        raw.split_conditions.len(),
        raw.default_left.len(),
    ];
    if lengths.iter().any(|other| *other != len)
        || (!raw.split_type.is_empty() && raw.split_type.len() != len)
    {
        return Err(FORMAT.damaged(format!("the lists of tree {at} have different lengths")));
    }
    if raw.split_type.iter().any(|kind| *kind != 0) {
        return Err(FORMAT.unsupported(
            format!("a categorical split in tree {at}"),
            "one-hot encode the categories before training, or train with enable_categorical=False",
        ));
    }
    if count(&raw.tree_param.size_leaf_vector, "size_leaf_vector")? > 1 {
        return Err(FORMAT.unsupported(
            "leaves with a vector of values",
            "train with multi_strategy=\"one_output_per_tree\"",
        ));
    }
    let mut drafts = Vec::with_capacity(len);
    for node in 0..len {
        let place = || format!("the threshold or value of node {node} of tree {at}");
        let condition = raw.split_conditions[node] as f32;
        let condition_is = finite(FORMAT, f64::from(condition), place)?;
        let child = |index: i64| usize::try_from(index).unwrap_or(usize::MAX);
        drafts.push(Some(if raw.left_children[node] == -1 {
            Draft::Leaf {
                values: vec![(score, finite(FORMAT, condition_is * weight, place)?)],
            }
        } else {
            Draft::Split {
                feature: raw.split_indices[node],
                above: edge::at_least_f32(condition),
                if_above: child(raw.right_children[node]),
                otherwise: child(raw.left_children[node]),
                missing_above: !raw.default_left[node].is_set(),
            }
        }));
    }
    build::tree(FORMAT, at, drafts, 0)
}
