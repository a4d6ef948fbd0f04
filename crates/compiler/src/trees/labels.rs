//! A program that gives the label alone.
//!
//! One tree has a label in each leaf: the program gives its place in the list of labels. A sum of trees with two labels
//! needs a second round, whose lookup holds the sum against the threshold; a lookup reads 16 values, so that this is only
//! done where so coarse a sum decides like the model.

use fhe::ProgramError;
use models::Decide;

use super::emit::{Front, LastLookup, Meaning, Parts};
use super::layout::layout;
use super::quantise::{Quantised, Sums, Unit};
use super::refine::refine;
use super::{Task, constant, measure, notes, scores};
use crate::{CompileError, Compiled};

/// Values that the last lookup tells apart, in bits.
const DECIDING_BITS: u32 = 4;
/// A label's place in a list of two, after the last lookup.
const LABEL_STEP_BITS: u32 = 4;

pub fn compile(mut task: Task<'_>) -> Result<Compiled, CompileError> {
    let labels = task.model.output.decide.labels();
    let (program, notes) = match (task.trees.trees.len(), &task.model.output.decide) {
        (1, _) => one_tree(&task, labels),
        (_, Decide::Threshold { at, .. }) => two_labels(&task, *at, labels, |values| values[0]),
        // Of equal scores the first one wins: the second needs more than nothing.
        (_, Decide::Greatest { .. }) if labels.len() == 2 => {
            two_labels(&task, 0.0, labels, |values| values[1] - values[0])
        }
        (trees, Decide::Greatest { .. } | Decide::None) => Err(refused(
            format!("the greatest of several sums of {trees} trees"),
            "no lookup compares two sums: ask for scores, or train one tree",
        )),
    }?;
    task.notes.extend(notes);
    Ok(Compiled {
        program,
        notes: task.notes,
    })
}

fn refused(what: String, instead: &str) -> CompileError {
    CompileError::Unsupported {
        what,
        instead: instead.into(),
    }
}

/// Of a sum that is too coarse or too noisy for its label.
fn too_coarse(why: &str) -> CompileError {
    refused(
        format!("the label of a sum of trees, where {why},"),
        "ask for scores, or train one tree",
    )
}

type Found = (fhe::Program, Vec<String>);

fn one_tree(task: &Task<'_>, labels: Vec<String>) -> Result<Found, CompileError> {
    let value = |leaf: &[(u32, f64)]| {
        let mut scores = task.trees.base.clone();
        for (score, value) in leaf {
            scores[*score as usize] += value;
        }
        let label = task.model.label(&scores).unwrap_or_default();
        let place = labels.iter().position(|other| other == label);
        vec![place.unwrap_or(0) as f64]
    };
    let layout = layout(task.model, &task.trees, &task.columns, &[0.0], &value)?;
    constant(&layout)?;
    let front = Front::of(
        &layout.lookups,
        &task.columns,
        task.options.uniform_bins.is_some(),
    )?;
    let outputs = scores::outputs(&layout);
    let quantised = scores::sums(&layout, 1).quantise(&outputs, 1, Unit::Fixed(1.0), None);
    let quantised = quantised.ok_or_else(|| too_coarse("noise leaves no room for it"))?;
    let program = Parts {
        model: task.model,
        options: task.options,
        front: &front,
        lookups: &layout.lookups,
        quantised: &quantised,
        meaning: Meaning::of_labels(labels, quantised.scores[0].offset),
        last: None,
        about: task.about(),
    }
    .program()?;
    let mut notes = Vec::new();
    notes::layout(&mut notes, &layout, front.inputs());
    notes.push("the result is the label's place in the list, exactly the model's".into());
    notes::bits(&mut notes, &program);
    Ok((program, notes))
}

/// The second label where what `decides` makes of the scores is above `at`. It is linear.
fn two_labels(
    task: &Task<'_>,
    at: f64,
    labels: Vec<String>,
    decides: impl Fn(&[f64]) -> f64,
) -> Result<Found, CompileError> {
    let width = task.trees.base.len();
    let value = |leaf: &[(u32, f64)]| vec![decides(&scores::dense(leaf, width))];
    let base = [decides(&task.trees.base)];
    let layout = layout(task.model, &task.trees, &task.columns, &base, &value)?;
    constant(&layout)?;
    let front = Front::of(
        &layout.lookups,
        &task.columns,
        task.options.uniform_bins.is_some(),
    )?;
    let entries = task.entries(&layout);
    let mut outputs = scores::outputs(&layout);
    measure::count(&mut outputs, &entries);
    let sums: Sums = scores::sums(&layout, 1);
    let exact: Vec<Vec<f64>> = entries
        .iter()
        .map(|row| sums.scores(&outputs, row))
        .collect();
    let quantised = sums.quantise(
        &outputs,
        1,
        Unit::Finest { times: 1.0 },
        Some((1 << DECIDING_BITS) - 1),
    );
    let mut quantised = quantised.ok_or_else(|| too_coarse("16 values are too few for it"))?;
    refine(&mut quantised, &sums, &outputs, &entries);
    let after: Vec<Vec<f64>> = entries
        .iter()
        .map(|row| measure::scores(&quantised, row))
        .collect();
    let same = measure::same(&exact, &after, |scores| scores[0] > at);
    if !measure::is_kept(same) {
        return Err(too_coarse(&format!(
            "16 values, which is what a lookup reads, keep only {:.2} % of the calibration rows' labels",
            same * 100.0
        )));
    }
    let (quantised, table) = deciding(quantised, at);
    if table.iter().all(|label| *label == table[0]) {
        return Err(too_coarse(
            "all of the 16 values that are told apart decide in the same way",
        ));
    }
    let program = Parts {
        model: task.model,
        options: task.options,
        front: &front,
        lookups: &layout.lookups,
        quantised: &quantised,
        meaning: Meaning::of_labels(labels, 0.0),
        last: Some(LastLookup {
            table,
            step_bits: LABEL_STEP_BITS,
        }),
        about: task.about(),
    }
    .program();
    let program = program.map_err(|error| match error {
        ProgramError::TooNoisy { .. } => {
            too_coarse("the noise of so many lookups is too much for one more")
        }
        other => CompileError::Program(other),
    })?;
    let mut notes = Vec::new();
    notes::layout(&mut notes, &layout, front.inputs());
    notes.push(format!(
        "one more lookup holds the sum, as one of 16 values, against the threshold: {:.2} % of the calibration rows keep their label",
        same * 100.0
    ));
    notes::bits(&mut notes, &program);
    Ok((program, notes))
}

/// The sum moved to 0..16, read by a lookup whose table says on which side of the threshold a sum's score lies.
fn deciding(mut quantised: Quantised, at: f64) -> (Quantised, Vec<i64>) {
    let half = 1 << (DECIDING_BITS - 1);
    let score = &mut quantised.scores[0];
    for part in &mut score.parts {
        part.bias += half;
        score.offset -= score.unit * half as f64;
    }
    let above = |sum: i64| i64::from(sum as f64 * score.unit + score.offset > at);
    let table = (0..2 * half).map(above).collect();
    quantised.step_bits = DECIDING_BITS + 1;
    (quantised, table)
}
