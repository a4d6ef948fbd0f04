//! A program that takes texts: encrypted, it gives exactly what it gives in the clear, with sums of a thousand terms and more.

use std::path::PathBuf;
use std::sync::Arc;

use edge_types::Digest;
use fhe::wire::{Reply, ReplyHeader};
use fhe::{Client, ClientKey, OsEntropy, ParamSet, Program, PublicProgram, Request};
use kernels::{Backend, Compiled, CpuBackend, Engine, Job};

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
    let key = ClientKey::generate(ParamSet::Linear, &mut OsEntropy).unwrap();
    let evaluation = key.evaluation_key(&mut OsEntropy).unwrap();
    let client = Client::new(key, evaluation.id());
    let pending = client
        .encrypt_texts(&public, TEXTS, &mut OsEntropy)
        .unwrap();
    let engine = Engine::new(CpuBackend::new(None).unwrap());
    let job = Job::whole(
        Arc::new(Compiled::new(program.clone()).unwrap()),
        Arc::new(engine.backend().expand(&evaluation).unwrap()),
        Arc::new(Request::from_bytes(&pending.bytes).unwrap()),
    );
    let (results, _) = engine.run(&[job], [3; 32]).unwrap();
    let header = ReplyHeader {
        params: ParamSet::Linear,
        program: public.digest,
        version: public.version,
        key: evaluation.id(),
        request: Digest::of(&pending.bytes),
        rows: TEXTS.len(),
        results_per_row: 1,
        bits: public.result.bits,
    };
    let reply = Reply::round(header, &results[0]).unwrap().to_bytes();
    let rows = client.decrypt(&public, &pending, &reply).unwrap();
    for (row, (text, scores)) in TEXTS.iter().zip(&rows).enumerate() {
        let encoded = public.encode_text(row, text).unwrap();
        let clear = public.clear_scores(&program.evaluate_clear(&encoded).unwrap());
        assert_eq!(scores, &clear, "{text:?}");
    }
    assert_eq!(public.label(&rows[0]), Some("security"));
    assert_eq!(public.label(&rows[1]), Some("routine"));
}
