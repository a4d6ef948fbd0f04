//! `veilgate model`: programs of encrypted scoring, one file for each subcommand's work.

mod admin;
mod installed;

use clap::Subcommand;

use super::Failure;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs a program in a gateway that runs; it serves at once, and after a restart
    Install(installed::Install),
    /// Shows the programs that a gateway serves
    List(installed::List),
    /// Removes a program, or a version of it, from a gateway that runs
    Remove(installed::Remove),
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Install(args) => installed::install(&args),
        Command::List(args) => installed::list(&args),
        Command::Remove(args) => installed::remove(&args),
    }
}
