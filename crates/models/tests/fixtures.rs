//! Every fixture is read, and gives the scores, predictions and labels that the library that wrote it gives.

use std::fs;
use std::path::{Path, PathBuf};

use models::{Link, Model, SourceFormat};

/// What fixtures.py wrote of one row.
struct Row {
    x: Vec<f64>,
    raw: Vec<f64>,
    out: Vec<f64>,
    label: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Model files by name, in order.
fn model_files() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending != "csv"))
        .collect();
    files.sort();
    files
}

fn rows(model: &Path) -> Vec<Row> {
    let text = fs::read_to_string(model.with_extension("csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let part = |cells: &[&str], prefix: &str| {
        head.iter()
            .zip(cells)
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, cell)| {
                if cell.is_empty() {
                    f64::NAN
                } else {
                    cell.parse().unwrap()
                }
            })
            .collect()
    };
    lines
        .map(|cells| Row {
            x: part(&cells, "x"),
            raw: part(&cells, "raw"),
            out: part(&cells, "out"),
            label: (*cells.last().unwrap()).to_owned(),
        })
        .collect()
}

/// How far a score may be off, as a part of the greatest number that went into it: the libraries' own rounding.
fn tolerance(model: &Model, name: &str) -> f64 {
    match model.source {
        // They add up in f64.
        SourceFormat::LightgbmText | SourceFormat::CatboostJson => 1e-9,
        // They add up in f32.
        SourceFormat::XgboostJson => 2e-6,
        SourceFormat::Onnx if matches!(model.body, models::Body::Trees(_)) => 2e-6,
        // Products of inputs that are not scaled, each rounded to f32.
        SourceFormat::Onnx if name.contains("torch") => 2e-5,
        SourceFormat::Onnx => 5e-6,
    }
}

fn close(got: &[f64], expected: &[f64], tolerance: f64, place: &str) {
    assert_eq!(
        got.len(),
        expected.len(),
        "{place}: {got:?} for {expected:?}"
    );
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (got - expected).abs() <= tolerance * expected.abs().max(1.0),
            "{place}: {got} for {expected}"
        );
    }
}

fn check(path: &Path) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let model = models::read(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    model.check().unwrap();
    let tolerance = tolerance(&model, name);
    let rows = rows(path);
    assert!(rows.len() >= 20, "{name}");
    for (at, row) in rows.iter().enumerate() {
        let place = format!("{name}, row {at}");
        assert_eq!(row.x.len(), model.features.len(), "{place}");
        let scores = model.scores(&row.x);
        if !row.raw.is_empty() {
            close(&scores, &row.raw, tolerance, &place);
        }
        close(
            &model.linked(&scores),
            &row.out,
            tolerance,
            &format!("{place}, linked"),
        );
        assert_eq!(model.label(&scores).unwrap_or(""), row.label, "{place}");
        // A client that rounds its inputs to f32 first takes the same path, where the library itself rounds.
        if model.source != SourceFormat::LightgbmText
            && name != "onnx-tree-double"
            && matches!(model.body, models::Body::Trees(_))
        {
            let rounded: Vec<_> = row.x.iter().map(|x| f64::from(*x as f32)).collect();
            assert_eq!(model.scores(&rounded), scores, "{place}");
        }
    }
}

#[test]
fn every_fixture_gives_what_its_library_gives() {
    let files = model_files();
    assert_eq!(files.len(), 63, "fixtures.py makes so many");
    let failed: Vec<_> = files
        .iter()
        .filter(|path| std::panic::catch_unwind(|| check(path)).is_err())
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        files.len()
    );
}

#[test]
fn every_kind_is_there() {
    let read: Vec<_> = model_files()
        .iter()
        .map(|path| models::read(path).unwrap())
        .collect();
    for source in [
        SourceFormat::Onnx,
        SourceFormat::XgboostJson,
        SourceFormat::LightgbmText,
        SourceFormat::CatboostJson,
    ] {
        assert!(read.iter().any(|model| model.source == source), "{source}");
    }
    for link in [Link::Identity, Link::Logistic, Link::Softmax, Link::Exp] {
        assert!(
            read.iter().any(|model| model.output.link == link),
            "{link:?}"
        );
    }
}

#[test]
fn names_are_those_of_the_file() {
    let read = |name: &str| models::read(&folder().join(name)).unwrap();
    assert_eq!(read("xgboost-binary.json").features[3], "cell 3");
    assert_eq!(read("xgboost-value.json").features[3], "f3");
    assert_eq!(read("lightgbm-sigmoid.txt").features[3], "cell_3");
    assert_eq!(read("catboost-binary.json").features[3], "cell 3");
    assert_eq!(read("onnx-columns.onnx").features[3], "column_3");
    assert_eq!(
        read("catboost-classes.json").output.names,
        ["barbera", "barolo", "grignolino"]
    );
    assert_eq!(
        read("onnx-forest-names.onnx").output.names,
        ["barbera", "barolo", "grignolino"]
    );
}
