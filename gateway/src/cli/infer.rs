//! `veilgate infer`: rows of a CSV file encrypted here, scored by a gateway that cannot read them, decrypted here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fhe::{Client, EvaluationKey, OsEntropy, Program, PublicProgram, Score, files};
use futures_util::StreamExt;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::keys::unreadable;
use super::remote::{Remote, Target, block_on};

pub(super) mod data;
mod report;
pub(super) mod row;

use data::Table;
use row::Row;

/// Of the public part of a program.
const MAX_PROGRAM_BYTES: usize = 8 << 20;
/// A busy gateway is asked again, waiting as long as it says, so many times.
const MAX_TRIES: usize = 20;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The folder that `veilgate keys new` wrote; the key in it must be registered
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The program (model) to evaluate
    #[arg(long, value_name = "NAME")]
    program: String,
    /// The rows: a CSV file with a header that names the program's columns, in any order
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The column that holds the right answer, to show how often the program finds it
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Use only the first rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The program's own file, if you have it: rows are scored in the clear too, and compared
    #[arg(long, value_name = "FILE")]
    clear: Option<PathBuf>,
    /// Requests in flight at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Rows in one request
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// What one row came to.
struct RowResult {
    scores: Vec<Score>,
    clear: Option<Vec<Score>>,
}

/// What one request cost.
struct RequestResult {
    first_row: usize,
    rows: Vec<Vec<Score>>,
    latency: Duration,
    up: usize,
    down: usize,
    waits: usize,
}

/// Everything that the report is made from.
struct Run {
    program: PublicProgram,
    key_id: fhe::KeyId,
    key_bytes: u64,
    labels: Option<Vec<String>>,
    rows: Vec<RowResult>,
    requests: Vec<RequestResult>,
    took: Duration,
    concurrency: usize,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let client_key = files::read_client_key(&args.keys).map_err(unreadable)?;
    let evaluation = files::read_evaluation_key(&args.keys).map_err(unreadable)?;
    let table = data::read(&args.data)?;
    let key_bytes = EvaluationKey::bytes_of(evaluation.set()) as u64;
    let client = Client::new(client_key, evaluation.id());
    let json = args.json;
    let run = block_on(infer(&args, client, key_bytes, &table))?;
    if json {
        report::print_json(&run)
    } else {
        report::print_text(&run)
    }
    Ok(())
}

async fn infer(args: &Args, client: Client, key_bytes: u64, table: &Table) -> Result<Run, Failure> {
    let remote = args.target.connect().await?;
    let path = format!("/fhe/v1/programs/{}", args.program);
    let program = remote.fetch(&path, MAX_PROGRAM_BYTES).await?;
    let program = PublicProgram::from_json(&program).map_err(|e| Failure::new(e.to_string()))?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let rows = rows_of(table, &program, limit)?;
    let labels = args
        .label
        .as_deref()
        .map(|name| table.texts(name, limit, "--label names it"))
        .transpose()?;
    let clear = args
        .clear
        .as_ref()
        .map(|file| clear_scores(file, &program, &rows))
        .transpose()?;

    let ask = Arc::new(Ask {
        remote,
        client,
        program,
        path: format!("{path}/evaluate"),
    });
    let bar = progress(rows.len());
    let started = Instant::now();
    let parts = rows.chunks(usize::from(args.batch)).enumerate();
    let asked = parts.map(|(index, part)| {
        let (ask, part, bar) = (ask.clone(), part.to_vec(), bar.clone());
        let first_row = index * usize::from(args.batch);
        async move {
            // Encryption and decryption are arithmetic: a task each puts them on all cores.
            let rows = part.len();
            let task = tokio::spawn(async move { ask.request(first_row, &part).await });
            let result = task
                .await
                .map_err(|e| Failure::new(format!("a request failed: {e}")))?;
            bar.inc(rows as u64);
            result
        }
    });
    let mut in_flight =
        futures_util::stream::iter(asked).buffer_unordered(usize::from(args.concurrency));
    let mut requests = Vec::new();
    while let Some(result) = in_flight.next().await {
        requests.push(result?);
    }
    drop(in_flight);
    let took = started.elapsed();
    bar.finish_and_clear();
    requests.sort_by_key(|request: &RequestResult| request.first_row);
    let Some(ask) = Arc::into_inner(ask) else {
        return Err(Failure::new(
            "a request is still running after the last one ended",
        ));
    };
    ask.remote.close().await;

    let scores = requests
        .iter()
        .flat_map(|request| request.rows.iter().cloned());
    let mut clear = clear.map(Vec::into_iter);
    let rows = scores
        .map(|scores| RowResult {
            scores,
            clear: clear.as_mut().and_then(Iterator::next),
        })
        .collect();
    Ok(Run {
        key_id: ask.client.key_id(),
        program: ask.program,
        key_bytes,
        labels,
        rows,
        requests,
        took,
        concurrency: usize::from(args.concurrency),
    })
}

