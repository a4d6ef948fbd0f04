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
use super::quantise::{
    self, Output, Part, Quantised, Score, Sums, UNITS, centring, finest_step, units,
};
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
            last_follows: false,
        };
        let mut this = Self {
            exact: Vec::new(),
            outputs,
            sums,
            entries,
            derived,
        };
        this.exact = this.scores(|row| this.sums.scores(&this.outputs, row));
        this
    }

    /// Per calibration row: its own scores, and what is found from them.
    fn scores(&self, own: impl Fn(&[usize]) -> Vec<f64>) -> Vec<Vec<f64>> {
        let all = self.entries.iter().map(|row| {
            let mut scores = own(row);
            if let Some(derived) = &self.derived {
                scores.push(derived.total - scores.iter().sum::<f64>());
            }
            scores
        });
        all.collect()
    }

    /// So that all scores lie within `range` integers.
    fn rounded(&self, task: &Task<'_>, range: i64) -> Option<Rounded> {
        let tried = units().take(UNITS_MAX).filter_map(|unit| {
            let quantised = self.sums.quantise(&self.outputs, 1, unit, Some(range));
            let mut quantised = quantised?;
            refine(&mut quantised, &self.sums, &self.outputs, &self.entries);
            let last = self.derived.as_ref();
            let last = last.map(|derived| self.last(derived, &quantised));
            if last.as_ref().is_some_and(|(_, width)| *width > range) {
                return None;
            }
            let after = self.scores(|row| measure::scores(&quantised, row));
            let cost = measure::cost(task.model, &self.exact, &after);
            quantised.scores.extend(last.map(|(score, _)| score));
            Some((quantised, cost))
        });
        let least = tried
            .take(UNITS)
            .reduce(|best, next| match next.1.beats(&best.1) {
                true => next,
                false => best,
            });
        let (quantised, cost) = least?;
        Some(Rounded {
            trees: self.written(&task.trees, &quantised),
            scores: quantised.scores,
            cost,
        })
    }

    /// The model's trees with these integers.
    fn written(&self, trees: &Trees, quantised: &Quantised) -> Trees {
        let own = self.sums.terms.len();
        let mut trees = trees.clone();
        for (tree, tables) in trees.trees.iter_mut().zip(quantised.tables.chunks(own)) {
            self.write(tree, tables);
        }
        let scores = quantised.scores.iter();
        trees.base = scores.map(|score| score.parts[0].bias as f64).collect();
        trees
    }

    /// Per leaf of a tree, by the tables of its scores: what the score that is found from the others has there.
    fn last_of(tables: &[Vec<i64>]) -> impl Iterator<Item = i64> + '_ {
        let leaves = tables.first().map_or(0, Vec::len);
        (0..leaves).map(|leaf| -tables.iter().map(|table| table[leaf]).sum::<i64>())
    }

    /// The score that is found from the others, and the range of its integers.
    fn last(&self, derived: &Derived, quantised: &Quantised) -> (Score, i64) {
        let (mut low, mut high) = (0, 0);
        for tables in quantised.tables.chunks(self.sums.terms.len()) {
            low += Self::last_of(tables).min().unwrap_or(0);
            high += Self::last_of(tables).max().unwrap_or(0);
        }
        let bias = centring(low, high);
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
