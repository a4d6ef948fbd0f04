//! The edges at which a model cuts each of its columns, and the places among them: a column's value is only ever looked at
//! through its place.
//!
//! Places of a column with m edges: 0 (above none) to m (above all), and one more for a missing value, where that is sent on
//! like no place at all. A missing value that is sent on just as some place is needs none of its own.

use std::collections::BTreeMap;

use models::{Node, Trees};

/// What becomes of a missing value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Every split sends it where it sends this place.
    Like(usize),
    /// The splits treat it as they treat no place.
    Apart,
    /// As `Apart`, but no calibration row misses this column: a row that does is refused, which saves lookups.
    Refused,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Rising, all different.
    pub edges: Vec<f64>,
    pub missing: Missing,
}

impl Column {
    /// Places, with that of a missing value, which is the last one.
    pub fn places(&self) -> usize {
        self.edges.len() + 1 + usize::from(self.missing == Missing::Apart)
    }

    pub fn place(&self, value: f64) -> usize {
        match (value.is_nan(), self.missing) {
            (false, _) => self.edges.partition_point(|edge| value > *edge),
            (true, Missing::Like(place)) => place,
            (true, Missing::Apart) => self.edges.len() + 1,
            (true, Missing::Refused) => 0,
        }
    }

    pub fn whole(&self) -> Region {
        Region {
            low: 0,
            high: self.edges.len(),
            missing: self.missing == Missing::Apart,
        }
    }

    /// Which edge this is. The trees are cut at edges that were collected from them.
    pub fn edge(&self, above: f64) -> usize {
        self.edges.partition_point(|edge| *edge < above)
    }
}

/// Places of one column that lead to a node: `low..=high` of those with a value, and the missing one or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub low: usize,
    pub high: usize,
    pub missing: bool,
}

/// One test of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub column: usize,
    pub edge: usize,
    /// Whether a missing value counts as above. Not looked at unless missing values are apart.
    pub missing_above: bool,
}

impl Test {
    pub fn holds(&self, column: &Column, place: usize) -> bool {
        match place > column.edges.len() {
            true => self.missing_above,
            false => place > self.edge,
        }
    }
}

impl Region {
    pub fn contains(&self, column: &Column, place: usize) -> bool {
        match place > column.edges.len() {
            true => self.missing,
            false => (self.low..=self.high).contains(&place),
        }
    }

    /// What is left behind a test; `None` if nothing is.
    pub fn behind(&self, test: &Test, above: bool) -> Option<Self> {
        let mut left = *self;
        match above {
            true => left.low = left.low.max(test.edge + 1),
            false if test.edge < left.high => left.high = test.edge,
            false => {}
        }
        left.missing &= test.missing_above == above;
        if left.low > left.high {
            // No value: an empty range that stays empty.
            (left.low, left.high) = (1, 0);
        }
        (left.low <= left.high || left.missing).then_some(left)
    }
}

/// Collects the edges of each of `width` columns, with `more` edges that no split asks for. `misses` tells whether some
/// calibration row misses a column.
pub fn collect(
    trees: &Trees,
    width: usize,
    more: &BTreeMap<usize, Vec<f64>>,
    misses: impl Fn(usize) -> bool,
) -> Vec<Column> {
    let mut splits: BTreeMap<usize, Vec<(f64, bool)>> = BTreeMap::new();
    for node in trees.trees.iter().flat_map(|tree| &tree.nodes) {
        if let Node::Split {
            feature,
            above,
            missing_above,
            ..
        } = node
        {
            let edges = splits.entry(*feature as usize).or_default();
            edges.push((*above, *missing_above));
        }
    }
    let column = |at: usize| {
        let Some(splits) = splits.get(&at) else {
            return Column {
                edges: vec![],
                missing: Missing::Like(0),
            };
        };
        let mut edges: Vec<f64> = splits.iter().map(|split| split.0).collect();
        edges.extend(more.get(&at).into_iter().flatten());
        edges.sort_by(f64::total_cmp);
        edges.dedup_by(|a, b| a == b);
        let missing = match like(&edges, splits) {
            Some(place) => Missing::Like(place),
            None if misses(at) => Missing::Apart,
            None => Missing::Refused,
        };
        Column { edges, missing }
    };
    (0..width).map(column).collect()
}

/// The place that every split sends on as it does a missing value, if there is one.
fn like(edges: &[f64], splits: &[(f64, bool)]) -> Option<usize> {
    let place_of = |edge: f64| edges.partition_point(|e| *e < edge);
    let above = splits.iter().filter(|split| split.1);
    let low = above.map(|split| place_of(split.0) + 1).max().unwrap_or(0);
    let below = splits.iter().filter(|split| !split.1);
    let high = below.map(|split| place_of(split.0)).min();
    let high = high.unwrap_or(edges.len());
    (low <= high).then_some(low)
}
