//! `veilgate model inspect`: what a program computes, what it costs, how sure it is, and what its clients learn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fhe::program::{Encode, MAX_INPUTS, Precision};
use fhe::wire::{MAX_REQUEST_BYTES, MAX_ROWS};
use fhe::{EvaluationKey, Program, PublicProgram, Reply};
use serde_json::{Value, json};

use super::super::Failure;
use super::super::keys::size;
use super::{files, predict};

/// Edges shown of each column on a terminal; `--json` has all of them.
const EDGES_SHOWN: usize = 6;
/// Columns shown on a terminal.
const COLUMNS_SHOWN: usize = 12;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The program, as `veilgate model compile` wrote it
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// JSON, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let program = files::read_program(&args.program)?;
    if args.json {
        println!("{:#}", as_json(&program));
    } else {
        print_text(&program);
    }
    Ok(())
}

/// Of a request, whatever it holds.
const HEADER_BYTES: usize = MAX_REQUEST_BYTES - MAX_ROWS * MAX_INPUTS * 8;

/// Of one row asked alone: bytes of its request and of its reply, and those of the key, once.
pub(super) struct Bytes {
    pub up: usize,
    pub down: usize,
    pub key: usize,
}

impl Bytes {
    pub fn of(program: &Program) -> Self {
        let bits = program.file().input_bits as usize;
        Self {
            up: HEADER_BYTES + (program.input_count() * bits).div_ceil(8),
            down: Reply::max_bytes(1, program.result_count(), program.file().result.bits),
            key: EvaluationKey::bytes_of(program.params()),
        }
    }
}

fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::Exact => "exact",
        Precision::Rounded => "rounded",
    }
}

/// What the public part says of each column.
fn learned(program: &Program) -> BTreeMap<&str, Vec<f64>> {
    let file = program.file();
    let mut columns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for input in &file.inputs {
        let edges = columns.entry(&file.columns[input.column]).or_default();
        match input.encode {
            Encode::Above(edge) => edges.push(edge),
            Encode::Scaled {
                offset,
                step,
                min,
                max,
            } => edges.extend([offset + step * min as f64, offset + step * max as f64]),
        }
    }
    columns
}

fn is_scaled(program: &Program) -> bool {
    let scaled = |encode: &Encode| matches!(encode, Encode::Scaled { .. });
    program
        .file()
        .inputs
        .iter()
        .any(|input| scaled(&input.encode))
}

fn as_json(program: &Program) -> Value {
    let (noise, bytes) = (program.noise(), Bytes::of(program));
    let file = program.file();
    let mut with_lookup = noise.rounds.iter();
    let rounds: Vec<Value> = program
        .rounds()
        .iter()
        .map(|round| {
            let terms: usize = round.sums.iter().map(|sum| sum.terms.len()).sum();
            let noise = round.lookup.as_ref().and_then(|_| with_lookup.next());
            json!({
                "sums": round.sums.len(),
                "terms": terms,
                "lookups": round.lookup.as_ref().map_or(0, |lookup| lookup.uses.len()),
                "outputs": round.lookup.as_ref().map_or(round.sums.len(), |lookup| lookup.outputs()),
                "table_bits": round.lookup.as_ref().map(|lookup| lookup.bits),
                "precision": noise.map(|noise| precision(noise.precision)),
                "sigmas": noise.map(|noise| noise.sigmas),
                "sd_entries": noise.map(|noise| noise.sd_entries),
                "log2_p_fail": noise.map(|noise| noise.log2_p_fail),
            })
        })
        .collect();
    let threads = predict::threads();
    let times: Vec<Value> = predict::PACES
        .iter()
        .map(|pace| {
            json!({
                "backend": pace.backend,
                "threads": threads,
                "latency_ms": pace.latency_ms(program, threads),
                "core_ms": pace.core_ms(program),
            })
        })
        .collect();
    json!({
        "name": program.name(),
        "version": program.version(),
        "digest": program.digest().to_string(),
        "description": file.description,
        "params": program.params().name(),
        "columns": file.columns.len(),
        "inputs": program.input_count(),
        "results": program.result_count(),
        "precision": precision(file.result.precision),
        "lookups": program.bootstraps_per_row(),
        "rounds": rounds,
        "row_log2_p_fail": noise.row,
        "flooding_bits": noise.flooding_bits,
        "score_error": noise.score_error,
        "bytes": { "up": bytes.up, "down": bytes.down, "key": bytes.key },
        "predicted": times,
        "clients_learn": {
            "labels": PublicProgram::from(program).result.decide,
            "columns": learned(program),
        },
        "about": file.about,
    })
}

