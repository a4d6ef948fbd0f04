//! One client, one engine, one request: encrypted, evaluated and decrypted, as a client and a gateway do it together.

use std::sync::Arc;

use fhe::client::Pending;
use fhe::{Client, ClientKey, FheError, OsEntropy, ParamSet, Program, PublicProgram, Score};
use kernels::{Backend, Compiled, CpuBackend, Engine};

/// The scores of each row that `encrypt` encrypts, under new keys of this set.
pub fn evaluate(
    program: &Program,
    set: ParamSet,
    encrypt: impl FnOnce(&Client, &PublicProgram) -> Result<Pending, FheError>,
) -> Vec<Vec<Score>> {
    let public = PublicProgram::from(program);
    let key = ClientKey::generate(set, &mut OsEntropy).unwrap();
    let evaluation = key.evaluation_key(&mut OsEntropy).unwrap();
    let client = Client::new(key, evaluation.id());
    let pending = encrypt(&client, &public).unwrap();
    let engine = Engine::new(CpuBackend::new(None).unwrap());
    let key = Arc::new(engine.backend().expand(&evaluation).unwrap());
    let compiled = Arc::new(Compiled::new(program.clone()).unwrap());
    let answered = engine.answer(&compiled, &key, &pending.bytes, [3; 32]);
    let (reply, timings) = answered.unwrap();
    println!("{timings:?}, {} bytes up", pending.bytes.len());
    client.decrypt(&public, &pending, &reply).unwrap()
}
