//! What the inputs of one column have to do with each other: a value that is above an edge is above every lower one too.
//!
//! So a sum of such inputs takes few values: one for each place among the edges, and one for a value that is missing.
//! The interval of such a sum is found from these, and not from inputs that are taken to be free: "above 3, and not
//! above 7" lies in 0..=1. It holds for rows that a client encodes; one that encrypts something else gets something else.

use super::{Encode, Input, Sum};

/// Of the values that enter a round: which are inputs that tell whether their column is above an edge.
pub(super) struct Columns<'a> {
    inputs: &'a [Input],
}

impl<'a> Columns<'a> {
    pub(super) fn of_inputs(inputs: &'a [Input]) -> Self {
        Self { inputs }
    }

    /// Of later rounds: what lookups give is not tied to anything.
    pub(super) fn none() -> Self {
        Self { inputs: &[] }
    }

    /// The column and the edge of an input, if it has one.
    pub(super) fn edge(&self, input: u32) -> Option<(usize, f64)> {
        let input = self.inputs.get(input as usize)?;
        match input.encode {
            Encode::Above(edge) => Some((input.column, edge)),
            Encode::Scaled { .. } => None,
        }
    }

    /// The least and the greatest value of those terms of a sum that have an edge.
    pub(super) fn interval(&self, sum: &Sum) -> (i128, i128) {
        let mut terms: Vec<(usize, f64, i128, Option<i64>)> = sum
            .terms
            .iter()
            .filter_map(|&(input, weight)| {
                let (column, edge) = self.edge(input)?;
                let missing = self.inputs[input as usize].missing;
                Some((column, edge, i128::from(weight), missing))
            })
            .collect();
        terms.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let columns = terms.chunk_by(|a, b| a.0 == b.0);
        columns.fold((0, 0), |(low, high), column| {
            let (least, most) = column_interval(column);
            (low + least, high + most)
        })
    }
}

/// Of the terms of one column, by rising edges.
fn column_interval(terms: &[(usize, f64, i128, Option<i64>)]) -> (i128, i128) {
    // Below every edge, all inputs are 0.
    let (mut low, mut high, mut sum) = (0, 0, 0);
    // `==`, so that 0 and -0 are the same edge.
    for same_edge in terms.chunk_by(|a, b| a.1 == b.1) {
        sum += same_edge.iter().map(|term| term.2).sum::<i128>();
        low = low.min(sum);
        high = high.max(sum);
    }
    // A row that misses the value is refused if any of the column's inputs has nothing to stand for it.
    let missing = terms
        .iter()
        .map(|term| Some(term.2 * i128::from(term.3?)))
        .sum::<Option<i128>>();
    if let Some(sum) = missing {
        low = low.min(sum);
        high = high.max(sum);
    }
    (low, high)
}
