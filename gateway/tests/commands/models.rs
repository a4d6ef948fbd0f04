//! Models from file to encrypted answers, as people do it: `veilgate model compile`, `inspect` and `evaluate`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::site::{Folder, Said};

/// The first columns of the breast cancer data: what the models were trained on, with benign as 1.
const COLUMNS: usize = 10;
/// Bootstraps of a debug build take their time.
const ROWS: &str = "3";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fixture(name: &str) -> String {
    let path = root().join("crates/models/tests/data").join(name);
    path.to_str().expect("text").to_owned()
}

fn folder() -> Folder {
    let folder = Folder::with_certificates();
    let csv = std::fs::read_to_string(root().join("examples/models/breast-cancer-test.csv"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let label = match cells[cells.len() - 1] {
            "benign" => "1",
            "malignant" => "0",
            head => head,
        };
        format!("{},{label}\n", cells[..COLUMNS].join(","))
    };
    let rows: String = csv.expect("rows").lines().map(row).collect();
    folder.write("rows.csv", rows);
    folder
}

fn compile(folder: &Folder, model: &str, more: &[&str]) -> Said {
    let model = fixture(model);
    let given = [
        "model",
        "compile",
        &*model,
        "--calibration",
        "rows.csv",
        "--label",
        "label",
        "-o",
        "program.json",
    ];
    folder.veilgate(&[&given, more].concat())
}

fn json(said: Said) -> Value {
    serde_json::from_str(&said.fine().out).expect("JSON")
}

fn evaluate(folder: &Folder, model: &str) -> Value {
    let model = fixture(model);
    let given = [
        "model",
        "evaluate",
        "program.json",
        "--data",
        "rows.csv",
        "--label",
        "label",
        "--limit",
        ROWS,
        "--model",
        &*model,
        "--json",
    ];
    json(folder.veilgate(&given))
}

/// Compiled, looked into and evaluated; gives what the inspection says.
fn check(model: &str, more: &[&str], lookups: u64) {
    let folder = folder();
    let said = compile(&folder, model, more).fine();
    assert!(said.out.contains("right labels"), "{}", said.out);
    let seen = json(folder.veilgate(&["model", "inspect", "program.json", "--json"]));
    assert_eq!(seen["lookups"], lookups, "{seen}");
    assert!(
        seen["row_log2_p_fail"].as_f64().is_none_or(|p| p < -100.0),
        "{seen}"
    );
    assert_eq!(
        seen["clients_learn"]["columns"]
            .as_object()
            .map(|c| c.len()),
        Some(COLUMNS)
    );
    let report = evaluate(&folder, model);
    assert_eq!(
        (&report["rows"], &report["mismatches"]),
        (&3.into(), &0.into()),
        "{report}"
    );
    for side in ["clear", "quantised", "encrypted"] {
        assert_eq!(report[side]["accuracy"], 1.0, "{side}: {report}");
        for measure in ["precision", "recall", "f1", "roc_auc", "confusion"] {
            assert!(report[side].get(measure).is_some(), "{side}: {measure}");
        }
    }
    assert_eq!(report["bytes"], seen["bytes"]);
    assert!(report["latency_ms"]["p50"].as_f64() <= report["latency_ms"]["p99"].as_f64());
}

#[test]
fn a_linear_model_goes_from_file_to_encrypted_answers() {
    check(
        "onnx-logistic.onnx",
        &["--name", "benign", "--version", "3"],
        0,
    );
}

#[test]
fn a_network_goes_from_file_to_encrypted_answers() {
    check("onnx-mlp.onnx", &[], 8);
}

#[test]
fn a_program_can_give_labels_alone() {
    check("onnx-logistic.onnx", &["--output", "labels"], 1);
}

/// A file that only numbers its labels: the program has their names, and its answers are the model's under the same names.
#[test]
fn labels_can_be_given_their_names() {
    let folder = folder();
    let named = |text: String| {
        text.replace(",1\n", ",benign\n")
            .replace(",0\n", ",malignant\n")
    };
    let rows = std::fs::read_to_string(folder.path().join("rows.csv")).expect("rows");
    folder.write("rows.csv", named(rows));
    compile(&folder, "xgboost-binary.json", &["--labels", "benign"])
        .refused(2, &["--labels names 1", "the model has 2: 0, 1"]);
    compile(
        &folder,
        "onnx-logistic.onnx",
        &["--labels", "malignant,benign"],
    )
    .fine();
    let report = evaluate(&folder, "onnx-logistic.onnx");
    assert_eq!(report["mismatches"], 0, "{report}");
    for of in ["clear", "quantised", "encrypted"] {
        assert!(
            report[of]["accuracy"].as_f64() > Some(0.9),
            "{of}: {report}"
        );
    }
}

/// Three classes by a network of two hidden layers, and then the comparisons of its scores.
#[test]
fn labels_of_several_classes_are_compared_under_encryption() {
    let folder = Folder::with_certificates();
    let csv = std::fs::read_to_string(fixture("onnx-mlp-classes.csv")).expect("rows");
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let inputs = lines[0].iter().filter(|name| name.starts_with('x')).count();
    let row = |cells: &Vec<&str>| {
        let label = cells[cells.len() - 1];
        format!("{},{label}\n", cells[..inputs].join(","))
    };
    folder.write("rows.csv", lines.iter().map(row).collect::<String>());
    compile(&folder, "onnx-mlp-classes.onnx", &["--output", "labels"]).fine();
    let report = evaluate(&folder, "onnx-mlp-classes.onnx");
    assert_eq!(report["mismatches"], 0, "{report}");
    assert_eq!(report["encrypted"]["accuracy"], 1.0, "{report}");
    // A label alone ranks nothing among three classes.
    assert!(report["encrypted"]["roc_auc"].is_null(), "{report}");
}

#[test]
fn a_person_is_told_what_is_wrong_with_models_and_rows() {
    let folder = folder();
    compile(&folder, "none.onnx", &[]).refused(2, &["none.onnx"]);
    compile(&folder, "onnx-logistic.csv", &[]).refused(2, &["onnx-logistic.csv"]);
    compile(&folder, "onnx-logistic.onnx", &["--name", "No Name"]).refused(2, &["--name"]);
    compile(&folder, "onnx-logistic.onnx", &["--input-bits", "40"]).refused(2, &["3 to 16"]);
    folder.write("rows.csv", "a,b,label\n1,2,0\n");
    compile(&folder, "onnx-logistic.onnx", &[]).refused(2, &["takes 10 columns", "--label"]);
    folder
        .veilgate(&["model", "inspect", "rows.csv"])
        .refused(2, &["not a program file"]);
}

#[test]
fn a_text_for_people_says_what_a_client_learns() {
    let folder = folder();
    compile(&folder, "onnx-mlp.onnx", &[]).fine();
    let text = folder
        .veilgate(&["model", "inspect", "program.json"])
        .fine()
        .out;
    for words in [
        "8 rounded lookups",
        "what a client learns",
        "mean radius",
        "predicted",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    folder.write("rows.csv", "mean radius\n1\n");
    let evaluate = [
        "model",
        "evaluate",
        "program.json",
        "--data",
        "rows.csv",
        "--label",
        "none",
    ];
    folder.veilgate(&evaluate).refused(2, &["no column `none`"]);
}

#[test]
fn a_model_of_texts_becomes_a_program_that_takes_texts() {
    let folder = Folder::with_certificates();
    let shipped = |name: &str| {
        let path = root().join("examples/models/trained").join(name);
        path.to_str().expect("text").to_owned()
    };
    let (model, rows) = (shipped("log-lines.onnx"), shipped("log-lines-train.csv"));
    let compile = |column: &str| {
        let given = ["model", "compile", &*model, "--calibration", &*rows];
        let more = ["--text", column, "-o", "texts.json"];
        folder.veilgate(&[&given[..], &more[..]].concat())
    };
    let said = compile("text").fine();
    assert!(said.out.contains("2048 buckets"), "{}", said.out);
    let program = std::fs::read(folder.path().join("texts.json")).expect("the program");
    let program: Value = serde_json::from_slice(&program).expect("JSON");
    assert_eq!(program["text"]["buckets"], 2048);
    assert_eq!(program["columns"][0], "text");
    compile("none").refused(2, &["no column `none`", "--text"]);
}

#[test]
fn a_program_that_takes_texts_is_evaluated_as_one_that_takes_numbers() {
    let folder = Folder::with_certificates();
    let shipped = |name: &str| {
        let path = root().join("examples/models").join(name);
        path.to_str().expect("text").to_owned()
    };
    let (program, rows) = (shipped("log-lines.json"), shipped("log-lines-test.csv"));
    let model = shipped("trained/log-lines.onnx");
    let evaluate = |rows: &str, more: &[&str]| {
        let given = ["model", "evaluate", &*program, "--data", rows];
        folder.veilgate(&[&given[..], &["--label", "label", "--threads", "1"], more].concat())
    };
    let more = [
        "--model",
        &*model,
        "--limit",
        "20",
        "--backend",
        "cpu",
        "--json",
    ];
    let report = json(evaluate(&rows, &more));
    assert_eq!(
        (&report["rows"], &report["mismatches"]),
        (&20.into(), &0.into()),
        "{report}"
    );
    for side in ["clear", "quantised", "encrypted"] {
        let accuracy = report[side]["accuracy"].as_f64().expect("a number");
        assert!(accuracy >= 0.9, "{side}: {report}");
    }
    assert_eq!(report["quantised"], report["encrypted"]);
    let seen = json(folder.veilgate(&["model", "inspect", &*program, "--json"]));
    assert_eq!(report["bytes"], seen["bytes"]);

    // Another column holds the texts; and one of them is none.
    let long = "word ".repeat(5000);
    folder.write(
        "rows.csv",
        format!("line,label\nsshd: Failed password for root,security\n{long},routine\n"),
    );
    let said = folder.path().join("rows.csv");
    let said = said.to_str().expect("text");
    evaluate(said, &[]).refused(2, &["no column `text`", "--text"]);
    evaluate(said, &["--text", "none"]).refused(2, &["no column `none`", "--text"]);
    evaluate(said, &["--text", "line"]).refused(2, &["row 2", "more than 4096 words"]);
    let one = evaluate(said, &["--text", "line", "--limit", "1"]).fine();
    assert!(
        one.out.contains("1 rows; 0 encrypted labels"),
        "{}",
        one.out
    );
    let numbers = shipped("breast-cancer-linear.json");
    let benign = shipped("breast-cancer-test.csv");
    let other = shipped("trained/breast-cancer-linear.onnx");
    evaluate(said, &["--text", "line", "--limit", "1", "--model", &other])
        .refused(2, &["30 columns", "2048 buckets"]);
    let given = ["model", "evaluate", &*numbers, "--data", &*benign];
    folder
        .veilgate(&[&given[..], &["--label", "label", "--text", "line"]].concat())
        .refused(2, &["takes numbers", "--text"]);
}
