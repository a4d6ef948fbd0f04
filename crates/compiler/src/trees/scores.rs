//! A program that gives the model's scores.

use super::emit::{Front, Meaning, Parts};
use super::layout::{Layout, layout};
use super::measure::{self, Cost};
use super::quantise::{Output, Quantised, Sums, UNITS, units};
use super::refine::refine;
use super::{Task, Way, constant, leaves, limit, notes};
use crate::{CompileError, Compiled};

/// Results per score that are tried: each one more costs the client kilobytes a row.
const PARTS: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

pub fn compile(mut task: Task<'_>) -> Result<Compiled, CompileError> {
    let scores = task.trees.base.len();
    let value = |leaf: &[(u32, f64)]| dense(leaf, scores);
    let layout = layout(
        task.model,
        &task.trees,
        &task.columns,
        &task.trees.base,
        &value,
    )?;
    constant(&layout)?;
    let Way {
        layout,
        quantised,
        cost,
    } = best(&task, layout)?;
    limit(
        "the number of bootstraps",
        layout.counts.bootstraps,
        fhe::program::MAX_SUMS,
        "train fewer or smaller trees",
    )?;
    let front = Front::of(
        &layout.lookups,
        &task.columns,
        task.options.uniform_bins.is_some(),
    )?;
    notes::layout(&mut task.notes, &layout, front.inputs());
    let derived = layout.derived.as_ref().map_or(0.0, |derived| derived.bound);
    let names = &task.model.output.names;
    notes::scores(&mut task.notes, names, &quantised, cost, derived);
    if !cost.is_small(task.model) {
        task.notes.push(
            "that is more than is aimed for, and no number of results changes it: see what held-out rows say, or train fewer or smaller trees"
                .into(),
        );
    }
    let about = task.about();
    let program = Parts {
        model: task.model,
        options: task.options,
        front: &front,
        lookups: &layout.lookups,
        quantised: &quantised,
        meaning: Meaning::of_scores(task.model, &quantised),
        last: None,
        about,
    }
    .program()?;
    notes::bits(&mut task.notes, &program);
    Ok(Compiled {
        program,
        notes: task.notes,
    })
}

/// A value for each score.
pub fn dense(leaf: &[(u32, f64)], scores: usize) -> Vec<f64> {
    let mut values = vec![0.0; scores];
    for (score, value) in leaf {
        values[*score as usize] = *value;
    }
    values
}

/// Of each lookup, for each score that it adds to.
pub fn outputs(layout: &Layout) -> Vec<Output> {
    let of = |lookup: &super::pack::Packed| {
        let output = |score: usize| Output {
            values: lookup.table.iter().map(|values| values[score]).collect(),
            counts: vec![0; lookup.table.len()],
        };
        lookup.outputs().into_iter().map(output).collect::<Vec<_>>()
    };
    layout.lookups.iter().flat_map(of).collect()
}

/// Which outputs each score is the sum of. What a table gives everywhere is in the base.
pub fn sums(layout: &Layout, scores: usize) -> Sums {
    let mut terms = vec![Vec::new(); scores];
    let mut base = layout.base.clone();
    let mut output = 0;
    for lookup in &layout.lookups {
        let own = lookup.outputs();
        for score in 0..scores {
            match own.contains(&score) {
                true => {
                    terms[score].push((output, 1));
                    output += 1;
                }
                false => base[score] += lookup.table[0][score],
            }
        }
    }
    if let Some(derived) = &layout.derived {
        let others = terms[..derived.score].iter().flatten();
        let mut negated: Vec<(usize, i64)> = others.map(|(output, _)| (*output, -1)).collect();
        negated.sort_unstable();
        terms[derived.score] = negated;
    }
    Sums {
        terms,
        base,
        one_unit: layout.derived.is_some(),
        last_follows: layout.derived.is_some(),
    }
}

/// Of the two ways to integers, the one with fewer results, or with fewer bootstraps for as many; but none that changes too
/// much where the other does not.
fn best(task: &Task<'_>, layout: Layout) -> Result<Way, CompileError> {
    let scores = task.trees.base.len();
    let sums = sums(&layout, scores);
    let entries = task.entries(&layout);
    let mut outputs = outputs(&layout);
    measure::count(&mut outputs, &entries);
    let exact: Vec<Vec<f64>> = entries
        .iter()
        .map(|row| sums.scores(&outputs, row))
        .collect();
    let most = sums.terms.iter().map(Vec::len).max().unwrap_or(1);
    let (quantised, cost) = finest(task, &sums, &outputs, &entries, &exact)?;
    let tables = Way {
        layout,
        quantised,
        cost,
    };
    let Some(leaves) = leaves::way(task, most)? else {
        return Ok(tables);
    };
    let small = |way: &Way| way.cost.is_small(task.model);
    let price = |way: &Way| {
        let results = way.quantised.scores.iter().map(|score| score.parts.len());
        (results.sum::<usize>(), way.layout.counts.bootstraps)
    };
    let leaves_are_better = match (small(&leaves), small(&tables)) {
        (true, true) => price(&leaves) < price(&tables),
        (false, false) => leaves.cost.beats(&tables.cost),
        (leaves, _) => leaves,
    };
    Ok(match leaves_are_better {
        true => leaves,
        false => tables,
    })
}

/// With the fewest results for which rounding changes little on the calibration rows; or else the one that changes least.
fn finest(
    task: &Task<'_>,
    sums: &Sums,
    outputs: &[Output],
    entries: &[Vec<usize>],
    exact: &[Vec<f64>],
) -> Result<(Quantised, Cost), CompileError> {
    let results = |parts: usize| {
        let of = |terms: &Vec<_>| parts.min(terms.len()).max(1);
        sums.terms.iter().map(of).sum::<usize>()
    };
    let mut best: Option<(Quantised, Cost)> = None;
    let mut before = 0;
    for parts in PARTS {
        let results = results(parts);
        // More parts than outputs change nothing.
        if results == before || results > fhe::program::MAX_RESULTS {
            break;
        }
        before = results;
        let tried = units().take(UNITS).filter_map(|unit| {
            let mut quantised = sums.quantise(outputs, parts, unit, None)?;
            refine(&mut quantised, sums, outputs, entries);
            let after = entries.iter().map(|row| measure::scores(&quantised, row));
            let after: Vec<Vec<f64>> = after.collect();
            let cost = measure::cost(task.model, exact, &after);
            Some((quantised, cost))
        });
        let least = tried.reduce(|best, next| match next.1.beats(&best.1) {
            true => next,
            false => best,
        });
        let Some((quantised, cost)) = least else {
            continue;
        };
        if best.as_ref().is_none_or(|(_, best)| cost.beats(best)) {
            best = Some((quantised, cost));
        }
        if cost.is_small(task.model) {
            break;
        }
    }
    best.ok_or_else(|| CompileError::Unsupported {
        what: "a sum of so many lookups, whose noise leaves no room for a score,".into(),
        instead: "train fewer or smaller trees".into(),
    })
}