fn rows_of(table: &Table, program: &PublicProgram, limit: usize) -> Result<Vec<Row>, Failure> {
    match (&program.text, program.columns.as_slice()) {
        (Some(_), [column]) => {
            let texts = table.texts(column, limit, "the program needs it")?;
            Ok(texts.into_iter().map(Row::Text).collect())
        }
        _ => {
            let rows = table.columns(&program.columns, limit)?;
            Ok(rows.into_iter().map(Row::Numbers).collect())
        }
    }
}

struct Ask {
    remote: Remote,
    client: Client,
    program: PublicProgram,
    path: String,
}

impl Ask {
    async fn request(&self, first_row: usize, rows: &[Row]) -> Result<RequestResult, Failure> {
        let wrong = |error: fhe::FheError| match error {
            // Counted within the request: said as the user counts, from the first row of the file.
            fhe::FheError::Row { row, reason } => {
                Failure::wrong_input(format!("row {}: {reason}", first_row + row + 1))
            }
            fhe::FheError::WrongParams { .. } => Failure::wrong_input(format!(
                "{error}; the program needs other keys: make them with `veilgate keys new --set bootstrap`"
            )),
            other => Failure::new(other.to_string()),
        };
        let encode = |(index, row): (usize, &Row)| row.encode(&self.program, index);
        let encoded = rows.iter().enumerate().map(encode);
        let encoded = encoded.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let pending = self
            .client
            .encrypt(&self.program, &encoded, &mut OsEntropy)
            .map_err(wrong)?;
        let limit = fhe::Reply::max_bytes(
            rows.len(),
            self.program.result_count(),
            self.program.result.bits,
        );
        let body = Bytes::from(pending.bytes.clone());
        let started = Instant::now();
        for waits in 0..MAX_TRIES {
            let limit = limit.max(MAX_PROGRAM_BYTES);
            let answer = self
                .remote
                .call(Method::POST, &self.path, body.clone(), limit, |_| ())
                .await?;
            if let Some(pause) = answer.retry_after() {
                tokio::time::sleep(pause).await;
                continue;
            }
            let reply = answer.success()?;
            let latency = started.elapsed();
            return Ok(RequestResult {
                first_row,
                rows: self
                    .client
                    .decrypt(&self.program, &pending, &reply)
                    .map_err(wrong)?,
                latency,
                up: body.len(),
                down: reply.len(),
                waits,
            });
        }
        Err(Failure::new(
            "the gateway is busy, and stayed so; try again later, or with a lower --concurrency",
        ))
    }
}

/// The same rows by the quantised program in the clear.
fn clear_scores(
    file: &std::path::Path,
    public: &PublicProgram,
    rows: &[Row],
) -> Result<Vec<Vec<Score>>, Failure> {
    let wrong = |why: String| Failure::wrong_input(format!("{}: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
    let program = Program::from_json(&bytes).map_err(|e| wrong(e.to_string()))?;
    if program.digest() != public.digest {
        return Err(wrong(format!(
            "this is not the `{}` that the gateway runs",
            public.name
        )));
    }
    let score = |(index, row): (usize, &Row)| {
        let inputs = row
            .encode(public, index)
            .map_err(|e| Failure::wrong_input(e.to_string()))?;
        let integers = program.evaluate_clear(&inputs);
        Ok(public.clear_scores(
            &integers.ok_or_else(|| wrong("it cannot be evaluated on these rows".into()))?,
        ))
    };
    rows.iter().enumerate().map(score).collect()
}

fn progress(rows: usize) -> ProgressBar {
    let bar = ProgressBar::new(rows as u64).with_message("scoring");
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} rows, {eta} left") {
        bar.set_style(style);
    }
    bar
}
