//! CatBoost's JSON (`save_model("m.json", format="json")`): symmetric trees and nested ones. Inputs are compared in f32, by `x > border`.

use serde::Deserialize;

use crate::bounded;
use crate::build::{self, Draft, finite};
use crate::edge;
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Body, Link, Model, Output, SourceFormat, Tree, Trees};

const FORMAT: SourceFormat = SourceFormat::CatboostJson;
/// CatBoost's own bound: a symmetric tree has two to the power of its depth leaves.
const SYMMETRIC_DEPTH_MAX: usize = 16;

#[derive(Deserialize)]
struct File {
    features_info: Features,
    #[serde(default)]
    model_info: Info,
    #[serde(
        default,
        deserialize_with = "bounded::some_list::<_, _, { limits::TREES_MAX }>"
    )]
    oblivious_trees: Option<Vec<Symmetric>>,
    #[serde(
        default,
        deserialize_with = "bounded::some_list::<_, _, { limits::TREES_MAX }>"
    )]
    trees: Option<Vec<Nested>>,
    /// Scale, then bias: a number, or one a score.
    scale_and_bias: Option<(f64, OneOrMany)>,
}

#[derive(Deserialize)]
struct Features {
    #[serde(
        default,
        deserialize_with = "bounded::list::<_, _, { limits::FEATURES_MAX }>"
    )]
    float_features: Vec<Float>,
    #[serde(default)]
    categorical_features: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    text_features: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    embedding_features: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Float {
    flat_feature_index: usize,
    feature_index: usize,
    #[serde(default)]
    feature_id: String,
    #[serde(default)]
    nan_value_treatment: String,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    class_params: Option<Classes>,
    #[serde(default)]
    params: Option<Params>,
}

#[derive(Deserialize)]
struct Classes {
    #[serde(
        default,
        deserialize_with = "bounded::list::<_, _, { limits::SCORES_MAX }>"
    )]
    class_names: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Params {
    loss_function: Option<Loss>,
}

#[derive(Deserialize)]
struct Loss {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(f64),
    Many(Vec<f64>),
}

#[derive(Deserialize)]
struct Symmetric {
    leaf_values: Vec<f64>,
    /// Absent or null where the tree is one leaf.
    #[serde(default)]
    splits: Option<Vec<Split>>,
}

#[derive(Deserialize)]
struct Split {
    #[serde(default)]
    border: Option<f64>,
    #[serde(default)]
    float_feature_index: Option<usize>,
    split_type: String,
}

/// The JSON reader bounds how deep these are nested (128).
#[derive(Deserialize)]
struct Nested {
    left: Option<Box<Nested>>,
    right: Option<Box<Nested>>,
    split: Option<Split>,
    value: Option<OneOrMany>,
}

