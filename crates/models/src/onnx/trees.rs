//! TreeEnsembleClassifier and TreeEnsembleRegressor of ai.onnx.ml 1 to 4, and TreeEnsemble of 5.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::attributes::{Attributes, FORMAT};
use super::value::{Draft, Rows, Scores, View};
use crate::build::{self, Draft as NodeDraft, finite};
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Link, Tree, Trees};

/// A split's comparison: where it holds the row takes the branch called true.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Leq,
    Lt,
    Gte,
    Gt,
}

fn no_mode(mode: &str) -> ModelError {
    FORMAT.unsupported(
        format!("splits of the kind {mode}"),
        "trees are read whose splits are BRANCH_LEQ, BRANCH_LT, BRANCH_GT or BRANCH_GTE: one-hot encode categories before training",
    )
}

fn cut(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(40).collect()
}

/// None is a leaf.
fn mode(text: &[u8]) -> Result<Option<Mode>, ModelError> {
    Ok(Some(match text {
        b"LEAF" => return Ok(None),
        b"BRANCH_LEQ" => Mode::Leq,
        b"BRANCH_LT" => Mode::Lt,
        b"BRANCH_GTE" => Mode::Gte,
        b"BRANCH_GT" => Mode::Gt,
        other => return Err(no_mode(&cut(other))),
    }))
}

/// A split of a column as one of the feature under it.
pub(super) struct Branch {
    pub mode: Mode,
    pub column: i64,
    pub threshold: f64,
    pub if_true: usize,
    pub if_false: usize,
    pub missing_true: bool,
}

pub(super) fn split(rows: &Rows, branch: &Branch, place: &str) -> Result<NodeDraft, ModelError> {
    let column = usize::try_from(branch.column)
        .ok()
        .and_then(|at| rows.columns.get(at))
        .ok_or_else(|| {
            FORMAT.damaged(format!(
                "{place} asks for feature {}, and there are {}",
                branch.column,
                rows.columns.len()
            ))
        })?;
    // A split that only missing values decide has an infinite threshold: HistGradientBoosting writes them.
    let all_below = branch.threshold == f64::INFINITY && matches!(branch.mode, Mode::Leq);
    if !all_below {
        finite(FORMAT, branch.threshold, || {
            format!("the threshold of {place}")
        })?;
    }
    let or_equal = matches!(branch.mode, Mode::Lt | Mode::Gte);
    let true_is_above = matches!(branch.mode, Mode::Gt | Mode::Gte);
    let (above, falls) = if all_below {
        (f64::MAX, false)
    } else {
        column.edge(branch.threshold, or_equal)
    };
    // NaN passes no comparison: it takes the branch called false unless it is told otherwise.
    let missing_with_above = branch.missing_true == true_is_above;
    let (above_child, below_child) = if true_is_above {
        (branch.if_true, branch.if_false)
    } else {
        (branch.if_false, branch.if_true)
    };
    let (if_above, otherwise, missing_above) = if falls {
        (below_child, above_child, !missing_with_above)
    } else {
        (above_child, below_child, missing_with_above)
    };
    Ok(NodeDraft::Split {
        feature: column.feature,
        above,
        if_above,
        otherwise,
        missing_above,
    })
}

/// The lists that say which leaf adds what to which score.
struct LeafLists<'a> {
    trees: &'a [i64],
    nodes: &'a [i64],
    ids: &'a [i64],
    weights: Vec<f64>,
}

impl<'a> LeafLists<'a> {
    fn read(attributes: Attributes<'a>, kind: &str) -> Result<Self, ModelError> {
        let lists = Self {
            trees: attributes.ints(&format!("{kind}_treeids")),
            nodes: attributes.ints(&format!("{kind}_nodeids")),
            ids: attributes.ints(&format!("{kind}_ids")),
            weights: attributes.floats(&format!("{kind}_weights"))?,
        };
        let len = lists.ids.len();
        within("leaf values", len, limits::LEAF_VALUES_MAX)?;
        if [lists.trees.len(), lists.nodes.len(), lists.weights.len()] != [len; 3] {
            return Err(FORMAT.damaged(format!("the lists {kind}_* have different lengths")));
        }
        Ok(lists)
    }
}

/// (tree, node) as the file numbers them, to values by score.
type Leaves = HashMap<(i64, i64), BTreeMap<u32, f64>>;

