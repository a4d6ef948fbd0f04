//! Whole models, encrypted: time, bytes and accuracy of the programs of examples/models, beside the peer's in the same run.
//!
//! The peer is concrete-python (peers/concrete/peer.py), with the same data and the same kinds of models. It is left out, and
//! said to be, where `--concrete` names no Python that has it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_types::Digest;
use examples::client::Error;
use examples::rows::Table;
use fhe::{
    Client, ClientKey, EvaluationKey, OsEntropy, ParamSet, Program, PublicProgram, Reply, Request,
    Score,
};
use kernels::cpu::CpuKey;
use kernels::{Backend, Compiled, CpuBackend, Engine, Job};

use crate::Context;
use crate::cpu;
use crate::report::Row;

/// (program, data, what the peer calls it).
const MODELS: [(&str, &str, &str); 7] = [
    ("breast-cancer-linear", "breast-cancer-test.csv", "linear"),
    ("breast-cancer-tree", "breast-cancer-test.csv", "tree"),
    ("breast-cancer-forest", "breast-cancer-test.csv", "forest"),
    ("breast-cancer-boosted", "breast-cancer-test.csv", "boosted"),
    ("breast-cancer-mlp", "breast-cancer-test.csv", "mlp"),
    ("digits-mlp", "digits-test.csv", "digits"),
    ("flows-boosted", "flows-test.csv", ""),
];
/// Each model gets so long for single rows, and as long for whole requests.
const LENGTH: Duration = Duration::from_secs(4);
const ROWS: usize = 16;

struct Bench {
    engine: Engine<CpuBackend>,
    client: Client,
    key: Arc<CpuKey>,
    program: Program,
    public: PublicProgram,
    compiled: Arc<Compiled>,
}

pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).map_err(of)?;
    let evaluation = secret.evaluation_key(&mut OsEntropy).map_err(of)?;
    let client = Client::new(secret, evaluation.id());
    let mut rows = Vec::new();
    for (name, data, peer) in MODELS {
        context.say(&format!("fhe-models: {name}"));
        let bench = bench(&context.root, name, client.clone(), &evaluation)?;
        let table = Table::read(
            &context.root.join("examples/models").join(data),
            &bench.public.columns,
        )?;
        let ours = bench.measure(&table)?;
        let theirs = match (&context.concrete, peer) {
            (Some(python), peer) if !peer.is_empty() => {
                context.say(&format!("fhe-models: {name}, by concrete-python"));
                Some(concrete(&context.root, python, peer)?)
            }
            _ => None,
        };
        rows.extend(ours.rows(name, theirs.as_ref()));
    }
    Ok(rows)
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}

fn bench(root: &Path, name: &str, client: Client, key: &EvaluationKey) -> Result<Bench, Error> {
    let file = root.join("examples/models").join(format!("{name}.json"));
    let program = Program::from_json(&std::fs::read(file)?).map_err(of)?;
    let engine = Engine::new(CpuBackend::new(None).map_err(of)?);
    Ok(Bench {
        key: Arc::new(engine.backend().expand(key).map_err(of)?),
        public: PublicProgram::from(&program),
        compiled: Arc::new(Compiled::new(program.clone()).map_err(of)?),
        engine,
        client,
        program,
    })
}

struct Evaluated {
    took: Duration,
    cpu: Duration,
    scores: Vec<Vec<Score>>,
    up: usize,
    down: usize,
}

struct Ours {
    bootstraps: usize,
    accuracy: f64,
    mismatches: usize,
    checked: usize,
    cpu_s: f64,
    wall_s: f64,
    rows_per_s: f64,
    up: usize,
    down: usize,
    key: usize,
}

#[derive(serde::Deserialize)]
struct Theirs {
    cpu_s: f64,
    wall_s: f64,
    bytes_up: usize,
    bytes_down: usize,
    bytes_key: usize,
    accuracy: f64,
    bootstraps: usize,
}

