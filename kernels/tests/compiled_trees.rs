//! Trees that the compiler has laid out: what is decrypted is exactly what the program gives in the clear.

use std::path::{Path, PathBuf};

use common::evaluate;
use compiler::{Calibration, Options};
use fhe::{OsEntropy, ParamSet, Program, PublicProgram};

mod common;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/models/tests/data")
        .join(name)
}

/// The rows of a fixture: columns named x…, an empty cell is a missing value.
fn rows(model: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(model.with_extension("csv")).unwrap();
    let columns = text.lines().next().unwrap().split(',');
    let columns = columns.filter(|name| name.starts_with('x')).count();
    let value = |cell: &str| match cell.is_empty() {
        true => f64::NAN,
        false => cell.parse().unwrap(),
    };
    let row = |line: &str| line.split(',').take(columns).map(value).collect();
    let rows = text.lines().skip(1).map(row);
    rows.filter(|row: &Vec<f64>| !row.iter().any(|x| x.is_infinite()))
        .collect()
}

fn check(name: &str, count: usize) -> Program {
    let path = fixture(name);
    let model = models::read(&path).unwrap();
    let rows = rows(&path);
    let calibration = Calibration { rows: rows.clone() };
    let compiled = compiler::compile(&model, &calibration, &Options::new("test")).unwrap();
    let program = compiled.program;
    let public = PublicProgram::from(&program);
    println!("{name}: {:?}", program.noise());

    let asked: Vec<&[f64]> = rows.iter().take(count).map(Vec::as_slice).collect();
    let encrypted = evaluate(&program, ParamSet::Bootstrap, |client, public| {
        client.encrypt_rows(public, &asked, &mut OsEntropy)
    });
    assert_eq!(encrypted.len(), count);
    for (row, scores) in asked.iter().zip(&encrypted) {
        let inputs = public.encode(0, row).unwrap();
        let clear = public.clear_scores(&program.evaluate_clear(&inputs).unwrap());
        assert_eq!(scores, &clear);
        assert_eq!(public.label(scores), model.label(&model.scores(row)));
    }
    program
}

#[test]
fn trees_of_several_classes_with_missing_values_come_out_exactly() {
    check("lightgbm-classes.txt", 4);
}

#[test]
fn scores_that_wrap_come_out_exactly() {
    let program = check("onnx-forest.onnx", 3);
    assert!(program.file().result.wraps);
}
