//! `veilgate model evaluate`: labelled rows by the source model, by the program in the clear, and encrypted on this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhe::program::Decide;
use fhe::text::TextEncoder;
use fhe::{Client, ClientKey, Entropy, FheError, OsEntropy, Program, PublicProgram, Score};
use kernels::{Accelerated, Backend, Compiled, Engine, KernelError};
use models::Model;
use serde::Serialize;

use super::super::Failure;
use super::super::backend::Choice;
use super::super::infer::data::{self, Table};
use super::super::infer::row::Row;
use super::super::keys::size;
use super::files;
use super::inspect::Bytes;
use super::metrics::{Answer, Metrics};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The program, as `veilgate model compile` wrote it
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// The rows: a CSV file with a header that names the program's columns, in any order, or has one of texts
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The column that holds the right answer
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// The column that holds the texts, of a program that takes them; by default the one that the program names
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Use only the first rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The model that the program was compiled from, for its own scores in the clear
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Threads to evaluate with; by default one for each core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What to evaluate with
    #[arg(long, value_enum, default_value_t)]
    backend: Choice,
    /// JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// What is printed, in either form.
#[derive(Serialize)]
struct Report {
    rows: usize,
    /// Rows whose encrypted label is not that of the program in the clear.
    mismatches: usize,
    clear: Metrics,
    quantised: Metrics,
    encrypted: Metrics,
    latency_ms: Latency,
    bytes: Sizes,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Serialize)]
struct Sizes {
    up: usize,
    down: usize,
    key: usize,
}

/// A label, and what speaks for it.
type Labelled = (String, Vec<f64>);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let program = files::read_program(&args.program)?;
    let public = PublicProgram::from(&program);
    let labels = labels(&public)?;
    let table = data::read(&args.data)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let truths = files::truths(&table, &args.label, &labels, limit)?;
    let rows = rows_of(&table, &public, args, limit)?;
    let quantised = quantised(&program, &public, &rows)?;
    let clear = match &args.model {
        Some(path) => {
            let model = known_labels(files::read_model(path)?, &public)?;
            match &public.text {
                Some(encoder) => by_model_of_texts(&model, encoder, &rows)?,
                None => by_model(model, &public, &table, args, limit)?,
            }
        }
        None => quantised.clone(),
    };
    let encrypted = Encrypted::of(program, args.backend.open(args.threads)?, &rows)?;
    let measured = |answers: &[Labelled]| {
        let answers = answers
            .iter()
            .zip(&truths)
            .map(|((label, scores), truth)| Answer {
                truth: truth.clone(),
                label: label.clone(),
                scores: scores.clone(),
            });
        Metrics::of(&labels, &answers.collect::<Vec<_>>())
    };
    let differ = encrypted.answers.iter().zip(&quantised);
    let report = Report {
        rows: rows.len(),
        mismatches: differ.filter(|(a, b)| a.0 != b.0).count(),
        clear: measured(&clear),
        quantised: measured(&quantised),
        encrypted: measured(&encrypted.answers),
        latency_ms: latency(encrypted.latencies),
        bytes: encrypted.bytes,
    };
    if args.json {
        let text = serde_json::to_string(&report).map_err(|e| Failure::new(e.to_string()))?;
        println!("{text}");
    } else {
        print_text(&report, args.model.is_some());
    }
    Ok(())
}

fn labels(public: &PublicProgram) -> Result<Vec<String>, Failure> {
    match &public.result.decide {
        Some(Decide::Threshold { below, above, .. }) => Ok(vec![below.clone(), above.clone()]),
        Some(Decide::Greatest { labels } | Decide::Index { labels }) => Ok(labels.clone()),
        None => Err(Failure::wrong_input(format!(
            "`{}` gives scores and no label, so there is nothing to compare with --label; compare its scores with `veilgate infer --clear`",
            public.name
        ))),
    }
}

