//! `veilgate policy`: what an author of policies needs, in any language, with this one program.

mod bench;
mod build;
mod inspect;
mod language;
mod manifest;
mod module;
mod new;
mod template;
mod test;
mod trial;

use clap::Subcommand;

use super::Failure;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a policy to begin with, in the language you know
    New(new::Args),
    /// Compiles the policy of a folder into build/NAME.wasm; fetches the compiler where it can
    Build(build::Args),
    /// Runs a policy on written exchanges and tells what is not as expected; no gateway needed
    Test(test::Args),
    /// Measures what a policy's hooks cost per call, on its test files' exchanges
    Bench(bench::Args),
    /// Tells what a module is, what it imports and would have to be granted; runs nothing of it
    Inspect(inspect::Args),
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::New(args) => new::run(args),
        Command::Build(args) => build::run(args),
        Command::Test(args) => test::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Inspect(args) => inspect::run(args),
    }
}
