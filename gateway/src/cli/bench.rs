//! `veilgate bench`: figures of this machine, by nothing but this program.

mod ceiling;
mod fhe;
mod models;
mod report;

use clap::Subcommand;

use super::Failure;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Encrypted scoring: lookups, sums and whole models a second, beside what the machine could do at most
    Fhe(fhe::Args),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Fhe(args) => fhe::run(args),
    }
}
