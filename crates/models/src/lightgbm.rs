//! LightGBM's text (`save_model("m.txt")`). Inputs are compared in f64, and `x <= t` goes left.

use std::collections::HashMap;

use crate::build::{self, Draft, finite};
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Body, Link, Model, Output, SourceFormat, Tree, Trees};

const FORMAT: SourceFormat = SourceFormat::LightgbmText;

/// Bits of `decision_type`.
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;

/// Keys and values of one paragraph: the head of the file, or a tree.
type Section<'a> = HashMap<&'a str, &'a str>;

pub(crate) fn read(text: &str) -> Result<Model, ModelError> {
    let (head, sections) = split(text)?;
    let scores = number(&head, "num_tree_per_iteration")?;
    within("scores", scores, limits::SCORES_MAX)?;
    if scores == 0 {
        return Err(FORMAT.damaged("num_tree_per_iteration is 0"));
    }
    let feature_count = number(&head, "max_feature_idx")?.saturating_add(1);
    within("features", feature_count, limits::FEATURES_MAX)?;
    let features: Vec<String> = field(&head, "feature_names")?
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    if features.len() != feature_count {
        return Err(FORMAT.damaged(format!(
            "it names {} features and has {feature_count}",
            features.len()
        )));
    }
    let (output, sigmoid) = meaning(head.get("objective").copied().unwrap_or(""), scores)?;
    let rounds = sections.len() / scores;
    if rounds * scores != sections.len() {
        return Err(FORMAT.damaged(format!(
            "it has {} trees, and {scores} in each round",
            sections.len()
        )));
    }
    let averaged = head.contains_key("average_output");
    let factor = if averaged {
        sigmoid / rounds.max(1) as f64
    } else {
        sigmoid
    };
    let mut trees = Vec::with_capacity(sections.len());
    let mut nodes = 0;
    for (at, section) in sections.iter().enumerate() {
        let leaves = number(section, "num_leaves")?;
        nodes += leaves.saturating_mul(2);
        within("tree nodes", nodes, limits::NODES_MAX)?;
        trees.push(one_tree(section, at, leaves, (at % scores) as u32, factor)?);
    }
    let model = Model {
        source: FORMAT,
        features,
        body: Body::Trees(Trees {
            trees,
            base: vec![0.0; scores],
        }),
        output,
    };
    model.check()?;
    Ok(model)
}

/// The head, and a section a tree; what follows the trees is not looked at.
fn split(text: &str) -> Result<(Section<'_>, Vec<Section<'_>>), ModelError> {
    let mut head = Section::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut ended = false;
    for line in text.lines().map(str::trim) {
        if line == "end of trees" {
            ended = true;
            break;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if key == "Tree" {
            within("trees", sections.len() + 1, limits::TREES_MAX)?;
            if value.parse() != Ok(sections.len()) {
                return Err(FORMAT.damaged(format!(
                    "tree {} is missing: there is Tree={}",
                    sections.len(),
                    value.chars().take(20).collect::<String>()
                )));
            }
            sections.push(Section::new());
        } else if !key.is_empty() {
            let section = sections.last_mut().unwrap_or(&mut head);
            if section.insert(key, value).is_some() {
                return Err(FORMAT.damaged(format!(
                    "{} is given twice",
                    key.chars().take(40).collect::<String>()
                )));
            }
        }
    }
    if !ended {
        return Err(FORMAT.damaged("the line \"end of trees\" is missing: the file is cut off"));
    }
    Ok((head, sections))
}

fn field<'a>(section: &Section<'a>, key: &str) -> Result<&'a str, ModelError> {
    section
        .get(key)
        .copied()
        .ok_or_else(|| FORMAT.damaged(format!("{key} is missing")))
}

fn number(section: &Section<'_>, key: &str) -> Result<usize, ModelError> {
    field(section, key)?
        .parse()
        .map_err(|_| FORMAT.damaged(format!("{key} is no count")))
}

/// A list of exactly `len` numbers.
fn list<T: std::str::FromStr>(
    section: &Section<'_>,
    key: &str,
    len: usize,
    at: usize,
) -> Result<Vec<T>, ModelError> {
    let mut found = Vec::new();
    for part in field(section, key)?.split_ascii_whitespace() {
        found.push(part.parse().map_err(|_| {
            FORMAT.damaged(format!(
                "{key} of tree {at} has something that is no number"
            ))
        })?);
    }
    if found.len() != len {
        return Err(FORMAT.damaged(format!(
            "{key} of tree {at} has {} numbers instead of {len}",
            found.len()
        )));
    }
    Ok(found)
}

