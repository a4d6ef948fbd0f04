//! From nodes as a file numbers them to a tree whose children come after their parents; and the outputs that readers share.

use crate::error::{ModelError, within};
use crate::limits;
use crate::model::{Decide, Link, Node, Output, SourceFormat, Tree};

/// A node whose children are named by their places in the file; they need not be in any order.
pub(crate) enum Draft {
    Split {
        feature: u32,
        above: f64,
        if_above: usize,
        otherwise: usize,
        missing_above: bool,
    },
    Leaf {
        values: Vec<(u32, f64)>,
    },
}

/// Takes what is reached from `root`, level by level: no recursion, and each node once. What is not reached is left out
/// (XGBoost keeps the nodes that it has pruned).
pub(crate) fn tree(
    format: SourceFormat,
    number: usize,
    mut drafts: Vec<Option<Draft>>,
    root: usize,
) -> Result<Tree, ModelError> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut order = vec![(root, 0)];
    let mut next = 0;
    while let Some(&(at, depth)) = order.get(next) {
        next += 1;
        within("splits above a leaf", depth, limits::DEPTH_MAX)?;
        let Some(slot) = drafts.get_mut(at) else {
            return Err(format.damaged(format!(
                "tree {number} leads to node {at}, and it has {}",
                drafts.len()
            )));
        };
        let Some(draft) = slot.take() else {
            return Err(format.damaged(format!(
                "node {at} of tree {number} is missing, or is reached twice: its nodes form a circle, or two lead to the same one"
            )));
        };
        nodes.push(match draft {
            Draft::Leaf { values } => Node::Leaf { values },
            Draft::Split {
                feature,
                above,
                if_above,
                otherwise,
                missing_above,
            } => {
                let first = order.len() as u32;
                order.push((if_above, depth + 1));
                order.push((otherwise, depth + 1));
                Node::Split {
                    feature,
                    above,
                    if_above: first,
                    otherwise: first + 1,
                    missing_above,
                }
            }
        });
    }
    Ok(Tree { nodes })
}

/// A number of a file that must be finite, with where it stands.
pub(crate) fn finite(
    format: SourceFormat,
    value: f64,
    place: impl FnOnce() -> String,
) -> Result<f64, ModelError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(format.damaged(format!(
        "{} is {value}, which is not a finite number",
        place()
    )))
}

/// `f0`, `f1`, …
pub(crate) fn numbered_features(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("f{at}")).collect()
}

/// `0`, `1`, …: the labels of a file that names none.
pub(crate) fn numbered_labels(count: usize) -> Vec<String> {
    (0..count).map(|at| at.to_string()).collect()
}

impl Output {
    /// One score for the second of two classes, decided at 0.
    pub(crate) fn binary(below: String, above: String, link: Link, at: f64) -> Self {
        Self {
            names: vec![above.clone()],
            link,
            decide: Decide::Threshold { at, below, above },
        }
    }

    pub(crate) fn classes(labels: Vec<String>, link: Link) -> Self {
        Self {
            names: labels.clone(),
            link,
            decide: Decide::Greatest { labels },
        }
    }

    /// Scores that stand for themselves.
    pub(crate) fn values(count: usize, link: Link) -> Self {
        let names = if count == 1 {
            vec!["value".to_owned()]
        } else {
            (0..count).map(|at| format!("value{at}")).collect()
        };
        Self {
            names,
            link,
            decide: Decide::None,
        }
    }
}
