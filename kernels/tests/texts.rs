//! A program that takes texts: encrypted, it gives exactly what it gives in the clear, with sums of a thousand terms and more.

use std::path::PathBuf;

use common::evaluate;
use fhe::{OsEntropy, ParamSet, Program, PublicProgram};

mod common;

const TEXTS: &[&str] = &[
    "sshd[4121]: Failed password for invalid user oracle from 198.51.100.7 port 50112 ssh2",
    "systemd[1]: Started nginx.service.",
    "",
    "ärger über Ωmega 漢字 漢字 漢字 漢字 漢字",
];

#[test]
fn texts_are_scored_encrypted_as_in_the_clear() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/models/log-lines.json");
    let program = Program::from_json(&std::fs::read(path).unwrap()).unwrap();
    assert!(program.terms_per_row() > 1000);
    let public = PublicProgram::from(&program);
    let rows = evaluate(&program, ParamSet::Linear, |client, public| {
        client.encrypt_texts(public, TEXTS, &mut OsEntropy)
    });
    for (row, (text, scores)) in TEXTS.iter().zip(&rows).enumerate() {
        let encoded = public.encode_text(row, text).unwrap();
        let clear = public.clear_scores(&program.evaluate_clear(&encoded).unwrap());
        assert_eq!(scores, &clear, "{text:?}");
    }
    assert_eq!(public.label(&rows[0]), Some("security"));
    assert_eq!(public.label(&rows[1]), Some("routine"));
}