/// What the scores mean, and the factor of a logistic link (`sigmoid`), which goes into the leaves.
fn meaning(objective: &str, scores: usize) -> Result<(Output, f64), ModelError> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or("");
    let mut sigmoid = 1.0;
    for word in words {
        if let Some(value) = word.strip_prefix("sigmoid:") {
            sigmoid = value.parse().unwrap_or(f64::NAN);
        } else if word == "sqrt" {
            return Err(FORMAT.unsupported(
                "an objective of square roots (reg_sqrt)",
                "train with reg_sqrt=false, on targets that you have transformed yourself",
            ));
        }
    }
    if !(sigmoid.is_finite() && sigmoid > 0.0) {
        return Err(FORMAT.damaged("the parameter sigmoid is not a number above 0"));
    }
    let labels = || build::numbered_labels(scores);
    let output = match name {
        "binary" if scores == 1 => {
            Output::binary("0".to_owned(), "1".to_owned(), Link::Logistic, 0.0)
        }
        "multiclass" | "softmax" => Output::classes(labels(), Link::Softmax),
        "multiclassova" | "multiclass_ova" | "ova" | "ovr" => {
            Output::classes(labels(), Link::Logistic)
        }
        "cross_entropy" | "xentropy" => Output::values(scores, Link::Logistic),
        "poisson" | "gamma" | "tweedie" => Output::values(scores, Link::Exp),
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
        | "rank_xendcg" | "custom" | "none" | "" => Output::values(scores, Link::Identity),
        other => {
            return Err(FORMAT.unsupported(
                format!("the objective {}", other.chars().take(40).collect::<String>()),
                "use binary, multiclass, multiclassova, regression, regression_l1, huber, fair, quantile, mape, poisson, gamma, tweedie, cross_entropy, lambdarank or rank_xendcg",
            ));
        }
    };
    Ok((output, sigmoid))
}

fn one_tree(
    section: &Section<'_>,
    at: usize,
    leaves: usize,
    score: u32,
    factor: f64,
) -> Result<Tree, ModelError> {
    if section.get("is_linear").is_some_and(|flag| *flag != "0") {
        return Err(FORMAT.unsupported("linear trees", "train with linear_tree=false"));
    }
    if section.get("num_cat").is_some_and(|number| *number != "0") {
        return Err(categorical(at));
    }
    if leaves == 0 {
        return Err(FORMAT.damaged(format!("tree {at} has no leaves")));
    }
    let splits = leaves - 1;
    let values: Vec<f64> = list(section, "leaf_value", leaves, at)?;
    let mut drafts = Vec::new();
    if splits > 0 {
        let features: Vec<u32> = list(section, "split_feature", splits, at)?;
        let thresholds: Vec<f64> = list(section, "threshold", splits, at)?;
        let kinds: Vec<u8> = list(section, "decision_type", splits, at)?;
        let left: Vec<i64> = list(section, "left_child", splits, at)?;
        let right: Vec<i64> = list(section, "right_child", splits, at)?;
        // A leaf is named by its number with all bits turned over.
        let child = |index: i64| match usize::try_from(index) {
            Ok(split) if split < splits => split,
            Ok(_) => usize::MAX,
            Err(_) => {
                usize::try_from(!index).map_or(usize::MAX, |leaf| splits.saturating_add(leaf))
            }
        };
        for node in 0..splits {
            let threshold = finite(FORMAT, thresholds[node], || {
                format!("the threshold of node {node} of tree {at}")
            })?;
            drafts.push(Some(Draft::Split {
                feature: features[node],
                above: threshold,
                if_above: child(right[node]),
                otherwise: child(left[node]),
                missing_above: missing_above(kinds[node], threshold, at)?,
            }));
        }
    }
    for (leaf, value) in values.iter().enumerate() {
        let value = finite(FORMAT, value * factor, || {
            format!("the value of leaf {leaf} of tree {at}")
        })?;
        drafts.push(Some(Draft::Leaf {
            values: vec![(score, value)],
        }));
    }
    build::tree(FORMAT, at, drafts, 0)
}

fn categorical(at: usize) -> ModelError {
    FORMAT.unsupported(
        format!("a categorical split in tree {at}"),
        "one-hot encode the categories before training, and name no categorical_feature",
    )
}

/// Where a missing value goes. Kind of missing: 0 none (NaN counts as 0), 1 zero (so do NaN and 0, on a side of their own), 2 NaN.
fn missing_above(kind: u8, threshold: f64, at: usize) -> Result<bool, ModelError> {
    if kind & CATEGORICAL != 0 {
        return Err(categorical(at));
    }
    let default_above = kind & DEFAULT_LEFT == 0;
    let zero_above = 0.0 > threshold;
    match (kind >> 2) & 3 {
        0 => Ok(zero_above),
        // Values up to this far from zero count as zero: on which side of the threshold they are must not differ among them.
        1 if default_above == zero_above && threshold.abs() >= 1e-34 => Ok(default_above),
        1 => Err(FORMAT.unsupported(
            format!("zeroes that tree {at} sends another way than their value says"),
            "train with zero_as_missing=false, and with NaN for what is missing",
        )),
        2 => Ok(default_above),
        _ => Err(FORMAT.damaged(format!("tree {at} has a decision type that does not exist"))),
    }
}