/// What the trees are read with.
struct Reader {
    /// Per float feature: whether a missing value passes every border.
    missing_above: Vec<bool>,
    scores: usize,
    scale: f64,
    nodes: usize,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Model, ModelError> {
    let file: File = serde_json::from_slice(bytes).map_err(json_error)?;
    let (features, missing_above) = features(&file.features_info)?;
    let (scale, bias) = match file.scale_and_bias {
        None => (1.0, OneOrMany::Many(Vec::new())),
        Some(pair) => pair,
    };
    let mut base = match bias {
        OneOrMany::One(bias) => vec![bias],
        OneOrMany::Many(biases) => biases,
    };
    if base.is_empty() {
        base.push(0.0);
    }
    within("scores", base.len(), limits::SCORES_MAX)?;
    let output = meaning(&file.model_info, base.len())?;
    let mut reader = Reader {
        missing_above,
        scores: base.len(),
        scale: finite(FORMAT, scale, || "its scale".to_owned())?,
        nodes: 0,
    };
    let trees = match (file.oblivious_trees, file.trees) {
        (Some(trees), None) => {
            within("trees", trees.len(), limits::TREES_MAX)?;
            let read = |(at, tree)| reader.symmetric(at, tree);
            trees
                .iter()
                .enumerate()
                .map(read)
                .collect::<Result<_, _>>()?
        }
        (None, Some(trees)) => {
            within("trees", trees.len(), limits::TREES_MAX)?;
            let read = |(at, tree)| reader.nested(at, tree);
            trees
                .iter()
                .enumerate()
                .map(read)
                .collect::<Result<_, _>>()?
        }
        _ => return Err(FORMAT.damaged("it has not one list of trees (oblivious_trees, or trees)")),
    };
    let model = Model {
        source: FORMAT,
        features,
        body: Body::Trees(Trees { trees, base }),
        output,
    };
    model.check()?;
    Ok(model)
}

/// Nested trees are the one thing in this format that is ever so deep.
fn json_error(error: serde_json::Error) -> ModelError {
    let what = error.to_string();
    if what.contains("recursion limit") {
        return FORMAT.unsupported(
            "trees that are nested more than 100 deep",
            "train with a smaller depth, or with grow_policy=\"SymmetricTree\"",
        );
    }
    FORMAT.damaged(what)
}

/// Names, and for each float feature whether NaN passes.
fn features(info: &Features) -> Result<(Vec<String>, Vec<bool>), ModelError> {
    for (number, what) in [
        (info.categorical_features.len(), "categorical features"),
        (info.text_features.len(), "text features"),
        (info.embedding_features.len(), "embedding features"),
    ] {
        if number > 0 {
            return Err(FORMAT.unsupported(
                format!("{number} {what}"),
                "one-hot encode categories, and turn the rest into numbers, before training",
            ));
        }
    }
    within("features", info.float_features.len(), limits::FEATURES_MAX)?;
    let mut names = Vec::new();
    let mut missing = Vec::new();
    for (at, float) in info.float_features.iter().enumerate() {
        if float.feature_index != at || float.flat_feature_index != at {
            return Err(FORMAT.damaged(format!("its feature {at} is not in its place")));
        }
        names.push(if float.feature_id.is_empty() {
            format!("f{at}")
        } else {
            float.feature_id.clone()
        });
        missing.push(match float.nan_value_treatment.as_str() {
            // NaN is greater than no border.
            "" | "AsIs" | "AsFalse" => false,
            "AsTrue" => true,
            other => {
                return Err(FORMAT.unsupported(
                    format!(
                        "the treatment {} of missing values",
                        other.chars().take(40).collect::<String>()
                    ),
                    "train with nan_mode Min, Max or Forbidden",
                ));
            }
        });
    }
    Ok((names, missing))
}

fn meaning(info: &Info, scores: usize) -> Result<Output, ModelError> {
    let named: Vec<String> = info
        .class_params
        .iter()
        .flat_map(|classes| &classes.class_names)
        .map(|name| match name {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    let labels = |count: usize| match named.len() {
        0 => Ok(build::numbered_labels(count)),
        len if len == count => Ok(named.clone()),
        len => Err(FORMAT.damaged(format!("it names {len} classes and has scores for {count}"))),
    };
    let loss = info
        .params
        .as_ref()
        .and_then(|params| params.loss_function.as_ref());
    let binary = |link| {
        let mut labels = labels(2)?.into_iter();
        let below = labels.next().unwrap_or_default();
        Ok(Output::binary(
            below,
            labels.next().unwrap_or_default(),
            link,
            0.0,
        ))
    };
    match loss.map(|loss| loss.kind.as_str()) {
        Some("Logloss" | "CrossEntropy") if scores == 1 => binary(Link::Logistic),
        Some("MultiClass") => Ok(Output::classes(labels(scores)?, Link::Softmax)),
        Some("MultiClassOneVsAll") => Ok(Output::classes(labels(scores)?, Link::Logistic)),
        Some("MultiLogloss" | "MultiCrossEntropy") => Ok(Output::values(scores, Link::Logistic)),
        Some("Poisson" | "Tweedie") => Ok(Output::values(scores, Link::Exp)),
        None if !named.is_empty() && scores == 1 => binary(Link::Logistic),
        None if !named.is_empty() => Ok(Output::classes(labels(scores)?, Link::Softmax)),
        Some(
            "RMSE" | "MAE" | "MAPE" | "Quantile" | "MultiQuantile" | "LogLinQuantile" | "Lq"
            | "Huber" | "Expectile" | "LogCosh" | "MultiRMSE" | "MultiRMSEWithMissingValues"
            | "PairLogit" | "PairLogitPairwise" | "YetiRank" | "YetiRankPairwise" | "QueryRMSE"
            | "QuerySoftMax" | "LambdaMart",
        )
        | None => Ok(Output::values(scores, Link::Identity)),
        Some(other) => Err(FORMAT.unsupported(
            format!("the loss function {}", other.chars().take(40).collect::<String>()),
            "use Logloss, CrossEntropy, MultiClass, MultiClassOneVsAll, MultiLogloss, RMSE, MAE, MAPE, Quantile, Huber, MultiRMSE, Poisson, Tweedie or a ranking loss",
        )),
    }
}

impl Reader {
    fn count(&mut self, nodes: usize) -> Result<(), ModelError> {
        self.nodes += nodes;
        within("tree nodes", self.nodes, limits::NODES_MAX)
    }

    fn split(
        &self,
        split: &Split,
        at: usize,
        if_above: usize,
        otherwise: usize,
    ) -> Result<Draft, ModelError> {
        if split.split_type != "FloatFeature" {
            return Err(FORMAT.unsupported(
                format!(
                    "a split of the kind {} in tree {at}",
                    split.split_type.chars().take(40).collect::<String>()
                ),
                "one-hot encode the categories before training, and name no cat_features",
            ));
        }
        let (Some(border), Some(feature)) = (split.border, split.float_feature_index) else {
            return Err(FORMAT.damaged(format!("a split of tree {at} has no border or no feature")));
        };
        let border = border as f32;
        finite(FORMAT, f64::from(border), || {
            format!("a border of tree {at}")
        })?;
        let missing_above = *self.missing_above.get(feature).ok_or_else(|| {
            FORMAT.damaged(format!(
                "tree {at} asks for feature {feature}, and there are {}",
                self.missing_above.len()
            ))
        })?;
        Ok(Draft::Split {
            feature: feature as u32,
            above: edge::above_f32(border),
            if_above,
            otherwise,
            missing_above,
        })
    }

    fn leaf(&self, values: &[f64], at: usize) -> Result<Draft, ModelError> {
        if values.len() != self.scores {
            return Err(FORMAT.damaged(format!(
                "a leaf of tree {at} has {} values for {} scores",
                values.len(),
                self.scores
            )));
        }
        let scaled = (0..).zip(values).map(|(score, value)| {
            let value = finite(FORMAT, value * self.scale, || {
                format!("a leaf value of tree {at}")
            })?;
            Ok((score, value))
        });
        Ok(Draft::Leaf {
            values: scaled.collect::<Result<_, ModelError>>()?,
        })
    }

    /// Split i decides bit i of the leaf's number: the root is the last split.
    fn symmetric(&mut self, at: usize, tree: &Symmetric) -> Result<Tree, ModelError> {
        let splits = tree.splits.as_deref().unwrap_or(&[]);
        within("splits above a leaf", splits.len(), SYMMETRIC_DEPTH_MAX)?;
        let leaves = 1_usize << splits.len();
        self.count(2 * leaves - 1)?;
        if tree.leaf_values.len() != leaves * self.scores {
            return Err(FORMAT.damaged(format!(
                "tree {at} has {} leaf values for {leaves} leaves and {} scores",
                tree.leaf_values.len(),
                self.scores
            )));
        }
        let mut drafts = Vec::with_capacity(2 * leaves - 1);
        // Node n of a complete tree has the children 2n + 1 and 2n + 2; the row of leaves is then in the order of their numbers.
        for (level, split) in splits.iter().rev().enumerate() {
            for node in (1_usize << level) - 1..(1 << (level + 1)) - 1 {
                drafts.push(Some(self.split(split, at, 2 * node + 2, 2 * node + 1)?));
            }
        }
        for values in tree.leaf_values.chunks(self.scores) {
            drafts.push(Some(self.leaf(values, at)?));
        }
        build::tree(FORMAT, at, drafts, 0)
    }

    fn nested(&mut self, at: usize, root: &Nested) -> Result<Tree, ModelError> {
        let mut waiting = vec![root];
        let mut drafts = Vec::new();
        let mut next = 0;
        while let Some(node) = waiting.get(next).copied() {
            next += 1;
            self.count(1)?;
            drafts.push(Some(
                match (&node.split, &node.left, &node.right, &node.value) {
                    (Some(split), Some(left), Some(right), None) => {
                        let first = waiting.len();
                        waiting.push(left);
                        waiting.push(right);
                        self.split(split, at, first + 1, first)?
                    }
                    (None, None, None, Some(OneOrMany::One(value))) => self.leaf(&[*value], at)?,
                    (None, None, None, Some(OneOrMany::Many(values))) => self.leaf(values, at)?,
                    _ => {
                        return Err(FORMAT.damaged(format!(
                            "a node of tree {at} is neither a split with two children nor a leaf"
                        )));
                    }
                },
            ));
        }
        build::tree(FORMAT, at, drafts, 0)
    }
}