fn rows_of(
    table: &Table,
    public: &PublicProgram,
    args: &Args,
    limit: usize,
) -> Result<Vec<Row>, Failure> {
    if public.text.is_none() {
        if args.text.is_some() {
            return Err(Failure::wrong_input(format!(
                "`{}` takes numbers, from columns that it names, and no text: leave out --text",
                public.name
            )));
        }
        let rows = table.columns_with_gaps(&public.columns, limit)?;
        return Ok(rows.into_iter().map(Row::Numbers).collect());
    }
    let (column, why) = match (&args.text, public.columns.first()) {
        (Some(column), _) => (column.as_str(), "--text names it"),
        (None, own) => (
            own.map_or("text", String::as_str),
            "the program names it; say which one with --text",
        ),
    };
    let texts = table.texts(column, limit, why)?;
    if texts.is_empty() {
        return Err(Failure::wrong_input(format!(
            "{}: there is no row to score",
            args.data.display()
        )));
    }
    Ok(texts.into_iter().map(Row::Text).collect())
}

fn labelled(public: &PublicProgram, scores: &[Score]) -> Labelled {
    let label = public.label(scores).unwrap_or_default().to_owned();
    (label, scores.iter().map(|score| score.value).collect())
}

fn quantised(
    program: &Program,
    public: &PublicProgram,
    rows: &[Row],
) -> Result<Vec<Labelled>, Failure> {
    let score = |(index, row): (usize, &Row)| {
        let inputs = row.encode(public, index).map_err(wrong_row)?;
        let results = program.evaluate_clear(&inputs).ok_or_else(|| {
            Failure::wrong_input(format!(
                "row {}: the program cannot be evaluated on it",
                index + 1
            ))
        })?;
        Ok(labelled(public, &public.clear_scores(&results)))
    };
    rows.iter().enumerate().map(score).collect()
}

fn by_model(
    mut model: Model,
    public: &PublicProgram,
    table: &Table,
    args: &Args,
    limit: usize,
) -> Result<Vec<Labelled>, Failure> {
    let adopted = files::adopt_names(&mut model, table, Some(&args.label))?;
    let place = |name: &String| table.header().iter().position(|column| column == name);
    if adopted && !public.columns.iter().map(place).is_sorted() {
        return Err(Failure::wrong_input(format!(
            "{}: its columns are in another order than those that `{}` was calibrated with, and the model names none: bring them in that order",
            args.data.display(),
            public.name
        )));
    }
    let rows = table.columns_with_gaps(&model.features, limit)?;
    Ok(rows.iter().map(|row| answer(&model, row)).collect())
}

/// The model's columns are the buckets that words are counted in.
fn by_model_of_texts(
    model: &Model,
    encoder: &TextEncoder,
    rows: &[Row],
) -> Result<Vec<Labelled>, Failure> {
    if model.features.len() != encoder.buckets as usize {
        return Err(Failure::wrong_input(format!(
            "the model takes {} columns, and the program counts words in {} buckets: is it the one that was compiled?",
            model.features.len(),
            encoder.buckets
        )));
    }
    let score = |(index, row): (usize, &Row)| match row {
        Row::Text(text) => encoder
            .features(text)
            .map(|features| answer(model, &features))
            .map_err(|reason| wrong_row(FheError::Row { row: index, reason })),
        Row::Numbers(features) => Ok(answer(model, features)),
    };
    rows.iter().enumerate().map(score).collect()
}

fn answer(model: &Model, features: &[f64]) -> Labelled {
    let scores = model.scores(features);
    let label = model.label(&scores).unwrap_or_default().to_owned();
    (label, scores)
}

/// The program may have been given other names for the same labels.
fn known_labels(mut model: Model, public: &PublicProgram) -> Result<Model, Failure> {
    match files::rename_labels(&mut model, &labels(public)?) {
        true => Ok(model),
        false => Err(Failure::wrong_input(format!(
            "the model has {} labels, and `{}` another number: is it the one that was compiled?",
            model.output.decide.labels().len(),
            public.name
        ))),
    }
}

/// Rows count from one for a person.
fn wrong_row(error: FheError) -> Failure {
    match error {
        FheError::Row { row, reason } => Failure::wrong_input(format!("row {}: {reason}", row + 1)),
        other => Failure::new(other.to_string()),
    }
}

