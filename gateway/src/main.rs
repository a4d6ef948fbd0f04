//! `veilgate`: the gateway's program. All of it is in the library, so that tests and benchmarks use the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    veilgate::cli::main()
}
