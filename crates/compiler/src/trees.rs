//! Lays sums of trees out as one round of lookups and one round of sums.
//!
//! **Inputs.** For each edge of a column the client encrypts whether its value is above it. A sum of such bits can be any
//! function of the value's *place* among the edges, so that "between 3 and 7" is one condition, as cheap as "above 3".
//!
//! **Pieces** (`cover.rs`). A lookup reads a sum of 0 to 15. A connected part of a tree with root *n* takes
//! G · (A + 1) of these: G is the number of ways in which its own tests come out (the product, over its columns, of one
//! more than the different edges), A the number of different columns tested above *n*. Its sum is
//! G · (conditions above *n* that hold) + code, and its table is 0 wherever not all of them hold. So two leaves that
//! are siblings cost one lookup under up to seven conditions; three splits under up to one; four columns at the root (also
//! four levels of a symmetric tree, whose tests repeat) one. A column that is tested above *n* and in the piece may have
//! one more class for "elsewhere" instead, where that is less. What a piece leaves out is for other pieces, but for a
//! *default*: the value of some leaves there, which then cost nothing. Each whole tree has one too, added to every row.
//! The cheapest cover is found from the leaves up, for every default that the leaves above may give.
//!
//! **Packing** (`pack.rs`). Pieces of any trees share a lookup where the product of what they take is at most 16: four
//! stumps, or any number of stumps that read the same 15 edges.
//!
//! **Several scores.** One bootstrap turns a table that can be read in several places: k scores of a lookup that takes c
//! entries cost one bootstrap if k · c ≤ 16. Where all scores of every tree add up to the same, the last is found from
//! the others.
//!
//! **Integers.** The tables are rounded so that their sums are exact under noise; a score that needs more bits than one
//! ciphertext carries is the sum of several results. There are two ways, and the one with fewer results is taken: leaves
//! are rounded before trees are cut (`leaves.rs`), or tables after it (`quantise.rs`).
//!
//! A leaf under more than 15 different columns fits no lookup: such a model is refused. (Two rounds could count them, and
//! every other lookup would have to go through the second one as well.)

mod cover;
mod edges;
mod emit;
mod group;
mod labels;
mod layout;
mod leaves;
mod measure;
mod notes;
mod pack;
mod quantise;
mod refine;
mod scores;
mod shape;
mod uniform;

use std::collections::BTreeMap;

use models::{Decide, Model, Trees};

use crate::{Calibration, CompileError, Compiled, Options, Output};
use edges::Column;
use layout::Layout;
use measure::Cost;
use quantise::Quantised;

/// Leaves of all trees together. Each costs up to one lookup, of which a program may have 4096, and packing takes the
/// square of their number.
const LEAVES_MAX: usize = 16_384;
/// Rows by which rounding is judged; of more, evenly spread ones are taken.
const ROWS_MAX: usize = 4096;

/// A layout with its integers.
struct Way {
    layout: Layout,
    quantised: Quantised,
    cost: Cost,
}

/// What all ways to an answer need.
struct Task<'a> {
    model: &'a Model,
    /// With uniform bins, not quite the model's.
    trees: Trees,
    columns: Vec<Column>,
    options: &'a Options,
    rows: Vec<&'a [f64]>,
    notes: Vec<String>,
}

pub fn compile(
    model: &Model,
    trees: &Trees,
    calibration: &Calibration,
    options: &Options,
) -> Result<Compiled, CompileError> {
    let task = Task::new(model, trees, calibration, options)?;
    match (options.output, &model.output.decide) {
        (Output::Scores, _) => scores::compile(task),
        (Output::Labels, Decide::None) => Err(CompileError::Unsupported {
            what: "labels of a model that gives none".into(),
            instead: "ask for scores".into(),
        }),
        (Output::Labels, _) => labels::compile(task),
        (Output::Probability, _) => Err(CompileError::Unsupported {
            what: "a probability in steps, of trees,".into(),
            instead: "ask for scores, from which the client makes probabilities, or for labels"
                .into(),
        }),
    }
}

impl<'a> Task<'a> {
    fn new(
        model: &'a Model,
        trees: &Trees,
        calibration: &'a Calibration,
        options: &'a Options,
    ) -> Result<Self, CompileError> {
        let nodes = trees.trees.iter().map(|tree| tree.nodes.len().div_ceil(2));
        limit(
            "leaves",
            nodes.sum(),
            LEAVES_MAX,
            "train fewer or smaller trees",
        )?;
        let scores = trees.base.len();
        limit(
            "the number of scores",
            scores,
            fhe::program::MAX_RESULTS,
            "train a model for fewer classes or targets",
        )?;
        let mut notes = Vec::new();
        let step = calibration.rows.len().div_ceil(ROWS_MAX);
        let rows: Vec<&[f64]> = calibration
            .rows
            .iter()
            .step_by(step)
            .map(Vec::as_slice)
            .collect();
        let (trees, more) = match options.uniform_bins {
            None => (trees.clone(), BTreeMap::new()),
            Some(bins) => {
                let uniform = uniform::uniform(trees, calibration, bins)?;
                notes.push(notes::uniform(model, &uniform.trees, &rows, bins));
                (uniform.trees, uniform.edges)
            }
        };
        let misses = |column: usize| calibration.rows.iter().any(|row| row[column].is_nan());
        let columns = edges::collect(&trees, model.features.len(), &more, misses);
        notes.extend(notes::missing(model, &columns));
        Ok(Self {
            model,
            trees,
            columns,
            options,
            rows,
            notes,
        })
    }

    fn about(&self) -> BTreeMap<String, String> {
        let edges = match self.options.uniform_bins {
            None => "the model's own, seen by every client".to_owned(),
            Some(bins) => format!("{bins} evenly filled bins of each column that is used"),
        };
        BTreeMap::from([
            ("source".to_owned(), self.model.source.to_string()),
            (
                "kind".to_owned(),
                format!("{} trees", self.trees.trees.len()),
            ),
            ("bin edges".to_owned(), edges),
        ])
    }

    /// Per calibration row, the entry that each output's lookup reads.
    fn entries(&self, layout: &Layout) -> Vec<Vec<usize>> {
        let outputs: Vec<usize> = layout.lookups.iter().map(|l| l.outputs().len()).collect();
        let of = |row: &&[f64]| {
            let places = self.columns.iter().zip(*row);
            let places: Vec<usize> = places.map(|(column, value)| column.place(*value)).collect();
            let lookups = layout.lookups.iter().zip(&outputs);
            lookups
                .flat_map(|(lookup, outputs)| vec![lookup.entry(&places); *outputs])
                .collect()
        };
        self.rows.iter().map(of).collect()
    }
}

fn limit(
    what: &'static str,
    got: usize,
    limit: usize,
    instead: &'static str,
) -> Result<(), CompileError> {
    match got > limit {
        true => Err(CompileError::TooLarge {
            what,
            got,
            limit,
            instead,
        }),
        false => Ok(()),
    }
}

/// A model that gives every row the same answer needs no encryption.
fn constant(layout: &Layout) -> Result<(), CompileError> {
    match layout.lookups.is_empty() {
        true => Err(CompileError::Unsupported {
            what: "a model whose trees give every row the same answer".into(),
            instead: "train one that splits on some column".into(),
        }),
        false => Ok(()),
    }
}
