//! The cheapest way to cut a tree into pieces that fit a lookup each.
//!
//! A *piece* is a connected part of a tree: its root, and the splits under it that one lookup decides. What lies under a
//! split that the piece leaves out is for other pieces. What a piece decides it gives a value: a leaf its own, and a split
//! that it leaves out a *default*, which is the value of some leaves under it. These leaves need no piece then, and the
//! others only add what they differ by. The whole tree has a default too, which is added to every row.

use std::collections::BTreeMap;

use super::edges::{Column, Region, Test};
use super::shape::{Shape, Tree};

/// Entries of a table: what one lookup can tell apart.
pub const ENTRIES: usize = 16;
/// Pieces that are looked at for one root, largest first. Where all columns differ 22 fit; where they repeat, very many.
const PIECES_MAX: usize = 256;
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    pub root: usize,
    /// Splits that it decides, with the root; empty if the root is a leaf.
    pub inner: Vec<usize>,
    /// Columns whose conditions above the root are one more class of their digit, in place of being counted.
    pub merged: Vec<usize>,
    /// What other pieces, or the tree's default, give its leaves already.
    pub given: Vec<f64>,
    /// The defaults of the splits that it leaves out.
    pub left: BTreeMap<usize, Vec<f64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cover {
    pub default: Vec<f64>,
    pub pieces: Vec<Piece>,
}

/// What a cover is to have little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Lookups, if each piece has its own.
    Pieces,
    /// Shares of lookups, if pieces share them.
    Shares,
}

/// Bootstraps for so many outputs of a table that takes `capacity` entries.
pub fn bootstraps(capacity: usize, outputs: usize) -> usize {
    outputs.div_ceil((ENTRIES / capacity).max(1))
}

impl Aim {
    fn cost(self, capacity: usize, outputs: usize) -> f64 {
        let bits = (capacity as f64).log2();
        // Of equal ones, that with most room.
        let tie = bits / 64.0;
        match (self, capacity * outputs) {
            (Self::Pieces, _) | (_, ENTRIES..) => bootstraps(capacity, outputs) as f64 + tie,
            // Nothing fits beside nine entries; two do beside eight.
            (Self::Shares, 9..) => 1.0 + tie,
            (Self::Shares, 6..=8) => 0.75 + tie,
            (Self::Shares, 5) => 0.625 + tie,
            (Self::Shares, 3..=4) => 0.5 + tie,
            (Self::Shares, _) => 0.25 + tie,
        }
    }
}

/// What could be a piece.
struct Candidate {
    piece: Piece,
    capacity: usize,
    /// Splits below it that it leaves out.
    left: Vec<usize>,
}

/// The candidates of each node of a tree, from which covers are put together.
pub struct Pieces<'a> {
    tree: &'a Tree,
    columns: &'a [Column],
    candidates: Vec<Vec<Candidate>>,
    /// Scores that the leaves differ in.
    outputs: usize,
}

impl<'a> Pieces<'a> {
    pub fn of(tree: &'a Tree, columns: &'a [Column]) -> Self {
        let first = tree.leaves().next().cloned().unwrap_or_default();
        let differ = |score: &usize| tree.leaves().any(|leaf| leaf[*score] != first[*score]);
        let outputs = (0..first.len()).filter(differ).count();
        let mut this = Self {
            tree,
            columns,
            candidates: Vec::new(),
            outputs,
        };
        this.candidates = (0..tree.nodes.len()).map(|at| this.at(at)).collect();
        this
    }

    fn at(&self, root: usize) -> Vec<Candidate> {
        let mut found = Vec::new();
        match self.tree.nodes[root] {
            Shape::Leaf(_) => found.extend(self.candidate(root, &[], &[])),
            Shape::Split { .. } => self.grow(root, &mut vec![], &mut vec![root], 0, &mut found),
        }
        found
    }

