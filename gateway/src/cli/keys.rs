//! `veilgate keys`: a client's keys: made, registered with a gateway, listed, replaced, deleted; and tokens to do it with.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhe::files::{self, CLIENT_KEY_FILE, EVALUATION_KEY_FILE, KeyFileError};
use fhe::{ClientKey, EvaluationKey, OsEntropy, ParamSet};
use indicatif::ProgressBar;

use super::Failure;
use super::remote::block_on;

mod manage;
mod register;
mod rotate;
mod token;

/// Of JSON about one key.
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
    /// Gives the evaluation key to a gateway (the secret key never leaves this machine); goes on where it was interrupted
    Register(register::Args),
    /// Lists the keys that a gateway has of you
    List(manage::List),
    /// Makes new keys and registers them in the place of the old ones, which work until their grace ends
    Rotate(rotate::Args),
    /// Has a gateway delete a key
    Delete(manage::Delete),
    /// Makes a bearer token for a tenant of a gateway: for whoever runs the gateway
    Token(token::Args),
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

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::New(args) => make(&args),
        Command::Register(args) => block_on(register::run(&args)),
        Command::List(args) => block_on(manage::list(&args)),
        Command::Rotate(args) => rotate::run(&args),
        Command::Delete(args) => block_on(manage::delete(&args)),
        Command::Token(args) => token::run(&args),
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
    write_new_keys(&args.out, set)?;
    println!("Next: veilgate keys register");
    Ok(())
}

/// New keys in this folder, and what a person should know of them.
fn write_new_keys(out: &Path, set: ParamSet) -> Result<EvaluationKey, Failure> {
    let spinner = ProgressBar::new_spinner().with_message("making keys");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let started = Instant::now();
    let failed = |error: fhe::FheError| Failure::new(error.to_string());
    let client = ClientKey::generate(set, &mut OsEntropy).map_err(failed)?;
    let evaluation = client.evaluation_key(&mut OsEntropy).map_err(failed)?;
    spinner.finish_and_clear();
    files::write_keys(out, &client, &evaluation)
        .map_err(|error| Failure::new(error.to_string()))?;
    let dir = out.display();
    println!(
        "secret key      {dir}/{CLIENT_KEY_FILE} (readable by you alone; whoever has it can read your data)"
    );
    println!(
        "evaluation key  {dir}/{EVALUATION_KEY_FILE} ({})",
        size(evaluation.as_bytes().len() as u64)
    );
    println!("its name        {}", evaluation.id());
    println!(
        "Made in {:.1} s, with parameter set {set}.",
        started.elapsed().as_secs_f64()
    );
    Ok(evaluation)
}

/// Bytes as people write them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
