//! What is told of a layout: how many bootstraps, how they came about, and what rounding changed.

use fhe::Program;
use models::{Body, Model, Trees};

use super::edges::{Column, Missing};
use super::layout::Layout;
use super::measure::{self, Cost};
use super::quantise::Quantised;

/// What moving the thresholds to uniform bins changed.
pub fn uniform(model: &Model, moved: &Trees, rows: &[&[f64]], bins: usize) -> String {
    let mut other = model.clone();
    other.body = Body::Trees(moved.clone());
    let before: Vec<Vec<f64>> = rows.iter().map(|row| model.scores(row)).collect();
    let after: Vec<Vec<f64>> = rows.iter().map(|row| other.scores(row)).collect();
    let cost = measure::cost(model, &before, &after);
    format!(
        "{bins} evenly filled bins a column in place of the model's edges: {}",
        changed(cost)
    )
}

fn changed(cost: Cost) -> String {
    format!(
        "{:.2} % of the calibration rows keep their label, scores are off by {:.2} % of their standard deviation",
        cost.labels_same * 100.0,
        cost.share * 100.0
    )
}

pub fn missing(model: &Model, columns: &[Column]) -> Option<String> {
    let named = |of: Missing| {
        let pairs = columns.iter().zip(&model.features);
        let names = pairs.filter(|(column, _)| column.missing == of);
        names.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
    };
    let refused = named(Missing::Refused);
    (!refused.is_empty()).then(|| {
        format!(
            "rows that miss a value are refused in {}: no calibration row misses one there, and minding them would cost lookups; add such rows if they are to be answered",
            refused.join(", ")
        )
    })
}

pub fn layout(notes: &mut Vec<String>, layout: &Layout, inputs: usize) {
    let counts = &layout.counts;
    notes.push(format!(
        "{} bootstraps a row for {} leaves, from {inputs} inputs",
        counts.bootstraps, counts.leaves
    ));
    let pieces: Vec<String> = counts
        .by_splits
        .iter()
        .map(|(splits, count)| match splits {
            0 => format!("{count} of a single leaf"),
            1 => format!("{count} of 1 split"),
            splits => format!("{count} of {splits} splits"),
        })
        .collect();
    let total: usize = counts.by_splits.values().sum();
    let shared: usize = layout
        .lookups
        .iter()
        .map(|lookup| lookup.groups)
        .filter(|groups| *groups > 1)
        .sum();
    notes.push(format!(
        "{total} pieces of trees ({}), {} of them under conditions that are counted; {} defaults, for which no leaf pays",
        pieces.join(", "),
        counts.counting,
        counts.defaults
    ));
    notes.push(format!(
        "{} lookups, {shared} pieces share one with others; {} tables read at several places or more than once",
        layout.lookups.len(),
        layout.lookups.iter().filter(|lookup| lookup.outputs().len() > 1).count()
    ));
    if layout.derived.is_some() {
        notes.push(
            "the last score is found from the others: all of them add up to the same in every leaf"
                .into(),
        );
    }
}

/// `derived`: how far a score that is found from the others may be off because of that.
pub fn scores(
    notes: &mut Vec<String>,
    names: &[String],
    quantised: &Quantised,
    cost: Cost,
    derived: f64,
) {
    for (index, (score, name)) in quantised.scores.iter().zip(names).enumerate() {
        let last = index + 1 == quantised.scores.len();
        let bound = score.bound + if last { derived } else { 0.0 };
        notes.push(format!(
            "score `{name}`: {} results of {} bits each, in units of {:.3e}, never off by more than {bound:.3e}",
            score.parts.len(),
            quantised.step_bits,
            score.unit
        ));
    }
    notes.push(format!("rounding: {}", changed(cost)));
}

pub fn bits(notes: &mut Vec<String>, program: &Program) {
    let file = program.file();
    notes.push(format!(
        "{} bits of each input and {} bits of each word of a result are sent",
        file.input_bits, file.result.bits
    ));
}
