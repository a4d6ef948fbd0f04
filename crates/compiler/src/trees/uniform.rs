//! Evenly filled bins in place of a model's own edges: the client then learns how its own kind of rows is spread, and not
//! where the model looks.

use std::collections::BTreeMap;

use models::{Node, Trees};

use crate::{Calibration, CompileError};

/// The trees with every threshold moved to an edge of its column's bins, and those edges.
pub struct Uniform {
    pub trees: Trees,
    /// Of each column that some split looks at.
    pub edges: BTreeMap<usize, Vec<f64>>,
}

pub fn uniform(
    trees: &Trees,
    calibration: &Calibration,
    bins: usize,
) -> Result<Uniform, CompileError> {
    if bins < 2 {
        return Err(CompileError::Unsupported {
            what: format!("{bins} bins a column"),
            instead: "ask for 2 or more".into(),
        });
    }
    let mut trees = trees.clone();
    let mut columns: BTreeMap<usize, Bins> = BTreeMap::new();
    let nodes = trees.trees.iter_mut().flat_map(|tree| &mut tree.nodes);
    for node in nodes {
        if let Node::Split { feature, above, .. } = node {
            let at = *feature as usize;
            let column = columns
                .entry(at)
                .or_insert_with(|| Bins::of(calibration, at, bins, *above));
            *above = column.nearest(*above);
        }
    }
    let edges = columns.into_iter().map(|(at, bins)| (at, bins.edges));
    Ok(Uniform {
        trees,
        edges: edges.collect(),
    })
}

struct Bins {
    /// The column's calibration values, rising.
    values: Vec<f64>,
    edges: Vec<f64>,
}

impl Bins {
    /// `fallback` is the one edge of a column in which calibration rows have one value, or none.
    fn of(calibration: &Calibration, column: usize, bins: usize, fallback: f64) -> Self {
        let values = calibration.rows.iter().map(|row| row[column]);
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let edge = |bin: usize| {
            let at = bin * values.len() / bins;
            let upper = *values.get(at)?;
            // Half-way down to the next smaller value, if there is one.
            let below = values.partition_point(|value| *value < upper);
            let lower = *values.get(below.checked_sub(1)?)?;
            let middle = lower + (upper - lower) / 2.0;
            // Between two neighbouring numbers there is no middle.
            Some(if middle < upper { middle } else { lower })
        };
        let mut edges: Vec<f64> = (1..bins).filter_map(edge).collect();
        edges.dedup();
        if edges.is_empty() {
            edges.push(fallback);
        }
        Self { values, edges }
    }

    /// The edge between which and the threshold the fewest calibration rows lie; of those the nearest.
    fn nearest(&self, threshold: f64) -> f64 {
        let rank = |at: f64| self.values.partition_point(|value| *value <= at);
        let wanted = rank(threshold);
        let distance = |edge: &f64| (rank(*edge).abs_diff(wanted), (edge - threshold).abs());
        let pairs = self.edges.iter().map(|edge| (distance(edge), *edge));
        let nearest = pairs.reduce(|best, next| match next.0 < best.0 {
            true => next,
            false => best,
        });
        nearest.map_or(threshold, |(_, edge)| edge)
    }
}
