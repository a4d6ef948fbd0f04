//! Trees as programs: the same scores within what is promised, the same labels, and as few lookups as known shapes allow.

use std::fs;
use std::path::{Path, PathBuf};

use compiler::{Calibration, Compiled, Options, Output, compile};
use fhe::PublicProgram;
use models::{Body, Decide, Link, Model, Node, SourceFormat, Tree, Trees};
use proptest::prelude::*;

fn options() -> Options {
    Options::new("test")
}

fn labels_only() -> Options {
    Options {
        output: Output::Labels,
        ..options()
    }
}

/// "never off by more than 1.234e-2" of each score's note.
fn bounds(compiled: &Compiled) -> Vec<f64> {
    let after = |note: &String| Some(note.split_once("never off by more than ")?.1.parse().unwrap());
    compiled.notes.iter().filter_map(after).collect()
}

fn clear(compiled: &Compiled, row: &[f64]) -> (Vec<f64>, Option<String>) {
    let public = PublicProgram::from(&compiled.program);
    let inputs = public.encode(0, row).unwrap();
    let results = compiled.program.evaluate_clear(&inputs).unwrap();
    let scores = public.clear_scores(&results);
    let label = public.label(&scores).map(str::to_owned);
    (scores.iter().map(|score| score.value).collect(), label)
}

/// Whether no score lies so near to where the label changes that the bound could cross it.
fn label_is_clear(model: &Model, scores: &[f64], bounds: &[f64]) -> bool {
    match &model.output.decide {
        Decide::None => true,
        Decide::Threshold { at, .. } => (scores[0] - at).abs() > bounds[0],
        Decide::Greatest { .. } => {
            let best = (0..scores.len()).reduce(|b, s| if scores[s] > scores[b] { s } else { b });
            let best = best.unwrap();
            (0..scores.len())
                .all(|s| s == best || scores[best] - scores[s] > bounds[s] + bounds[best])
        }
    }
}

/// Holds the program against the model on these rows; gives the share of rows with the model's label.
fn check(model: &Model, compiled: &Compiled, rows: &[Vec<f64>]) -> f64 {
    let bounds: Vec<f64> = bounds(compiled).iter().map(|bound| bound * 1.001 + 1e-9).collect();
    assert_eq!(bounds.len(), model.output.names.len(), "{:?}", compiled.notes);
    let mut same = 0;
    for row in rows {
        let expected = model.scores(row);
        let (scores, label) = clear(compiled, row);
        for ((score, expected), bound) in scores.iter().zip(&expected).zip(&bounds) {
            assert!(
                (score - expected).abs() <= *bound,
                "{score} for {expected}, bound {bound}, row {row:?}"
            );
        }
        let is_same = label.as_deref() == model.label(&expected);
        same += usize::from(is_same);
        assert!(is_same || !label_is_clear(model, &expected, &bounds), "{row:?}");
    }
    let leaves = leaves(model);
    let bootstraps = compiled.program.bootstraps_per_row();
    assert!(bootstraps <= leaves, "{bootstraps} for {leaves} leaves");
    same as f64 / rows.len() as f64
}

/// Leaves, each times the scores that it has values for.
fn leaves(model: &Model) -> usize {
    let Body::Trees(trees) = &model.body else {
        panic!("no trees")
    };
    let nodes = trees.trees.iter().flat_map(|tree| &tree.nodes);
    let values = nodes.map(|node| match node {
        Node::Leaf { values } => values.len().max(1),
        Node::Split { .. } => 0,
    });
    values.sum()
}

// Fixtures: what libraries wrote.

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/data");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending != "csv"))
        .collect();
    files.sort();
    files
}

fn fixture_rows(model: &Path) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(model.with_extension("csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let columns = head.iter().filter(|name| name.starts_with('x')).count();
    let value = |cell: &&str| match cell.is_empty() {
        true => f64::NAN,
        false => cell.parse().unwrap(),
    };
    lines.map(|cells| cells[..columns].iter().map(value).collect()).collect()
}

#[test]
fn every_fixture_with_trees_keeps_its_labels() {
    let mut met = 0;
    for path in fixtures() {
        let model = models::read(&path).unwrap();
        let Body::Trees(trees) = &model.body else {
            continue;
        };
        met += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rows = fixture_rows(&path);
        let calibration = Calibration { rows: rows.clone() };
        let compiled = compile(&model, &calibration, &options())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let same = check(&model, &compiled, &rows);
        println!(
            "{name}: {} trees, {} leaf values, {} bootstraps, {} results, {} inputs, labels {same:.3}\n    {}",
            trees.trees.len(),
            leaves(&model),
            compiled.program.bootstraps_per_row(),
            compiled.program.result_count(),
            compiled.program.input_count(),
            compiled.notes.join("\n    ")
        );
        assert!(same >= 0.97, "{name}: {same}");
    }
    assert!(met >= 30, "{met}");
}
