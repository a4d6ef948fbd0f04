//! The model of log lines in examples/models: compiled from its ONNX file, it is the program that ships, and as good as the model.

use std::path::PathBuf;

use compiler::{Options, TextOptions, text};
use fhe::{Program, PublicProgram};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/models")
        .join(name)
}

/// (text, label) of each row of a CSV file of two columns, whose last one is never quoted.
fn rows(name: &str) -> Vec<(String, String)> {
    let file = std::fs::read_to_string(path(name)).unwrap();
    let row = |line: &str| {
        let (text, label) = line.rsplit_once(',').unwrap();
        let text = match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => text.to_owned(),
        };
        (text, label.to_owned())
    };
    file.lines().skip(1).map(row).collect()
}

#[test]
fn log_lines_are_told_apart_as_well_by_the_program_as_by_the_model() {
    let model = models::read(&path("trained/log-lines.onnx")).unwrap();
    let texts: Vec<String> = rows("trained/log-lines-train.csv")
        .into_iter()
        .map(|(text, _)| text)
        .collect();
    let options = Options {
        description: "Is a log line one that somebody who watches over a system would want to see?"
            .into(),
        ..Options::new("log-lines")
    };
    let how = TextOptions {
        column: "text".into(),
        norm: fhe::text::Norm::None,
        most: None,
    };
    let compiled = text(&model, &texts, &how, &options).unwrap();
    println!("{}", compiled.notes.join("\n"));
    let program = &compiled.program;
    let shipped = Program::from_json(&std::fs::read(path("log-lines.json")).unwrap()).unwrap();
    assert_eq!(
        shipped.digest(),
        program.digest(),
        "examples/models/compile.sh writes the program anew"
    );

    let public = PublicProgram::from(program);
    let encoder = public.text.as_ref().unwrap();
    let (mut same, mut right) = (0, 0);
    let rows = rows("log-lines-test.csv");
    for (text, label) in &rows {
        let encoded = public.encode_text(0, text).unwrap();
        let scores = public.clear_scores(&program.evaluate_clear(&encoded).unwrap());
        let model_scores = model.scores(&encoder.features(text).unwrap());
        same += usize::from(public.label(&scores) == model.label(&model_scores));
        right += usize::from(public.label(&scores) == Some(label));
    }
    println!(
        "of {} held-out lines: {right} right, {same} as the model",
        rows.len()
    );
    assert!(rows.len() == 500 && same >= 497 && right >= 425);
}
