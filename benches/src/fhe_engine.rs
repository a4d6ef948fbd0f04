//! The FHE engine on all cores: keyswitch + bootstrap against tfhe-rs called directly, in both of its ways.

use std::sync::Arc;
use std::time::{Duration, Instant};

use examples::client::Error;
use fhe::{ClientKey, EvaluationKey, OsEntropy, ParamSet};
use kernels::direct::Direct;
use kernels::{Backend, CpuBackend, Engine, LweBatch, Read, Table};

use crate::Context;
use crate::report::Row;

/// Ciphertexts at once in the comparison: what a few requests bring together.
const BATCHES: [usize; 4] = [1, 8, 16, 64];
/// The most ciphertexts of one of tfhe-rs's own batches: more are no faster.
const PEER_BATCH: usize = 16;
/// Each side gets at least so long at each size, in turns with the others.
const LENGTH: Duration = Duration::from_secs(4);
pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    context.say("fhe: making keys");
    let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).map_err(of)?;
    let evaluation = secret.evaluation_key(&mut OsEntropy).map_err(of)?;
    let engine = Engine::new(CpuBackend::new(None).map_err(of)?);
    bootstraps(context, &engine, &evaluation)
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}

/// The same ciphertexts through all, in turns.
fn bootstraps(
    context: &Context,
    engine: &Engine<CpuBackend>,
    key: &EvaluationKey,
) -> Result<Vec<Row>, Error> {
    let direct = Direct::new(key).map_err(of)?;
    let backend = engine.backend();
    let ours = vec![Arc::new(backend.expand(key).map_err(of)?)];
    let table = Table::new(&(0..16).collect::<Vec<i64>>(), 8).map_err(of)?;
    let mut rows = Vec::new();
    for size in BATCHES {
        let what = format!("keyswitch + bootstrap, {size} at once");
        context.say(&format!("fhe: {what}, against tfhe-rs called directly"));
        let batch = inputs(size);
        let uses = vec![0; size];
        let reads = Read::plain(size);
        let through_engine = || -> Result<LweBatch, Error> {
            let small = backend.keyswitch(&ours, &batch).map_err(of)?;
            let tables = [&table];
            backend
                .bootstrap(&ours, &small, &tables, &uses, &reads)
                .map_err(of)
        };
        let one_by_one = || Ok(direct.keyswitch_bootstrap(&batch, &table));
        let batched = || Ok(direct.keyswitch_bootstrap_batched(&batch, &table, PEER_BATCH));
        let [engine_time, direct_time, batched_time] =
            in_turns([&through_engine, &one_by_one, &batched])?;
        let rate = |time: Duration| size as f64 / time.as_secs_f64();
        let row =
            |who: &str, time| Row::new("fhe", format!("{what}: {who}"), rate(time), "per second");
        rows.push(row("tfhe-rs", direct_time));
        rows.push(
            row("tfhe-rs, batched blind rotation", batched_time)
                .against(rate(direct_time), "tfhe-rs called directly"),
        );
        let note = format!(
            "{:.2} × its batches; {:.1} ms a batch",
            batched_time.as_secs_f64() / engine_time.as_secs_f64(),
            engine_time.as_secs_f64() * 1e3
        );
        rows.push(
            row("engine", engine_time)
                .against(rate(direct_time), "tfhe-rs called directly")
                .note(note),
        );
    }
    Ok(rows)
}

/// How long one call takes each side on average, when all take turns until each had [`LENGTH`].
fn in_turns<const SIDES: usize>(
    sides: [&dyn Fn() -> Result<LweBatch, Error>; SIDES],
) -> Result<[Duration; SIDES], Error> {
    let (mut times, mut turns) = ([Duration::ZERO; SIDES], 0_u32);
    for side in sides {
        side()?;
    }
    while times.iter().any(|&time| time < LENGTH) {
        for (side, time) in sides.iter().zip(&mut times) {
            let began = Instant::now();
            side()?;
            *time += began.elapsed();
        }
        turns += 1;
    }
    Ok(times.map(|time| time / turns))
}

/// Any words are a ciphertext of something; the time does not depend on what.
fn inputs(size: usize) -> LweBatch {
    let mut batch = LweBatch::zeros(vec![0; size]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in &mut batch.words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *word = state;
    }
    batch
}
