//! The lists of TreeEnsemble (ai.onnx.ml 5): nodes apart from leaves, a child named by its place in one or the other.

use super::attributes::{Attributes, FORMAT};
use super::trees::{Branch, mode_v5, split};
use super::value::Rows;
use crate::build::{self, Draft, finite};
use crate::error::{ModelError, within};
use crate::limits;
use crate::model::Tree;

pub(super) struct Nodes<'a> {
    modes: Vec<i64>,
    features: &'a [i64],
    thresholds: Vec<f64>,
    if_true: &'a [i64],
    if_false: &'a [i64],
    true_is_leaf: &'a [i64],
    false_is_leaf: &'a [i64],
    missing: &'a [i64],
    leaf_targets: &'a [i64],
    leaf_values: Vec<f64>,
    targets: usize,
    factor: f64,
}

#[derive(Clone, Copy)]
enum Child {
    Node(i64),
    Leaf(i64),
}

impl<'a> Nodes<'a> {
    pub fn read(
        attributes: Attributes<'a>,
        targets: usize,
        factor: f64,
    ) -> Result<Self, ModelError> {
        let modes = attributes.tensor("nodes_modes")?;
        let nodes = Self {
            modes: modes.ints().unwrap_or_default().to_vec(),
            features: attributes.ints("nodes_featureids"),
            thresholds: attributes.floats("nodes_splits")?,
            if_true: attributes.ints("nodes_truenodeids"),
            if_false: attributes.ints("nodes_falsenodeids"),
            true_is_leaf: attributes.ints("nodes_trueleafs"),
            false_is_leaf: attributes.ints("nodes_falseleafs"),
            missing: attributes.ints("nodes_missing_value_tracks_true"),
            leaf_targets: attributes.ints("leaf_targetids"),
            leaf_values: attributes.floats("leaf_weights")?,
            targets,
            factor,
        };
        let len = nodes.modes.len();
        within("tree nodes", len, limits::NODES_MAX)?;
        let lengths = [
            nodes.features.len(),
            nodes.thresholds.len(),
            nodes.if_true.len(),
            nodes.if_false.len(),
            nodes.true_is_leaf.len(),
            nodes.false_is_leaf.len(),
        ];
        if lengths != [len; 6]
            || !(nodes.missing.is_empty() || nodes.missing.len() == len)
            || nodes.leaf_targets.len() != nodes.leaf_values.len()
        {
            return Err(FORMAT.damaged("the lists of TreeEnsemble have different lengths"));
        }
        Ok(nodes)
    }

    /// The tree under a root, of `most` nodes at most: nodes that lead in a circle would have no end.
    pub fn tree(
        &self,
        rows: &Rows,
        number: usize,
        root: i64,
        most: usize,
    ) -> Result<Tree, ModelError> {
        let mut waiting = vec![(Child::Node(root), 0)];
        let mut drafts = Vec::new();
        let mut next = 0;
        while let Some((child, depth)) = waiting.get(next).copied() {
            next += 1;
            within("splits above a leaf", depth, limits::DEPTH_MAX)?;
            within("tree nodes", waiting.len(), most)?;
            drafts.push(Some(match child {
                Child::Leaf(at) => self.leaf(at, number)?,
                Child::Node(at) => {
                    let at = usize::try_from(at)
                        .ok()
                        .filter(|at| *at < self.modes.len())
                        .ok_or_else(|| {
                            FORMAT.damaged(format!(
                                "tree {number} leads to node {at}, and there are {}",
                                self.modes.len()
                            ))
                        })?;
                    let first = waiting.len();
                    for (to, is_leaf) in [
                        (self.if_true[at], self.true_is_leaf[at]),
                        (self.if_false[at], self.false_is_leaf[at]),
                    ] {
                        waiting.push((
                            if is_leaf == 0 {
                                Child::Node(to)
                            } else {
                                Child::Leaf(to)
                            },
                            depth + 1,
                        ));
                    }
                    let branch = Branch {
                        mode: mode_v5(self.modes[at])?,
                        column: self.features[at],
                        threshold: self.thresholds[at],
                        if_true: first,
                        if_false: first + 1,
                        missing_true: self.missing.get(at).is_some_and(|tracks| *tracks != 0),
                    };
                    split(rows, &branch, &format!("node {at}"))?
                }
            }));
        }
        build::tree(FORMAT, number, drafts, 0)
    }

    fn leaf(&self, at: i64, number: usize) -> Result<Draft, ModelError> {
        let found = usize::try_from(at)
            .ok()
            .and_then(|at| Some((*self.leaf_targets.get(at)?, *self.leaf_values.get(at)?)));
        let Some((target, value)) = found else {
            return Err(FORMAT.damaged(format!(
                "tree {number} leads to leaf {at}, and there are {}",
                self.leaf_values.len()
            )));
        };
        let target = u32::try_from(target)
            .ok()
            .filter(|target| (*target as usize) < self.targets)
            .ok_or_else(|| {
                FORMAT.damaged(format!(
                    "leaf {at} adds to target {target} of {}",
                    self.targets
                ))
            })?;
        let value = finite(FORMAT, value * self.factor, || {
            format!("the value of leaf {at}")
        })?;
        Ok(Draft::Leaf {
            values: vec![(target, value)],
        })
    }
}
