//! `veilgate compile`: what a gateway starts to compile a module in a process of its own. Not for people.

use std::ffi::OsString;
use std::io;

use policy_host::CompilerProgram;

use super::Failure;

#[derive(clap::Args)]
pub(super) struct Args {
    order: Vec<String>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    policy_host::compile_here(&args.order, io::stdin().lock(), io::stdout().lock())
        .map_err(Failure::new)
}

/// This program, as the one that compiles. None where it cannot be found: everything is compiled in this process then.
pub(super) fn program() -> Option<CompilerProgram> {
    // The file may have been replaced since this process started; on Linux this is still the one that runs.
    let program = match cfg!(target_os = "linux") {
        true => "/proc/self/exe".into(),
        false => std::env::current_exe().ok()?,
    };
    Some(CompilerProgram {
        program,
        args: vec![OsString::from("compile")],
    })
}
