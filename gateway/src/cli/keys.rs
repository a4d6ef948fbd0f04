//! `veilgate keys`: a client's keys: made, and the public half registered with a gateway.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fhe::files::{self, CLIENT_KEY_FILE, EVALUATION_KEY_FILE, KeyFileError};
use fhe::{ClientKey, OsEntropy, ParamSet};
use http::{Method, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::remote::{Target, block_on};

/// Of the JSON that answers a registration.
const MAX_ANSWER_BYTES: usize = 64 << 10;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Makes a secret key, and the evaluation key that a gateway needs to compute on what you encrypt
    New(New),
    /// Gives the evaluation key to a gateway (the secret key never leaves this machine)
    Register(Register),
}

#[derive(clap::Args)]
struct New {
    /// The folder to write to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the keys are for
    #[arg(long, value_enum, default_value_t = Set::Bootstrap)]
    set: Set,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Set {
    /// Every program: sums and lookups (30 MB to register)
    #[value(alias = "2_2", alias = "tfhe-2_2-ks32-128")]
    Bootstrap,
    /// Linear models alone (16 KB to register)
    #[value(alias = "linear-2048-128")]
    Linear,
}

#[derive(clap::Args)]
struct Register {
    #[command(flatten)]
    target: Target,
    /// The folder that `veilgate keys new` wrote
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::New(args) => make(&args),
        Command::Register(args) => block_on(register(&args)),
    }
}

pub(super) fn unreadable(error: KeyFileError) -> Failure {
    match &error {
        KeyFileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::wrong_input(format!(
                "{error}; make keys with `veilgate keys new --out DIR`"
            ))
        }
        _ => Failure::wrong_input(error.to_string()),
    }
}

fn make(args: &New) -> Result<(), Failure> {
    let set = match args.set {
        Set::Bootstrap => ParamSet::Bootstrap,
        Set::Linear => ParamSet::Linear,
    };
    let spinner = ProgressBar::new_spinner().with_message("making keys");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let started = Instant::now();
    let failed = |error: fhe::FheError| Failure::new(error.to_string());
    let client = ClientKey::generate(set, &mut OsEntropy).map_err(failed)?;
    let evaluation = client.evaluation_key(&mut OsEntropy).map_err(failed)?;
    spinner.finish_and_clear();
    files::write_keys(&args.out, &client, &evaluation)
        .map_err(|error| Failure::new(error.to_string()))?;
    let dir = args.out.display();
    println!(
        "secret key      {dir}/{CLIENT_KEY_FILE} (readable by you alone; whoever has it can read your data)"
    );
    println!(
        "evaluation key  {dir}/{EVALUATION_KEY_FILE} ({})",
        size(evaluation.as_bytes().len() as u64)
    );
    println!("its name        {}", evaluation.id());
    println!(
        "Made in {:.1} s, with parameter set {set}. Next: veilgate keys register",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn register(args: &Register) -> Result<(), Failure> {
    let key = files::read_evaluation_key(&args.keys).map_err(unreadable)?;
    let remote = args.target.connect().await?;
    let bar = ProgressBar::new(key.as_bytes().len() as u64).with_message("sending");
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}")
    {
        bar.set_style(style);
    }
    let started = Instant::now();
    let body = Bytes::copy_from_slice(key.as_bytes());
    let moving = bar.clone();
    let sent = move |bytes| moving.inc(bytes);
    let answer = remote
        .call(Method::POST, "/fhe/v1/keys", body, MAX_ANSWER_BYTES, sent)
        .await;
    bar.finish_and_clear();
    let answer = answer?;
    let was_there = answer.status == StatusCode::OK;
    answer.success()?;
    remote.close().await;
    match was_there {
        true => println!("The gateway had this key already: {}", key.id()),
        false => println!(
            "Registered {} ({} in {:.1} s)",
            key.id(),
            size(key.as_bytes().len() as u64),
            started.elapsed().as_secs_f64()
        ),
    }
    Ok(())
}

/// Bytes as people write them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
