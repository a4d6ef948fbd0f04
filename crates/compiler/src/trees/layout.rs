//! From trees to lookups: each tree cut into pieces, the pieces of all trees packed.

use std::collections::BTreeMap;

use models::{Model, Trees};

use super::cover::{Aim, Cover, Pieces, bootstraps};
use super::edges::Column;
use super::group::Group;
use super::pack::{Packed, pack};
use super::shape::{LeafValue, Tree};
use crate::CompileError;

/// Of scores whose values add up to the same in all leaves of a tree, the last one can be found from the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub score: usize,
    /// What all scores add up to.
    pub total: f64,
    /// How far the leaves are from that.
    pub bound: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub lookups: Vec<Packed>,
    /// Per score: what is added to every row.
    pub base: Vec<f64>,
    pub derived: Option<Derived>,
    pub counts: Counts,
}

/// How the lookups came about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Leaves that are left when what no row can reach is cut off.
    pub leaves: usize,
    /// Values that stand for the leaves of a whole tree, or of a part of one that is left to other pieces.
    pub defaults: usize,
    /// Pieces by the number of splits that they decide.
    pub by_splits: BTreeMap<usize, usize>,
    /// Of those pieces, how many count conditions above them.
    pub counting: usize,
    pub bootstraps: usize,
}

impl Packed {
    /// Scores for which its table makes a difference.
    pub fn outputs(&self) -> Vec<usize> {
        let first = &self.table[0];
        let differs = |score: &usize| self.table.iter().any(|v| v[*score] != first[*score]);
        (0..first.len()).filter(differs).collect()
    }

    pub fn bootstraps(&self) -> usize {
        bootstraps(self.table.len(), self.outputs().len())
    }

    /// The entry that a row with these places reads.
    pub fn entry(&self, places: &[usize]) -> usize {
        let values = self
            .columns
            .iter()
            .map(|(column, values)| values[places[*column]]);
        values.sum::<i64>() as usize
    }
}

/// The cheapest layout that is found.
pub fn layout(
    model: &Model,
    trees: &Trees,
    columns: &[Column],
    base: &[f64],
    value: &LeafValue<'_>,
) -> Result<Layout, CompileError> {
    let whole = layout_without(model, trees, columns, base, value, None)?;
    let Some(derived) = derived(trees, value, base) else {
        return Ok(whole);
    };
    let fewer = layout_without(model, trees, columns, base, value, Some(derived))?;
    Ok(match fewer.counts.bootstraps < whole.counts.bootstraps {
        true => fewer,
        false => whole,
    })
}

/// If they do.
pub fn derived(trees: &Trees, value: &LeafValue<'_>, base: &[f64]) -> Option<Derived> {
    // Two scores would cost each other their resolution and save little.
    const SCORES_MIN: usize = 3;
    /// Of the greatest value: what values that were rounded to f32 are off by.
    const SHARE: f64 = 1e-6;
    if base.len() < SCORES_MIN {
        return None;
    }
    let (mut total, mut bound) = (base.iter().sum::<f64>(), 0.0);
    for tree in &trees.trees {
        let leaves = tree.nodes.iter().filter_map(|node| match node {
            models::Node::Leaf { values } => Some(value(values)),
            models::Node::Split { .. } => None,
        });
        let (mut low, mut high, mut most) = (f64::INFINITY, f64::NEG_INFINITY, 0f64);
        for leaf in leaves {
            let sum = leaf.iter().sum::<f64>();
            low = low.min(sum);
            high = high.max(sum);
            most = leaf.iter().fold(most, |most, v| most.max(v.abs()));
        }
        if high - low > SHARE * most {
            return None;
        }
        total += (low + high) / 2.0;
        bound += (high - low) / 2.0;
    }
    Some(Derived {
        score: base.len() - 1,
        total,
        bound,
    })
}

fn layout_without(
    model: &Model,
    trees: &Trees,
    columns: &[Column],
    base: &[f64],
    value: &LeafValue<'_>,
    derived: Option<Derived>,
) -> Result<Layout, CompileError> {
    let value = |leaf: &[(u32, f64)]| {
        let mut values = value(leaf);
        if let Some(derived) = &derived {
            values[derived.score] = 0.0;
        }
        values
    };
    let cut: Vec<Tree> = trees
        .trees
        .iter()
        .map(|tree| Tree::of(tree, columns, &value))
        .collect();
    const AIMS: [Aim; 2] = [Aim::Shares, Aim::Pieces];
    // A tree's candidates are many, and gone before the next tree's.
    let covers = cut.iter().map(|tree| {
        let pieces = Pieces::of(tree, columns);
        let [shares, fewest] = AIMS.map(|aim| pieces.cover(aim));
        shares.zip(fewest)
    });
    let covers: Option<Vec<(Cover, Cover)>> = covers.collect();
    let covers = covers.ok_or_else(|| too_deep(model, &cut))?;
    let (shares, fewest): (Vec<Cover>, Vec<Cover>) = covers.into_iter().unzip();
    let mut best: Option<Layout> = None;
    for covers in [shares, fewest] {
        let mut found = packed(&cut, &covers, columns, base);
        found.derived = derived.clone();
        if best
            .as_ref()
            .is_none_or(|best| found.counts.bootstraps < best.counts.bootstraps)
        {
            best = Some(found);
        }
    }
    let mut best = best.ok_or_else(|| too_deep(model, &cut))?;
    if let Some(derived) = &best.derived {
        let last = derived.score;
        best.base[last] = derived.total - best.base[..last].iter().sum::<f64>();
    }
    Ok(best)
}

fn packed(trees: &[Tree], covers: &[Cover], columns: &[Column], base: &[f64]) -> Layout {
    let mut counts = Counts::default();
    let mut base = base.to_vec();
    let mut groups = Vec::new();
    for (tree, cover) in trees.iter().zip(covers) {
        for (base, default) in base.iter_mut().zip(&cover.default) {
            *base += default;
        }
        counts.leaves += tree.leaves().count();
        let left: usize = cover.pieces.iter().map(|piece| piece.left.len()).sum();
        counts.defaults += 1 + left;
        for piece in &cover.pieces {
            let group = Group::of(tree, columns, piece);
            if group.is_zero() {
                continue;
            }
            *counts.by_splits.entry(piece.inner.len()).or_default() += 1;
            counts.counting += usize::from(!group.counted.is_empty());
            groups.push(group);
        }
    }
    let mut lookups = pack(groups, base.len());
    lookups.retain(|lookup| !lookup.outputs().is_empty());
    counts.bootstraps = lookups.iter().map(Packed::bootstraps).sum();
    Layout {
        lookups,
        base,
        derived: None,
        counts,
    }
}

fn too_deep(model: &Model, trees: &[Tree]) -> CompileError {
    let columns = trees.iter().flat_map(|tree| &tree.paths).map(BTreeMap::len);
    CompileError::Unsupported {
        what: format!(
            "a leaf of this {} model hangs on {} different columns, which",
            model.source,
            columns.max().unwrap_or(0)
        ),
        instead: "a lookup counts at most 15 conditions: train with `max_depth` of 15 or less"
            .into(),
    }
}
