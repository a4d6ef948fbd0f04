//! The cheapest way to cut a tree into pieces that fit a lookup each.
//!
//! A *piece* is a connected part of a tree: its root, and the splits under it that one lookup decides. What lies under a
//! split that the piece leaves out is for other pieces. Leaves with the tree's *default* value need none: the default is
//! added to every row, and pieces add what other leaves differ from it by.

use std::collections::BTreeMap;

use super::edges::{Column, Region, Test};
use super::shape::{Shape, Tree};

/// Entries of a table: what one lookup can tell apart.
pub const ENTRIES: usize = 16;
/// Pieces that are looked at for one root. A root of a tree whose columns all differ has 26 that fit.
const PIECES_MAX: usize = 1024;
/// Leaf values that are tried as the default, the most frequent first.
const DEFAULTS_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    pub root: usize,
    /// Splits that it decides, with the root; empty if the root is a leaf.
    pub inner: Vec<usize>,
    /// Columns whose conditions above the root are one more class of their digit, in place of being counted.
    pub merged: Vec<usize>,
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
            let left: Vec<usize> = open.iter().copied().filter(|n| !inner.contains(n)).collect();
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

    /// The cheapest cover, over all defaults that are tried. `None` if some leaf fits no lookup.
    pub fn cover(&self, aim: Aim) -> Option<Cover> {
        let covers = self.defaults().into_iter();
        let covers = covers.filter_map(|default| self.cover_with(aim, default));
        let cheapest = covers.reduce(|best, next| match next.0 < best.0 {
            true => next,
            false => best,
        });
        cheapest.map(|(_, cover)| cover)
    }

    fn defaults(&self) -> Vec<Vec<f64>> {
        let mut counts: Vec<(Vec<f64>, usize)> = Vec::new();
        for leaf in self.tree.leaves() {
            match counts.iter_mut().find(|(value, _)| value == leaf) {
                Some((_, count)) => *count += 1,
                None => counts.push((leaf.clone(), 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(DEFAULTS_MAX);
        counts.into_iter().map(|(value, _)| value).collect()
    }

    fn cover_with(&self, aim: Aim, default: Vec<f64>) -> Option<(f64, Cover)> {
        let nodes = &self.tree.nodes;
        // Per node: the cost of all under it, and the candidate that is its own piece, if it is the root of one.
        let mut best: Vec<(f64, Option<usize>)> = vec![(0.0, None); nodes.len()];
        for at in (0..nodes.len()).rev() {
            let (apart, needed) = match &nodes[at] {
                Shape::Leaf(values) => (f64::INFINITY, *values != default),
                Shape::Split { above, below, .. } => {
                    let cost = best[*above].0 + best[*below].0;
                    (cost, cost > 0.0)
                }
            };
            if !needed {
                continue;
            }
            best[at].0 = apart;
            for (index, candidate) in self.candidates[at].iter().enumerate() {
                let own = aim.cost(candidate.capacity, self.outputs);
                let cost = own + candidate.left.iter().map(|&n| best[n].0).sum::<f64>();
                if cost < best[at].0 {
                    best[at] = (cost, Some(index));
                }
            }
        }
        best[0].0.is_finite().then(|| {
            let pieces = self.chosen(&best);
            (best[0].0, Cover { default, pieces })
        })
    }

    fn chosen(&self, best: &[(f64, Option<usize>)]) -> Vec<Piece> {
        let (mut pieces, mut open) = (Vec::new(), vec![0]);
        while let Some(at) = open.pop() {
            match (best[at], &self.tree.nodes[at]) {
                ((0.0, _), _) | ((_, None), Shape::Leaf(_)) => {}
                ((_, Some(index)), _) => {
                    let candidate = &self.candidates[at][index];
                    pieces.push(candidate.piece.clone());
                    open.extend(&candidate.left);
                }
                ((_, None), Shape::Split { above, below, .. }) => open.extend([*above, *below]),
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
