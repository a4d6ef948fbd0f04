//! Integers made in the leaves, before any tree is cut into pieces.
//!
//! Tables that are rounded each by itself (`quantise.rs`) need room for every sum of their entries. But a row meets one leaf
//! of each tree, whatever pieces that is cut into: where leaves are rounded, a score lies between the sums of the trees' own
//! least and greatest integers, which is a fraction of that room. So the unit is finer, or the results are fewer. A sum of
//! some of the pieces may pass 2^step on the way; modulo 2^step it comes back (the program's results `wrap`). Leaves whose
//! integers are equal take no lookup to tell them apart.

use models::{Node, Tree, Trees};

use super::layout::{self, Derived};
use super::measure::{self, Cost};
use super::quantise::{self, Output, Part, Quantised, Score, Sums, UNITS, finest_step, units};
use super::refine::refine;
use super::scores::{self, dense};
use super::{Task, Way};
use crate::CompileError;

/// Of units that may be too fine for a score that is found from the others.
const UNITS_MAX: usize = 200;

/// The model's trees with whole numbers in their leaves, and what these mean.
struct Rounded {
    trees: Trees,
    scores: Vec<Score>,
    cost: Cost,
}

/// The way with the fewest results for which rounding changes little on the calibration rows; or else with the finest unit.
/// `None` if noise leaves no room for a unit.
pub fn way(task: &Task<'_>, outputs: usize) -> Result<Option<Way>, CompileError> {
    let leaves = Leaves::of(task);
    let mut best: Option<Way> = None;
    // More bits than one ciphertext of all outputs has are those of several, each of fewer outputs.
    for step_bits in finest_step(outputs)..=finest_step(1) {
        let Some(rounded) = leaves.rounded(task, (1 << step_bits) - 2) else {
            continue;
        };
        let small = rounded.cost.is_small(task.model);
        let better = best
            .as_ref()
            .is_none_or(|best| rounded.cost.beats(&best.cost));
        if !(small || better) {
            continue;
        }
        let Some(way) = laid_out(task, rounded, step_bits)? else {
            break;
        };
        best = Some(way);
        if small {
            break;
        }
    }
    Ok(best)
}

/// Lookups for whole numbers. `None` if all are the same, or if that takes more results than a row may have.
fn laid_out(
    task: &Task<'_>,
    rounded: Rounded,
    step_bits: u32,
) -> Result<Option<Way>, CompileError> {
    let scores = rounded.scores.len();
    let value = |leaf: &[(u32, f64)]| dense(leaf, scores);
    let trees = &rounded.trees;
    let layout = layout::layout(task.model, trees, &task.columns, &trees.base, &value)?;
    let outputs = scores::outputs(&layout);
    if layout.lookups.is_empty() {
        return Ok(None);
    }
    let sums = scores::sums(&layout, scores);
    let most = sums.terms.iter().map(Vec::len).max().unwrap_or(0);
    let fits = |parts: &usize| finest_step(most.div_ceil(*parts)) >= step_bits;
    let Some(parts) = (1..=most.max(1)).find(fits) else {
        return Ok(None);
    };
    let quantised = quantised(&rounded, &outputs, &sums, parts, step_bits);
    let results: usize = quantised.scores.iter().map(|score| score.parts.len()).sum();
    Ok((results <= fhe::program::MAX_RESULTS).then_some(Way {
        layout,
        quantised,
        cost: rounded.cost,
    }))
}