fn leaves(
    lists: &LeafLists<'_>,
    scores: usize,
    single: bool,
    factor: f64,
) -> Result<Leaves, ModelError> {
    let mut leaves = Leaves::new();
    for (at, id) in lists.ids.iter().enumerate() {
        let score = if single { 0 } else { *id };
        let score = u32::try_from(score)
            .ok()
            .filter(|score| (*score as usize) < scores)
            .ok_or_else(|| FORMAT.damaged(format!("a leaf adds to score {id} of {scores}")))?;
        let value = finite(FORMAT, lists.weights[at] * factor, || {
            format!(
                "a value of leaf {} of tree {}",
                lists.nodes[at], lists.trees[at]
            )
        })?;
        *leaves
            .entry((lists.trees[at], lists.nodes[at]))
            .or_default()
            .entry(score)
            .or_insert(0.0) += value;
    }
    Ok(leaves)
}

fn ensemble(
    attributes: Attributes<'_>,
    rows: &Rows,
    mut leaves: Leaves,
) -> Result<Vec<Tree>, ModelError> {
    let tree_ids = attributes.ints("nodes_treeids");
    let node_ids = attributes.ints("nodes_nodeids");
    let features = attributes.ints("nodes_featureids");
    let modes = attributes.texts("nodes_modes");
    let thresholds = attributes.floats("nodes_values")?;
    let if_true = attributes.ints("nodes_truenodeids");
    let if_false = attributes.ints("nodes_falsenodeids");
    let missing = attributes.ints("nodes_missing_value_tracks_true");
    let len = tree_ids.len();
    within("tree nodes", len, limits::NODES_MAX)?;
    let lengths = [
        node_ids.len(),
        features.len(),
        modes.len(),
        thresholds.len(),
        if_true.len(),
        if_false.len(),
    ];
    if lengths != [len; 6] || !(missing.is_empty() || missing.len() == len) {
        return Err(FORMAT.damaged("the lists nodes_* have different lengths"));
    }
    // The nodes of each tree, in the order of the file: the first is the root.
    let mut order: Vec<i64> = Vec::new();
    let mut members: HashMap<i64, Vec<usize>> = HashMap::new();
    let mut place_in_tree = HashMap::with_capacity(len);
    for at in 0..len {
        let nodes = members.entry(tree_ids[at]).or_insert_with(|| {
            order.push(tree_ids[at]);
            Vec::new()
        });
        if place_in_tree
            .insert((tree_ids[at], node_ids[at]), nodes.len())
            .is_some()
        {
            return Err(FORMAT.damaged(format!(
                "tree {} has two nodes with the number {}",
                tree_ids[at], node_ids[at]
            )));
        }
        nodes.push(at);
    }
    within("trees", order.len(), limits::TREES_MAX)?;
    let mut trees = Vec::with_capacity(order.len());
    for (number, tree) in order.iter().enumerate() {
        let nodes = members.get(tree).map_or(&[][..], Vec::as_slice);
        let child = |id: i64| {
            place_in_tree
                .get(&(*tree, id))
                .copied()
                .unwrap_or(usize::MAX)
        };
        let mut drafts = Vec::with_capacity(nodes.len());
        for at in nodes.iter().copied() {
            let place = format!("node {} of tree {tree}", node_ids[at]);
            drafts.push(Some(match mode(&modes[at])? {
                None => NodeDraft::Leaf {
                    values: leaves
                        .remove(&(*tree, node_ids[at]))
                        .unwrap_or_default()
                        .into_iter()
                        .collect(),
                },
                Some(mode) => split(
                    rows,
                    &Branch {
                        mode,
                        column: features[at],
                        threshold: thresholds[at],
                        if_true: child(if_true[at]),
                        if_false: child(if_false[at]),
                        missing_true: missing.get(at).is_some_and(|tracks| *tracks != 0),
                    },
                    &place,
                )?,
            }));
        }
        trees.push(build::tree(FORMAT, number, drafts, 0)?);
    }
    Ok(trees)
}

fn count(attributes: Attributes<'_>, name: &str) -> Result<usize, ModelError> {
    let targets = usize::try_from(attributes.int(name, 1)).unwrap_or(0);
    within("scores", targets, limits::SCORES_MAX)?;
    if targets == 0 {
        return Err(FORMAT.damaged(format!("{name} is less than 1")));
    }
    Ok(targets)
}

pub(super) fn regressor(
    attributes: Attributes<'_>,
    rows: &Rows,
    id: usize,
) -> Result<Scores, ModelError> {
    let targets = count(attributes, "n_targets")?;
    let number = attributes
        .ints("nodes_treeids")
        .iter()
        .collect::<HashSet<_>>()
        .len();
    let factor = match attributes.text("aggregate_function", "SUM").as_str() {
        "SUM" => 1.0,
        "AVERAGE" => 1.0 / number.max(1) as f64,
        other => {
            return Err(FORMAT.unsupported(
                format!("trees joined by {}", cut(other.as_bytes())),
                "export with the aggregate_function SUM or AVERAGE",
            ));
        }
    };
    let lists = LeafLists::read(attributes, "target")?;
    let trees = ensemble(attributes, rows, leaves(&lists, targets, false, factor)?)?;
    let base = match attributes.floats("base_values")? {
        base if base.is_empty() => vec![0.0; targets],
        base if base.len() == targets => base,
        base => {
            return Err(FORMAT.damaged(format!(
                "it has {} base values for {targets} targets",
                base.len()
            )));
        }
    };
    Ok(Scores {
        id,
        body: Rc::new(Draft::Trees(Trees { trees, base })),
        count: targets,
        link: attributes.link()?,
        view: View::Plain,
        labels: Rc::default(),
    })
}