/// Every row as a request of its own: encrypted, evaluated and decrypted here.
struct Encrypted {
    answers: Vec<Labelled>,
    latencies: Vec<Duration>,
    bytes: Sizes,
}

impl Encrypted {
    fn of(program: Program, backend: Accelerated, rows: &[Row]) -> Result<Self, Failure> {
        let failed = |e: FheError| Failure::new(e.to_string());
        let broken = |e: KernelError| Failure::new(e.to_string());
        let public = PublicProgram::from(&program);
        let expected = Bytes::of(&program);
        let secret = ClientKey::generate(program.params(), &mut OsEntropy).map_err(failed)?;
        let evaluation = secret.evaluation_key(&mut OsEntropy).map_err(failed)?;
        let client = Client::new(secret, evaluation.id());
        let engine = Engine::new(backend);
        let key = Arc::new(engine.backend().expand(&evaluation).map_err(broken)?);
        let compiled = Arc::new(Compiled::new(program).map_err(broken)?);
        let mut this = Self {
            answers: Vec::new(),
            latencies: Vec::new(),
            bytes: Sizes {
                up: expected.up,
                down: expected.down,
                key: expected.key,
            },
        };
        for (index, row) in rows.iter().enumerate() {
            let encoded = row.encode(&public, index).map_err(wrong_row)?;
            let pending = client
                .encrypt(&public, &[encoded], &mut OsEntropy)
                .map_err(wrong_row)?;
            let started = Instant::now();
            let seed = OsEntropy.secret().map_err(failed)?;
            let answered = engine.answer(&compiled, &key, &pending.bytes, seed);
            let (reply, _) = answered.map_err(broken)?;
            this.latencies.push(started.elapsed());
            this.bytes.up = pending.bytes.len();
            this.bytes.down = reply.len();
            let scores = client.decrypt(&public, &pending, &reply).map_err(failed)?;
            this.answers.push(labelled(&public, &scores[0]));
        }
        Ok(this)
    }
}

/// The smallest latencies that so many of all did not exceed.
fn latency(mut latencies: Vec<Duration>) -> Latency {
    latencies.sort();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part).ceil() as usize;
        let found = latencies.get(index.saturating_sub(1));
        found.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Latency {
        p50: at(0.50),
        p95: at(0.95),
        p99: at(0.99),
    }
}

fn print_text(report: &Report, has_model: bool) {
    println!(
        "{} rows; {} encrypted labels differ from those of the program in the clear",
        report.rows, report.mismatches
    );
    println!();
    println!("              accuracy  precision  recall     F1  ROC AUC");
    let clear = match has_model {
        true => "model, clear",
        false => "clear",
    };
    for (name, of) in [
        (clear, &report.clear),
        ("quantised", &report.quantised),
        ("encrypted", &report.encrypted),
    ] {
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        println!(
            "{name:<13} {:>8}   {:>8} {:>7} {:>6.3} {:>8}",
            percent(of.accuracy),
            percent(of.precision),
            percent(of.recall),
            of.f1,
            of.roc_auc
                .map_or("-".to_owned(), |area| format!("{area:.4}"))
        );
    }
    if !has_model {
        println!(
            "(clear is the program itself, quantised: give --model for the source model's own answers)"
        );
    }
    println!();
    println!("encrypted, by truth (rows) and answer (columns):");
    let confusion = &report.encrypted.confusion;
    for (label, row) in confusion.labels.iter().zip(&confusion.matrix) {
        let cells: Vec<String> = row.iter().map(|cell| format!("{cell:>6}")).collect();
        println!("  {label:<16} {}", cells.join(" "));
    }
    let latency = &report.latency_ms;
    println!();
    println!(
        "latency         half within {:.1} ms, 95 % within {:.1} ms, 99 % within {:.1} ms (without encryption and network)",
        latency.p50, latency.p95, latency.p99
    );
    println!(
        "a row           {} up, {} down; the key {}, once",
        size(report.bytes.up as u64),
        size(report.bytes.down as u64),
        size(report.bytes.key as u64)
    );
}
