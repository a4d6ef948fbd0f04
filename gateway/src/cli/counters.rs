//! `veilgate counters`: the owner's public key and stream, adding to one, and reading what was added up.

use std::io::Read;
use std::path::Path;

use fhe::counters::{MAX_SCHEMA_BYTES, Schema};

use super::Failure;
use super::remote::block_on;

mod add;
mod create;
mod public_key;
mod read;

/// Of JSON about one stream: its schema and little else.
const MAX_ANSWER_BYTES: usize = MAX_SCHEMA_BYTES + 4096;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Writes the public key of your keys: with it anybody can count for you, and nobody can read
    PublicKey(public_key::Args),
    /// Makes a stream of counters at a gateway, under your public key
    Create(create::Args),
    /// Encrypts what you counted and adds it to a stream
    Add(add::Args),
    /// Decrypts sums: those that the aggregator wrote, or a gateway's
    Read(read::Args),
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::PublicKey(args) => public_key::run(&args),
        Command::Create(args) => block_on(create::run(&args)),
        Command::Add(args) => block_on(add::run(&args)),
        Command::Read(args) => read::run(&args),
    }
}

/// One byte more than the limit is read, so that what is too long is seen as such.
fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(path, &error))?;
    Ok(bytes)
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::wrong_input(format!("{}: {error}", path.display()))
}

fn read_schema(path: &Path) -> Result<Schema, Failure> {
    let json = read_file(path, MAX_SCHEMA_BYTES)?;
    Schema::from_json(&json).map_err(|error| wrong(path, &error))
}

/// A name that can be put into a path as it is.
fn path_of(stream: &str) -> Result<String, Failure> {
    match stream.parse::<crate::fhe::Tenant>() {
        Ok(_) => Ok(format!("/fhe/v1/counters/{stream}")),
        Err(_) => Err(Failure::wrong_input(format!(
            "--stream {stream}: a stream's name is 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begins with a letter or a digit"
        ))),
    }
}
