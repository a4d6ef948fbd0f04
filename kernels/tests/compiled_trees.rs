//! Trees that the compiler has laid out: what is decrypted is exactly what the program gives in the clear.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use compiler::{Calibration, Options};
use edge_types::Digest;
use fhe::wire::{Reply, ReplyHeader};
use fhe::{Client, ClientKey, OsEntropy, ParamSet, PublicProgram, Request};
use kernels::{Backend, Compiled, CpuBackend, Engine, Job};

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

fn check(name: &str, count: usize) {
    let path = fixture(name);
    let model = models::read(&path).unwrap();
    let rows = rows(&path);
    let calibration = Calibration { rows: rows.clone() };
    let compiled = compiler::compile(&model, &calibration, &Options::new("test")).unwrap();
    let program = compiled.program;
    let public = PublicProgram::from(&program);
    println!("{name}: {:?}", program.noise());

    let key = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).unwrap();
    let evaluation = key.evaluation_key(&mut OsEntropy).unwrap();
    let client = Client::new(key, evaluation.id());
    let asked: Vec<&[f64]> = rows.iter().take(count).map(Vec::as_slice).collect();
    let pending = client
        .encrypt_rows(&public, &asked, &mut OsEntropy)
        .unwrap();
    let engine = Engine::new(CpuBackend::new(None).unwrap());
    let job = Job::whole(
        Arc::new(Compiled::new(program.clone()).unwrap()),
        Arc::new(engine.backend().expand(&evaluation).unwrap()),
        Arc::new(Request::from_bytes(&pending.bytes).unwrap()),
    );
    let (results, timings) = engine.run(&[job], [3; 32]).unwrap();
    println!("{count} rows: {timings:?}");
    let header = ReplyHeader {
        params: ParamSet::Bootstrap,
        program: public.digest,
        version: public.version,
        key: evaluation.id(),
        request: Digest::of(&pending.bytes),
        rows: count,
        results_per_row: public.result_count(),
        bits: public.result.bits,
    };
    let reply = Reply::round(header, &results[0]).unwrap().to_bytes();
    let encrypted = client.decrypt(&public, &pending, &reply).unwrap();
    assert_eq!(encrypted.len(), count);
    for (row, scores) in asked.iter().zip(&encrypted) {
        let inputs = public.encode(0, row).unwrap();
        let clear = public.clear_scores(&program.evaluate_clear(&inputs).unwrap());
        assert_eq!(scores, &clear);
        assert_eq!(public.label(scores), model.label(&model.scores(row)));
    }
}

#[test]
fn trees_of_several_classes_with_missing_values_come_out_exactly() {
    check("lightgbm-classes.txt", 4);
}

#[test]
fn a_score_of_several_results_comes_out_exactly() {
    check("catboost-ova.json", 3);
}
