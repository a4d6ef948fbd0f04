//! The models that ship in examples/models: what they promise, on the rows that they have not seen.

use std::path::PathBuf;
use std::sync::Arc;

use edge_types::Digest;
use fhe::wire::{Reply, ReplyHeader};
use fhe::{Client, ClientKey, OsEntropy, ParamSet, Program, PublicProgram, Request, Score};
use kernels::{Backend, Compiled, CpuBackend, Engine, Job};

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/models")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The held-out rows, and their labels.
fn rows() -> Vec<(Vec<f64>, String)> {
    let text = String::from_utf8(file("breast-cancer-test.csv")).unwrap();
    let row = |line: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        let label = cells.pop().unwrap().to_owned();
        (
            cells.iter().map(|cell| cell.parse().unwrap()).collect(),
            label,
        )
    };
    text.lines().skip(1).map(row).collect()
}

/// Evaluates `rows` in the clear and encrypted; every label must be the same, and every score within its error.
fn check(name: &str, set: ParamSet, count: usize, at_least: f64) {
    let program = Program::from_json(&file(name)).unwrap();
    let public = PublicProgram::from(&program);
    let rows = rows();
    let clear = |row: &[f64]| {
        public.clear_scores(
            &program
                .evaluate_clear(&public.encode(0, row).unwrap())
                .unwrap(),
        )
    };
    let right = rows
        .iter()
        .filter(|(row, label)| public.label(&clear(row)) == Some(label))
        .count();
    let accuracy = right as f64 / rows.len() as f64;
    println!("{name}: accuracy {accuracy:.4}, {:?}", program.noise());
    assert!(rows.len() >= 100 && accuracy >= at_least, "{accuracy}");

    let key = ClientKey::generate(set, &mut OsEntropy).unwrap();
    let evaluation = key.evaluation_key(&mut OsEntropy).unwrap();
    let client = Client::new(key, evaluation.id());
    let asked: Vec<&[f64]> = rows
        .iter()
        .take(count)
        .map(|(row, _)| row.as_slice())
        .collect();
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
    println!(
        "{count} rows: {timings:?}, {} bytes up",
        pending.bytes.len()
    );
    let header = ReplyHeader {
        params: set,
        program: public.digest,
        version: public.version,
        key: evaluation.id(),
        request: Digest::of(&pending.bytes),
        rows: count,
        results_per_row: 1,
        bits: public.result.bits,
    };
    let reply = Reply::round(header, &results[0]).unwrap().to_bytes();
    let encrypted = client.decrypt(&public, &pending, &reply).unwrap();
    for (row, scores) in asked.iter().zip(&encrypted) {
        compare(&public, &clear(row), scores);
    }
}

fn compare(public: &PublicProgram, clear: &[Score], encrypted: &[Score]) {
    assert_eq!(public.label(clear), public.label(encrypted));
    for ((clear, encrypted), error) in clear.iter().zip(encrypted).zip(&public.noise.score_error) {
        assert!(
            (clear.value - encrypted.value).abs() <= *error,
            "{clear:?} and {encrypted:?}"
        );
    }
}

#[test]
fn the_linear_model_is_as_good_encrypted_as_in_the_clear() {
    check("breast-cancer-linear.json", ParamSet::Linear, 171, 0.97);
}

#[test]
fn the_tree_ensemble_is_as_good_encrypted_as_in_the_clear() {
    let program = Program::from_json(&file("breast-cancer-trees.json")).unwrap();
    assert!(program.bootstraps_per_row() >= 10 && program.noise().rounds.len() == 1);
    check("breast-cancer-trees.json", ParamSet::Bootstrap, 16, 0.95);
}