fn quantised(
    rounded: &Rounded,
    outputs: &[Output],
    sums: &Sums,
    parts: usize,
    step_bits: u32,
) -> Quantised {
    let whole = |values: &[f64]| values.iter().map(|v| v.round() as i64).collect::<Vec<_>>();
    let tables: Vec<Vec<i64>> = outputs.iter().map(|output| whole(&output.values)).collect();
    let scores = rounded.scores.iter().enumerate().map(|(index, score)| {
        let split = quantise::split(&sums.terms[index], parts, outputs);
        let split = split.into_iter().enumerate().map(|(part, terms)| Part {
            terms,
            // The first one begins where the score does.
            bias: match part {
                0 => sums.base[index].round() as i64,
                _ => 0,
            },
        });
        Score {
            parts: split.collect(),
            ..score.clone()
        }
    });
    let mut quantised = Quantised {
        step_bits,
        tables,
        scores: scores.collect(),
        wraps: false,
    };
    quantised.wraps = !quantised.stays_inside();
    if quantised.wraps {
        let residue = |value: &mut i64| *value = fhe::program::nearest_residue(*value, step_bits);
        quantised.tables.iter_mut().flatten().for_each(residue);
        let parts = quantised
            .scores
            .iter_mut()
            .flat_map(|score| &mut score.parts);
        parts.for_each(|part| residue(&mut part.bias));
    }
    quantised
}

/// Each tree's leaves as one output for each score that is not found from the others.
struct Leaves {
    outputs: Vec<Output>,
    /// Without that of the score that is found from the others.
    sums: Sums,
    /// Per calibration row, the leaf that it reaches, once for each of the tree's outputs.
    entries: Vec<Vec<usize>>,
    derived: Option<Derived>,
    /// Per calibration row: the model's scores.
    exact: Vec<Vec<f64>>,
    scores: usize,
}

impl Leaves {
    fn of(task: &Task<'_>) -> Self {
        let trees = &task.trees;
        let scores = trees.base.len();
        let derived = layout::derived(trees, &|leaf| dense(leaf, scores), &trees.base);
        let own = scores - usize::from(derived.is_some());
        let of_tree = |tree: &Tree| {
            let leaves: Vec<Vec<f64>> = leaves(tree).map(|leaf| dense(leaf, scores)).collect();
            let output = |score: usize| Output {
                values: leaves.iter().map(|values| values[score]).collect(),
                counts: vec![0; leaves.len()],
            };
            (0..own).map(output).collect::<Vec<_>>()
        };
        let mut outputs: Vec<Output> = trees.trees.iter().flat_map(of_tree).collect();
        let numbered: Vec<Tree> = trees.trees.iter().map(numbered).collect();
        let reached = |tree: &Tree, row: &[f64]| tree.leaf(row).first().map_or(0, |l| l.1 as usize);
        let entries = task.rows.iter().map(|row| {
            let of_tree = |tree| vec![reached(tree, row); own];
            numbered.iter().flat_map(of_tree).collect::<Vec<_>>()
        });
        let entries: Vec<Vec<usize>> = entries.collect();
        measure::count(&mut outputs, &entries);
        let sums = Sums {
            terms: (0..own)
                .map(|score| {
                    (score..outputs.len())
                        .step_by(own)
                        .map(|o| (o, 1))
                        .collect()
                })
                .collect(),
            base: trees.base[..own].to_vec(),
            one_unit: derived.is_some(),
        };
        let mut this = Self {
            exact: Vec::new(),
            outputs,
            sums,
            entries,
            derived,
            scores,
        };
        let exact = this.entries.iter().map(|row| {
            let own = this.sums.scores(&this.outputs, row);
            this.with_derived(own, |derived| derived.total)
        });
        this.exact = exact.collect();
        this
    }

    /// What is found from the others: their sum, taken from a total.
    fn with_derived(&self, mut own: Vec<f64>, total: impl Fn(&Derived) -> f64) -> Vec<f64> {
        if let Some(derived) = &self.derived {
            own.push(total(derived) - own.iter().sum::<f64>());
        }
        own
    }

