//! `veilgate model`: models as programs of encrypted scoring, one file for each subcommand's work.

mod admin;
#[cfg(feature = "fhe")]
mod compile;
#[cfg(feature = "fhe")]
mod evaluate;
#[cfg(feature = "fhe")]
mod files;
#[cfg(feature = "fhe")]
mod inspect;
mod installed;
#[cfg(feature = "fhe")]
mod metrics;
#[cfg(feature = "fhe")]
mod predict;

use clap::Subcommand;

use super::Failure;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compiles a trained model (ONNX, XGBoost, LightGBM, CatBoost) into a program that can be evaluated under encryption
    #[cfg(feature = "fhe")]
    Compile(compile::Args),
    /// Shows what a program costs, how sure it is, and what its clients learn of it
    #[cfg(feature = "fhe")]
    Inspect(inspect::Args),
    /// Scores labelled rows in the clear and encrypted, on this machine, and compares
    #[cfg(feature = "fhe")]
    Evaluate(evaluate::Args),
    /// Installs a program in a gateway that runs; it serves at once, and after a restart
    Install(installed::Install),
    /// Shows the programs that a gateway serves
    List(installed::List),
    /// Removes a program, or a version of it, from a gateway that runs
    Remove(installed::Remove),
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        #[cfg(feature = "fhe")]
        Command::Compile(args) => compile::run(&args),
        #[cfg(feature = "fhe")]
        Command::Inspect(args) => inspect::run(&args),
        #[cfg(feature = "fhe")]
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Install(args) => installed::install(&args),
        Command::List(args) => installed::list(&args),
        Command::Remove(args) => installed::remove(&args),
    }
}
