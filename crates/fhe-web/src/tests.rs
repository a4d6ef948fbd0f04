//! The steps that a page takes, one after the other, with a gateway's part played here.

use edge_types::Digest;
use fhe::params::LWE_WORDS;
use fhe::program::ProgramFile;
use fhe::{Program, Reply, Request};

use super::*;

/// The program of log lines, as a gateway tells it.
fn program() -> (Program, Vec<u8>) {
    let bytes = include_bytes!("../../../examples/models/log-lines.json");
    let file: ProgramFile = serde_json::from_slice(bytes).unwrap();
    let program = Program::new(file).unwrap();
    let public = serde_json::to_vec(&PublicProgram::from(&program)).unwrap();
    (program, public)
}

/// A reply that carries `integer` without a mask.
fn reply(program: &Program, request: &[u8], integer: i64) -> Vec<u8> {
    let mut words = vec![0; LWE_WORDS];
    words[LWE_WORDS - 1] = (integer as u64) << (64 - program.result_step_bits());
    let digest = Digest::of(request);
    let request = Request::from_bytes(request).unwrap();
    let reply = Reply::to(&request, digest, program, &words);
    reply.unwrap().to_bytes()
}

#[test]
fn a_page_makes_keys_asks_and_reads_the_answer() {
    let (program, public) = program();
    let mut made = Secret::generate("linear-2048-128")
        .and_then(Secret::evaluation_key)
        .unwrap();
    let keys = made.keys().unwrap();
    assert!(made.keys().is_err_and(|why| why.contains("taken")));
    let evaluation = EvaluationKey::from_bytes(made.evaluation_key()).unwrap();
    assert_eq!(evaluation.id().to_string(), keys.id());

    let asker = Asker::new(&keys, &public).unwrap();
    assert!(asker.encrypt_row(&[1.0]).is_err());
    let pending = asker.encrypt_text("Failed password for root").unwrap();
    let request = pending.bytes();
    for (integer, label) in [(500, "security"), (-500, "routine")] {
        let said = asker.decrypt(&pending, &reply(&program, &request, integer));
        let said: serde_json::Value = serde_json::from_str(&said.unwrap()).unwrap();
        assert_eq!(said["label"], label);
        assert_eq!(said["scores"][0]["name"], "security");
        let share = said["scores"][0]["linked"].as_f64().unwrap();
        assert_eq!(share > 0.5, integer > 0);
    }
    assert!(asker.decrypt(&pending, &request).is_err());
}

#[test]
fn kept_keys_are_the_same_keys() {
    let mut made = Secret::generate("linear-2048-128")
        .and_then(Secret::evaluation_key)
        .unwrap();
    let keys = made.keys().unwrap();
    let kept = Keys::restore(&keys.to_bytes(), &keys.id()).unwrap();
    assert_eq!((kept.id(), kept.set()), (keys.id(), keys.set()));
    assert_eq!(kept.to_bytes(), keys.to_bytes());
    assert!(Keys::restore(&keys.to_bytes()[1..], &keys.id()).is_err());
    assert!(Keys::restore(&keys.to_bytes(), "no id").is_err());
}

#[test]
fn what_is_no_set_and_no_program_says_so() {
    let said = Secret::generate("rot13").err().unwrap();
    assert!(said.contains("rot13") && said.contains("params"), "{said}");
    let mut made = Secret::generate("linear-2048-128")
        .and_then(Secret::evaluation_key)
        .unwrap();
    assert!(Asker::new(&made.keys().unwrap(), b"{}").is_err());
}