    /// So that all scores lie within `range` integers.
    fn rounded(&self, task: &Task<'_>, range: i64) -> Option<Rounded> {
        let own = self.scores - usize::from(self.derived.is_some());
        let free = Sums {
            one_unit: false,
            terms: self.sums.terms.clone(),
            base: self.sums.base.clone(),
        };
        let tried = units().take(UNITS_MAX).filter_map(|unit| {
            let quantised = self.sums.quantise(&self.outputs, 1, unit, Some(range));
            let mut quantised = quantised?;
            refine(&mut quantised, &free, &self.outputs, &self.entries);
            let last = self.derived.as_ref();
            let last = last.map(|derived| self.last(derived, &quantised, own));
            let fits = last.as_ref().is_none_or(|(_, width)| *width <= range);
            fits.then(|| self.written(task, &quantised, last.map(|(score, _)| score), own))
        });
        tried
            .take(UNITS)
            .reduce(|best, next| match next.cost.beats(&best.cost) {
                true => next,
                false => best,
            })
    }

    fn written(
        &self,
        task: &Task<'_>,
        quantised: &Quantised,
        last: Option<Score>,
        own: usize,
    ) -> Rounded {
        let after = self.entries.iter().map(|row| {
            let own = measure::scores(quantised, row);
            self.with_derived(own, |derived| derived.total)
        });
        let after: Vec<Vec<f64>> = after.collect();
        let mut scores = quantised.scores.clone();
        scores.extend(last);
        let mut trees = task.trees.clone();
        for (at, tree) in trees.trees.iter_mut().enumerate() {
            self.write(tree, &quantised.tables[at * own..][..own]);
        }
        trees.base = scores.iter().map(|s| s.parts[0].bias as f64).collect();
        Rounded {
            trees,
            scores,
            cost: measure::cost(task.model, &self.exact, &after),
        }
    }

    /// Per leaf of a tree, by the tables of its scores: what the score that is found from the others has there.
    fn last_of(tables: &[Vec<i64>]) -> impl Iterator<Item = i64> + '_ {
        let leaves = tables.first().map_or(0, Vec::len);
        (0..leaves).map(|leaf| -tables.iter().map(|table| table[leaf]).sum::<i64>())
    }

    /// The score that is found from the others, and the range of its integers.
    fn last(&self, derived: &Derived, quantised: &Quantised, own: usize) -> (Score, i64) {
        let (mut low, mut high) = (0, 0);
        for tables in quantised.tables.chunks(own) {
            low += Self::last_of(tables).min().unwrap_or(0);
            high += Self::last_of(tables).max().unwrap_or(0);
        }
        let bias = -(low + high + 1).div_euclid(2);
        let unit = quantised.scores[0].unit;
        let others = quantised.scores.iter();
        let others = others.map(|s| s.offset + unit * s.parts[0].bias as f64);
        let score = Score {
            parts: vec![Part {
                terms: Vec::new(),
                bias,
            }],
            unit,
            offset: derived.total - others.sum::<f64>() - unit * bias as f64,
            bound: quantised.scores.iter().map(|s| s.bound).sum::<f64>() + derived.bound,
        };
        (score, high - low)
    }

    /// The integers into a tree's leaves.
    fn write(&self, tree: &mut Tree, tables: &[Vec<i64>]) {
        let last: Vec<i64> = match &self.derived {
            Some(_) => Self::last_of(tables).collect(),
            None => Vec::new(),
        };
        let leaves = tree.nodes.iter_mut().filter_map(|node| match node {
            Node::Leaf { values } => Some(values),
            Node::Split { .. } => None,
        });
        for (leaf, values) in leaves.enumerate() {
            let own = tables.iter().map(|table| table[leaf]);
            let all = own.chain(last.get(leaf).copied());
            *values = all.enumerate().map(|(s, v)| (s as u32, v as f64)).collect();
        }
    }
}

fn leaves(tree: &Tree) -> impl Iterator<Item = &[(u32, f64)]> {
    tree.nodes.iter().filter_map(|node| match node {
        Node::Leaf { values } => Some(&values[..]),
        Node::Split { .. } => None,
    })
}

/// The same tree with the number of each leaf in it.
fn numbered(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    let mut next = 0..;
    for node in &mut tree.nodes {
        if let Node::Leaf { values } = node {
            *values = next.by_ref().take(1).map(|n| (0, f64::from(n))).collect();
        }
    }
    tree
}