/// Two classes whose leaves all speak for one of them have one score; what it means hangs on whether all values are positive:
/// then they are probabilities (decided at a half, and no link is applied), else margins (decided at 0). So onnxruntime.
pub(super) fn classifier(
    attributes: Attributes<'_>,
    rows: &Rows,
    id: usize,
) -> Result<Scores, ModelError> {
    let labels = attributes.labels("classlabels_int64s", "classlabels_strings");
    within("scores", labels.len(), limits::SCORES_MAX)?;
    if labels.len() < 2 {
        return Err(FORMAT.damaged("TreeEnsembleClassifier has fewer than two class labels"));
    }
    let lists = LeafLists::read(attributes, "class")?;
    let single = labels.len() == 2 && lists.ids.iter().collect::<HashSet<_>>().len() == 1;
    let count = if single { 1 } else { labels.len() };
    let base = match attributes.floats("base_values")? {
        base if base.is_empty() => vec![0.0; count],
        base if base.len() == count => base,
        base if single && base.len() == 2 => vec![base[1]],
        base => {
            return Err(FORMAT.damaged(format!(
                "it has {} base values for {count} scores",
                base.len()
            )));
        }
    };
    let mut link = attributes.link()?;
    let mut view = View::Plain;
    if single {
        let probabilities = lists.weights.iter().all(|weight| *weight >= 0.0);
        if probabilities || link == Link::Softmax {
            link = Link::Identity;
        }
        view = View::Pair {
            at: if probabilities { 0.5 } else { 0.0 },
        };
    }
    let trees = ensemble(attributes, rows, leaves(&lists, count, single, 1.0)?)?;
    Ok(Scores {
        id,
        body: Rc::new(Draft::Trees(Trees { trees, base })),
        count,
        link,
        view,
        labels: labels.into(),
    })
}

/// TreeEnsemble of ai.onnx.ml 5: nodes and leaves in lists of their own, trees named by their roots.
pub(super) fn ensemble_v5(
    attributes: Attributes<'_>,
    rows: &Rows,
    id: usize,
) -> Result<Scores, ModelError> {
    let targets = count(attributes, "n_targets")?;
    let link = match attributes.int("post_transform", 0) {
        0 => Link::Identity,
        1 => Link::Softmax,
        2 => Link::Logistic,
        other => {
            return Err(FORMAT.unsupported(
                format!("the post_transform {other}"),
                "export with 0, 1 or 2",
            ));
        }
    };
    let roots = attributes.ints("tree_roots");
    within("trees", roots.len(), limits::TREES_MAX)?;
    let factor = match attributes.int("aggregate_function", 1) {
        0 => 1.0 / roots.len().max(1) as f64,
        1 => 1.0,
        other => {
            return Err(FORMAT.unsupported(
                format!("the aggregate_function {other}"),
                "export with 0 (average) or 1 (sum)",
            ));
        }
    };
    let nodes = super::trees_v5::Nodes::read(attributes, targets, factor)?;
    let mut left = limits::NODES_MAX;
    let mut trees = Vec::with_capacity(roots.len());
    for (number, root) in roots.iter().enumerate() {
        let tree = nodes.tree(rows, number, *root, left)?;
        left = left.saturating_sub(tree.nodes.len());
        trees.push(tree);
    }
    Ok(Scores {
        id,
        body: Rc::new(Draft::Trees(Trees {
            trees,
            base: vec![0.0; targets],
        })),
        count: targets,
        link,
        view: View::Plain,
        labels: Rc::default(),
    })
}

pub(super) fn mode_v5(mode: i64) -> Result<Mode, ModelError> {
    Ok(match mode {
        0 => Mode::Leq,
        1 => Mode::Lt,
        2 => Mode::Gte,
        3 => Mode::Gt,
        4 => return Err(no_mode("BRANCH_EQ")),
        5 => return Err(no_mode("BRANCH_NEQ")),
        6 => return Err(no_mode("BRANCH_MEMBER")),
        other => return Err(no_mode(&other.to_string())),
    })
}
