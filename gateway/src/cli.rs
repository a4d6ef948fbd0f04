//! Arguments → exit code. One file per subcommand; every error is one readable paragraph on the terminal.
//!
//! Exit codes: 0 done, 1 it failed, 2 the arguments or the config are wrong.

#[cfg(feature = "fhe")]
mod backend;
#[cfg(feature = "fhe")]
mod bench;
mod certs;
mod check;
mod compile;
#[cfg(feature = "fhe")]
mod counters;
#[cfg(feature = "fhe")]
mod doctor;
#[cfg(feature = "fhe")]
mod infer;
#[cfg(feature = "fhe")]
mod keys;
#[cfg(feature = "fhe")]
mod machine;
mod model;
mod outbox;
mod policy;
#[cfg(feature = "fhe")]
mod remote;
mod run;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// The exit code for a wrong config, as clap has it for wrong arguments.
const WRONG_INPUT: u8 = 2;

#[derive(Parser)]
#[command(
    name = "veilgate",
    version,
    about = "An edge gateway that can compute on what it cannot read",
    propagate_version = true
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway until SIGTERM or Ctrl-C
    Run(run::Args),
    /// Checks a config file: its text, certificates, policies and their own configuration
    Check(check::Args),
    /// Writes, builds and tries policies in any Wasm language
    Policy(policy::Args),
    /// Looks into an outbox: what waits, what is held, whether every byte is sound
    Outbox(outbox::Args),
    /// Makes keys to encrypt with, and registers their public part with a gateway
    #[cfg(feature = "fhe")]
    Keys(keys::Args),
    /// Encrypts rows, has a gateway score them unread, and decrypts the scores
    #[cfg(feature = "fhe")]
    Infer(infer::Args),
    /// Counts under an owner's public key, so that only the owner reads the totals
    #[cfg(feature = "fhe")]
    Counters(counters::Args),
    /// Models as programs of encrypted scoring: compiled, looked into, tried on labelled rows, installed, listed, removed
    Model(model::Args),
    /// Measures what this machine computes on encrypted rows, and checks every result
    #[cfg(feature = "fhe")]
    Bench(bench::Args),
    /// Says what this machine computes encrypted rows with, and why a GPU is not used
    #[cfg(feature = "fhe")]
    Doctor(doctor::Args),
    /// Makes a certificate authority with a server and a client certificate, for demos and tests
    Certs(certs::Args),
    /// Compiles one module for a gateway that asks for it
    #[command(hide = true)]
    Compile(compile::Args),
}

/// What stopped a command.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The command failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    /// What was given is wrong.
    pub(crate) fn wrong_input(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: WRONG_INPUT,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.trim_end())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::wrong_input(error.to_string())
    }
}

/// The program.
pub fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Outbox(args) => outbox::run(args),
        #[cfg(feature = "fhe")]
        Command::Keys(args) => keys::run(args),
        #[cfg(feature = "fhe")]
        Command::Infer(args) => infer::run(args),
        #[cfg(feature = "fhe")]
        Command::Counters(args) => counters::run(args),
        Command::Model(args) => model::run(args),
        #[cfg(feature = "fhe")]
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "fhe")]
        Command::Doctor(args) => doctor::run(&args),
        Command::Certs(args) => certs::run(args),
        Command::Compile(args) => compile::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("veilgate: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