fn print_text(program: &Program) {
    let (file, noise, bytes) = (program.file(), program.noise(), Bytes::of(program));
    println!(
        "{} (version {}), {}",
        program.name(),
        program.version(),
        program.digest()
    );
    if !file.description.is_empty() {
        println!("{}", file.description);
    }
    for (name, text) in &file.about {
        println!("  {name}: {text}");
    }
    println!();
    println!("keys            of the set {}", program.params());
    println!(
        "a row           {} columns, {} inputs of {} bits; {} results ({}) of {} bits a word",
        file.columns.len(),
        program.input_count(),
        file.input_bits,
        program.result_count(),
        precision(file.result.precision),
        file.result.bits
    );
    println!(
        "                {} up, {} down; the key {}, once",
        size(bytes.up as u64),
        size(bytes.down as u64),
        size(bytes.key as u64)
    );
    print_rounds(program);
    match noise.row {
        Some(p) => println!("a row fails     with probability 2^{p:.0}"),
        None => println!("a row fails     never: nothing exact is at stake"),
    }
    if let Some(bits) = noise.flooding_bits {
        println!("flooding        exceeds what the weights shape by {bits:.1} bits");
    }
    let error = noise.score_error.iter().copied().fold(0.0, f64::max);
    match error > 0.0 {
        true => {
            println!("a score         is off by at most {error:.4}, but for once in 2^128 times")
        }
        false => println!("a score         is exactly that of the program in the clear"),
    }
    let threads = predict::threads();
    for pace in &predict::PACES {
        println!(
            "predicted       {:.1} ms a row alone on {} ({threads} threads), {:.1} ms of a core",
            pace.latency_ms(program, threads),
            pace.backend,
            pace.core_ms(program)
        );
    }
    print_learned(program);
}

fn print_rounds(program: &Program) {
    let mut with_lookup = program.noise().rounds.iter();
    for (index, round) in program.rounds().iter().enumerate() {
        let terms: usize = round.sums.iter().map(|sum| sum.terms.len()).sum();
        let sums = format!("{} sums of {terms} terms", round.sums.len());
        let noise = round.lookup.as_ref().and_then(|_| with_lookup.next());
        match (&round.lookup, noise) {
            (Some(lookup), Some(noise)) => println!(
                "round {index:<9} {sums}, {} {} lookups of {} entries: failure {:.1} sigmas away, p = 2^{:.0}; noise {:.2} entries",
                lookup.uses.len(),
                precision(noise.precision),
                1u64 << lookup.bits,
                noise.sigmas,
                noise.log2_p_fail,
                noise.sd_entries
            ),
            _ => println!("round {index:<9} {sums}, no lookup"),
        }
    }
}

fn print_learned(program: &Program) {
    println!();
    println!("what a client learns, besides its results:");
    if program.file().text.is_some() {
        println!("  how a text becomes {} numbers", program.input_count());
        return;
    }
    let what = match is_scaled(program) {
        true => "the range of each column",
        false => "the edges that the model asks about, and not which part of it asks",
    };
    println!("  {what}:");
    let learned = learned(program);
    for (name, edges) in learned.iter().take(COLUMNS_SHOWN) {
        let shown: Vec<String> = edges
            .iter()
            .take(EDGES_SHOWN)
            .map(|e| format!("{e:.4}"))
            .collect();
        let more = match edges.len().saturating_sub(EDGES_SHOWN) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        println!("    {name}: {}{more}", shown.join(", "));
    }
    if learned.len() > COLUMNS_SHOWN {
        println!(
            "    and {} columns more (--json shows all)",
            learned.len() - COLUMNS_SHOWN
        );
    }
}