    /// Takes the open split at `next` in, or leaves it out, and goes on with the rest.
    fn grow(
        &self,
        root: usize,
        inner: &mut Vec<usize>,
        open: &mut Vec<usize>,
        next: usize,
        found: &mut Vec<Candidate>,
    ) {
        if found.len() >= PIECES_MAX {
            return;
        }
        let Some(&node) = open.get(next) else {
            let left: Vec<usize> = open
                .iter()
                .copied()
                .filter(|n| !inner.contains(n))
                .collect();
            found.extend(self.candidate(root, inner, &left));
            return;
        };
        inner.push(node);
        if self.fit(root, inner).is_some() {
            let before = open.len();
            if let Shape::Split { above, below, .. } = self.tree.nodes[node] {
                let split = |n: &usize| matches!(self.tree.nodes[*n], Shape::Split { .. });
                open.extend([above, below].into_iter().filter(split));
            }
            self.grow(root, inner, open, next + 1, found);
            open.truncate(before);
        }
        inner.pop();
        if node != root {
            self.grow(root, inner, open, next + 1, found);
        }
    }

    fn candidate(&self, root: usize, inner: &[usize], left: &[usize]) -> Option<Candidate> {
        let (capacity, merged) = self.fit(root, inner)?;
        Some(Candidate {
            piece: Piece {
                root,
                inner: inner.to_vec(),
                merged,
                ..Piece::default()
            },
            capacity,
            left: left.to_vec(),
        })
    }

    /// Entries that a piece takes, and which columns' conditions are best merged into their digits; `None` if too many.
    fn fit(&self, root: usize, inner: &[usize]) -> Option<(usize, Vec<usize>)> {
        let path = &self.tree.paths[root];
        let mut tests: BTreeMap<usize, Vec<Test>> = BTreeMap::new();
        for &node in inner {
            if let Shape::Split { test, .. } = &self.tree.nodes[node] {
                tests.entry(test.column).or_default().push(*test);
            }
        }
        let mut codes = 1;
        // (column, classes) of those that stand above the root too.
        let mut shared = Vec::new();
        for (column, tests) in &tests {
            let region = path.get(column).copied();
            let whole = || self.columns[*column].whole();
            let classes = classes(region.unwrap_or_else(whole), tests);
            codes *= classes;
            if codes > ENTRIES {
                return None;
            }
            shared.extend(region.map(|_| (*column, classes)));
        }
        let choices = 0..1u32 << shared.len();
        let choice = |choice: u32| {
            let merged = shared.iter().enumerate();
            let merged = merged.filter(|(bit, _)| choice >> bit & 1 == 1);
            let (mut codes, mut columns) = (codes, Vec::new());
            for (_, (column, classes)) in merged {
                codes = codes / classes * (classes + 1);
                columns.push(*column);
            }
            (codes * (path.len() - columns.len() + 1), columns)
        };
        choices
            .map(choice)
            .filter(|(capacity, _)| *capacity <= ENTRIES)
            .min_by_key(|(capacity, _)| *capacity)
    }

    /// The cheapest cover. `None` if some leaf fits no lookup.
    pub fn cover(&self, aim: Aim) -> Option<Cover> {
        let search = Search::of(self, aim);
        let default = search.costs[0].best();
        if !search.costs[0].with(default).is_finite() {
            return None;
        }
        Some(Cover {
            default: search.values[default].clone(),
            pieces: search.pieces(default),
        })
    }
}

/// What the leaves under a node cost.
struct Costs {
    /// With the value of this number as their default; of each value that some leaf under the node has.
    by_default: BTreeMap<usize, f64>,
    /// With any other default.
    otherwise: f64,
    /// With a piece whose root is the node, and which of its candidates that is. What it gives does not depend on a default.
    own: (f64, usize),
}

impl Costs {
    fn with(&self, default: usize) -> f64 {
        self.by_default
            .get(&default)
            .copied()
            .unwrap_or(self.otherwise)
    }

    /// The cheapest default: the number of its value.
    fn best(&self) -> usize {
        let all = self.by_default.iter().map(|(value, cost)| (*value, *cost));
        let best = all.reduce(|best, next| if next.1 < best.1 { next } else { best });
        best.map_or(0, |(value, _)| value)
    }
}

/// From the leaves up: children have larger numbers than their parents.
struct Search<'a, 'b> {
    pieces: &'b Pieces<'a>,
    /// All different leaf values.
    values: Vec<Vec<f64>>,
    /// Of each leaf, the number of its value.
    value_of: BTreeMap<usize, usize>,
    /// Of each node.
    costs: Vec<Costs>,
}

