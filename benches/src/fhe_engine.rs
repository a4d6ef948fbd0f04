//! The FHE engine on all cores: keyswitch + bootstrap against tfhe-rs called directly, in both of its ways, and whole
//! programs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_types::Digest;
use examples::client::Error;
use fhe::client::Pending;
use fhe::wire::ReplyHeader;
use fhe::{
    Client, ClientKey, EvaluationKey, OsEntropy, ParamSet, Program, PublicProgram, Reply, Request,
};
use kernels::direct::Direct;
use kernels::{Backend, Compiled, CpuBackend, Engine, Job, LweBatch, Read, Table};

use crate::Context;
use crate::report::Row;

/// Ciphertexts at once in the comparison: what a few requests bring together.
const BATCHES: [usize; 4] = [1, 8, 16, 64];
/// The most ciphertexts of one of tfhe-rs's own batches: more are no faster.
const PEER_BATCH: usize = 16;
/// Each side gets at least so long at each size, in turns with the others.
const LENGTH: Duration = Duration::from_secs(4);
/// Rows of one request in the programs' throughput.
const ROWS: usize = 16;
const PROGRAM_LENGTH: Duration = Duration::from_secs(5);
const PROGRAMS: [&str; 2] = ["breast-cancer-linear", "breast-cancer-trees"];

struct Keys {
    client: Client,
    evaluation: EvaluationKey,
}

pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    context.say("fhe: making keys");
    let keys = make_keys(ParamSet::Bootstrap)?;
    let engine = Engine::new(CpuBackend::new(None).map_err(of)?);
    let mut rows = bootstraps(context, &engine, &keys.evaluation)?;
    let expanded = Arc::new(engine.backend().expand(&keys.evaluation).map_err(of)?);
    for name in PROGRAMS {
        context.say(&format!("fhe: {name}"));
        rows.extend(program(context, &engine, &keys.client, &expanded, name)?);
    }
    Ok(rows)
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}

fn make_keys(set: ParamSet) -> Result<Keys, Error> {
    let key = ClientKey::generate(set, &mut OsEntropy).map_err(of)?;
    let evaluation = key.evaluation_key(&mut OsEntropy).map_err(of)?;
    Ok(Keys {
        client: Client::new(key, evaluation.id()),
        evaluation,
    })
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

/// Encrypt, evaluate, decrypt: evaluations per second of requests with many rows, latency of one row, and the labels checked.
fn program<K: Send + Sync>(
    context: &Context,
    engine: &Engine<impl Backend<Key = K>>,
    client: &Client,
    key: &Arc<K>,
    name: &str,
) -> Result<Vec<Row>, Error> {
    let folder = context.root.join("examples/models");
    let program =
        Program::from_json(&std::fs::read(folder.join(format!("{name}.json")))?).map_err(of)?;
    let public = PublicProgram::from(&program);
    let data = read_rows(
        &std::fs::read_to_string(folder.join("breast-cancer-test.csv"))?,
        &public.columns,
    )?;
    let compiled = Arc::new(Compiled::new(program).map_err(of)?);
    let evaluate = |rows: &[Vec<f64>]| -> Result<(Duration, usize), Error> {
        let pending = client
            .encrypt_rows(&public, rows, &mut OsEntropy)
            .map_err(of)?;
        let request = Arc::new(Request::from_bytes(&pending.bytes).map_err(of)?);
        let job = Job::whole(Arc::clone(&compiled), Arc::clone(key), request);
        let began = Instant::now();
        let (results, _) = engine.run(&[job], rand::random()).map_err(of)?;
        let took = began.elapsed();
        Ok((
            took,
            mismatches(&public, client, &compiled, &pending, &results[0], rows)?,
        ))
    };
    let (mut busy, mut rows_done, mut wrong) = (Duration::ZERO, 0, 0);
    for chunk in data.chunks(ROWS).cycle() {
        let (took, mismatched) = evaluate(chunk)?;
        (busy, rows_done, wrong) = (busy + took, rows_done + chunk.len(), wrong + mismatched);
        if busy > PROGRAM_LENGTH {
            break;
        }
    }
    let mut singles = Vec::new();
    for row in data.iter().take(20) {
        let (took, mismatched) = evaluate(std::slice::from_ref(row))?;
        singles.push(took);
        wrong += mismatched;
    }
    singles.sort_unstable();
    let rate = rows_done as f64 / busy.as_secs_f64();
    let median = singles[singles.len() / 2].as_secs_f64() * 1e3;
    let note = format!(
        "{} bootstraps a row, {rows_done} rows, {wrong} labels differ",
        public.bootstraps_per_row
    );
    Ok(vec![
        Row::new(
            "fhe",
            format!("{name}: {ROWS} rows a request"),
            rate,
            "evaluations/s",
        )
        .note(note),
        Row::new(
            "fhe",
            format!("{name}: one row, latency"),
            median,
            "ms (median)",
        ),
    ])
}

/// How many decrypted labels differ from those of the same integers computed in the clear.
fn mismatches(
    public: &PublicProgram,
    client: &Client,
    compiled: &Compiled,
    pending: &Pending,
    results: &[u64],
    rows: &[Vec<f64>],
) -> Result<usize, Error> {
    let program = compiled.program();
    let header = ReplyHeader {
        params: program.params(),
        program: program.digest(),
        version: program.version(),
        key: client.key_id(),
        request: Digest::of(&pending.bytes),
        rows: rows.len(),
        results_per_row: program.result_count(),
        bits: public.result.bits,
    };
    let reply = Reply::round(header, results).map_err(of)?.to_bytes();
    let decrypted = client.decrypt(public, pending, &reply).map_err(of)?;
    let mut differ = 0;
    for (index, (row, scores)) in rows.iter().zip(&decrypted).enumerate() {
        let integers = public.encode(index, row).map_err(of)?;
        let clear = program
            .evaluate_clear(&integers)
            .ok_or_else(|| Error::new("a row does not fit the program"))?;
        differ += usize::from(public.label(scores) != public.label(&public.clear_scores(&clear)));
    }
    Ok(differ)
}

/// The columns that the program takes, in its order.
fn read_rows(text: &str, columns: &[String]) -> Result<Vec<Vec<f64>>, Error> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let places: Vec<usize> = columns
        .iter()
        .map(|column| {
            names
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| Error::new(format!("no column {column:?}")))
        })
        .collect::<Result<_, _>>()?;
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let value = |place: &usize| fields.get(*place).and_then(|field| field.parse().ok());
            places
                .iter()
                .map(value)
                .collect::<Option<Vec<f64>>>()
                .ok_or_else(|| Error::new(format!("not numbers: {line}")))
        })
        .collect()
}