impl Bench {
    fn measure(&self, table: &Table) -> Result<Ours, Error> {
        let clear = table
            .rows
            .iter()
            .map(|row| self.clear(row))
            .collect::<Result<Vec<_>, _>>()?;
        let right = clear
            .iter()
            .zip(&table.labels)
            .filter(|(scores, label)| self.agrees(scores, label))
            .count();
        let (mut checked, mut mismatches, mut sizes) = (0, 0, (0, 0));
        let mut evaluate = |at: usize, count: usize| -> Result<Evaluated, Error> {
            let chosen: Vec<usize> = (at..at + count).map(|i| i % table.rows.len()).collect();
            let asked: Vec<&[f64]> = chosen.iter().map(|&i| table.rows[i].as_slice()).collect();
            let evaluated = self.evaluate(&asked)?;
            sizes = (evaluated.up, evaluated.down);
            for (&i, scores) in chosen.iter().zip(&evaluated.scores) {
                checked += 1;
                mismatches +=
                    usize::from(self.public.label(scores) != self.public.label(&clear[i]));
            }
            Ok(evaluated)
        };
        let (mut busy, mut done) = (Duration::ZERO, 0);
        while busy < LENGTH {
            busy += evaluate(done, ROWS)?.took;
            done += ROWS;
        }
        let rows_per_s = done as f64 / busy.as_secs_f64();
        let (mut walls, mut used, mut at) = (Vec::new(), Duration::ZERO, 0);
        let began = Instant::now();
        while at < 3 || began.elapsed() < LENGTH {
            let evaluated = evaluate(at, 1)?;
            used += evaluated.cpu;
            walls.push(evaluated.took.as_secs_f64());
            at += 1;
        }
        walls.sort_by(f64::total_cmp);
        Ok(Ours {
            bootstraps: self.public.bootstraps_per_row,
            accuracy: right as f64 / table.rows.len() as f64,
            mismatches,
            checked,
            cpu_s: used.as_secs_f64() / at as f64,
            wall_s: walls[walls.len() / 2],
            rows_per_s,
            up: sizes.0,
            down: sizes.1,
            key: EvaluationKey::bytes_of(self.public.params),
        })
    }

    fn clear(&self, row: &[f64]) -> Result<Vec<Score>, Error> {
        let inputs = self.public.encode(0, row).map_err(of)?;
        let results = self.program.evaluate_clear(&inputs);
        let results = results.ok_or_else(|| Error::new("a row does not fit the program"))?;
        Ok(self.public.clear_scores(&results))
    }

    fn agrees(&self, scores: &[Score], label: &str) -> bool {
        self.public.label(scores) == Some(label)
    }

    /// Only the engine is timed: encryption and decryption are the client's, of the peer as well.
    fn evaluate(&self, rows: &[&[f64]]) -> Result<Evaluated, Error> {
        let pending = self
            .client
            .encrypt_rows(&self.public, rows, &mut OsEntropy)
            .map_err(of)?;
        let request = Arc::new(Request::from_bytes(&pending.bytes).map_err(of)?);
        let job = Job::whole(self.compiled.clone(), self.key.clone(), request.clone());
        let (began, before) = (Instant::now(), cpu::own());
        let (results, _) = self.engine.run(&[job], rand::random()).map_err(of)?;
        let (took, cpu) = (began.elapsed(), cpu::own().saturating_sub(before));
        let digest = Digest::of(&pending.bytes);
        let reply = Reply::to(&request, digest, &self.program, &results[0]).map_err(of)?;
        let reply = reply.to_bytes();
        let scores = self
            .client
            .decrypt(&self.public, &pending, &reply)
            .map_err(of)?;
        Ok(Evaluated {
            took,
            cpu,
            scores,
            up: pending.bytes.len(),
            down: reply.len(),
        })
    }
}

impl Ours {
    fn rows(&self, name: &str, theirs: Option<&Theirs>) -> Vec<Row> {
        let row = |what: &str, value: f64, unit, peer: Option<f64>| {
            let row = Row::new("fhe-models", format!("{name}: {what}"), value, unit);
            match peer {
                Some(peer) => row.against(peer, "concrete-python"),
                None => row,
            }
        };
        let peer = |of: fn(&Theirs) -> f64| theirs.map(of);
        let lookups = match theirs {
            Some(theirs) => format!(
                "{} lookups a row, the peer's {}",
                self.bootstraps, theirs.bootstraps
            ),
            None => format!("{} lookups a row", self.bootstraps),
        };
        let labels = format!(
            "{} of {} encrypted labels differ from the quantised",
            self.mismatches, self.checked
        );
        vec![
            row(
                "CPU, one row",
                self.cpu_s * 1e3,
                "ms",
                peer(|t| t.cpu_s * 1e3),
            )
            .note(lookups),
            row(
                "latency, one row",
                self.wall_s * 1e3,
                "ms (median)",
                peer(|t| t.wall_s * 1e3),
            ),
            row(
                "throughput",
                self.rows_per_s,
                "rows/s",
                peer(|t| 1.0 / t.wall_s),
            ),
            row(
                "bytes up",
                self.up as f64,
                "bytes a row",
                peer(|t| t.bytes_up as f64),
            ),
            row(
                "bytes down",
                self.down as f64,
                "bytes a row",
                peer(|t| t.bytes_down as f64),
            ),
            row(
                "evaluation key",
                self.key as f64,
                "bytes",
                peer(|t| t.bytes_key as f64),
            ),
            row(
                "accuracy",
                self.accuracy,
                "of held-out rows",
                peer(|t| t.accuracy),
            )
            .note(labels),
        ]
    }
}

fn concrete(root: &Path, python: &Path, model: &str) -> Result<Theirs, Error> {
    let output = Command::new(python)
        .arg(root.join("benches/peers/concrete/peer.py"))
        .arg(model)
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::new(format!("the peer failed on {model}: {why}")));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| Error::of(&e))
}