impl<'a, 'b> Search<'a, 'b> {
    fn of(pieces: &'b Pieces<'a>, aim: Aim) -> Self {
        let bits = |values: &Vec<f64>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let mut numbers = BTreeMap::new();
        let (mut values, mut value_of) = (Vec::new(), BTreeMap::new());
        for (at, node) in pieces.tree.nodes.iter().enumerate() {
            if let Shape::Leaf(leaf) = node {
                let number = *numbers.entry(bits(leaf)).or_insert(values.len());
                if number == values.len() {
                    values.push(leaf.clone());
                }
                value_of.insert(at, number);
            }
        }
        let mut this = Self {
            pieces,
            values,
            value_of,
            costs: Vec::new(),
        };
        let nodes = pieces.tree.nodes.len();
        // In reverse, so that the last entry is the root's; turned round at the end.
        for at in (0..nodes).rev() {
            let costs = this.at(at, aim, nodes);
            this.costs.push(costs);
        }
        this.costs.reverse();
        this
    }

    /// While `costs` is still in reverse.
    fn at(&self, at: usize, aim: Aim, nodes: usize) -> Costs {
        let known = |node: usize| &self.costs[nodes - 1 - node];
        let mut own = (f64::INFINITY, 0);
        for (index, candidate) in self.pieces.candidates[at].iter().enumerate() {
            let left = candidate.left.iter().map(|&node| {
                let costs = known(node);
                costs.with(costs.best())
            });
            let cost = aim.cost(candidate.capacity, self.pieces.outputs) + left.sum::<f64>();
            if cost < own.0 {
                own = (cost, index);
            }
        }
        let (above, below) = match &self.pieces.tree.nodes[at] {
            Shape::Leaf(_) => {
                return Costs {
                    by_default: BTreeMap::from([(self.value_of[&at], 0.0)]),
                    otherwise: own.0,
                    own,
                };
            }
            Shape::Split { above, below, .. } => (known(*above), known(*below)),
        };
        let with = |value: usize| (above.with(value) + below.with(value)).min(own.0);
        let values = above.by_default.keys().chain(below.by_default.keys());
        Costs {
            by_default: values.map(|&value| (value, with(value))).collect(),
            otherwise: (above.otherwise + below.otherwise).min(own.0),
            own,
        }
    }

    fn pieces(&self, default: usize) -> Vec<Piece> {
        let (mut pieces, mut open) = (Vec::new(), vec![(0, default)]);
        while let Some((at, given)) = open.pop() {
            let costs = &self.costs[at];
            match &self.pieces.tree.nodes[at] {
                Shape::Leaf(_) if self.value_of[&at] == given => {}
                Shape::Split { above, below, .. } if costs.with(given) < costs.own.0 => {
                    open.extend([(*above, given), (*below, given)]);
                }
                Shape::Leaf(_) | Shape::Split { .. } => {
                    let candidate = &self.pieces.candidates[at][costs.own.1];
                    let left = candidate.left.iter();
                    let left: Vec<(usize, usize)> =
                        left.map(|&node| (node, self.costs[node].best())).collect();
                    open.extend(&left);
                    let value =
                        |(node, default): (usize, usize)| (node, self.values[default].clone());
                    pieces.push(Piece {
                        given: self.values[given].clone(),
                        left: left.into_iter().map(value).collect(),
                        ..candidate.piece.clone()
                    });
                }
            }
        }
        pieces
    }
}

/// How many ways tests of one column come out for the places of a region.
fn classes(region: Region, tests: &[Test]) -> usize {
    let mut edges: Vec<usize> = tests.iter().map(|test| test.edge).collect();
    edges.retain(|edge| (region.low..region.high).contains(edge));
    edges.sort_unstable();
    edges.dedup();
    let of_values = match region.low <= region.high {
        true => edges.len() + 1,
        false => 0,
    };
    let of_missing = usize::from(region.missing && !like_a_place(region, tests));
    of_values + of_missing
}

/// Whether the tests send a missing value on as they do some place of the region.
fn like_a_place(region: Region, tests: &[Test]) -> bool {
    let above = tests.iter().filter(|test| test.missing_above);
    let low = above.map(|test| test.edge + 1).max().unwrap_or(0);
    let below = tests.iter().filter(|test| !test.missing_above);
    let high = below.map(|test| test.edge).min().unwrap_or(region.high);
    region.low.max(low) <= region.high.min(high)
}
