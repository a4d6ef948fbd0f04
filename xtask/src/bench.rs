//! `cargo xtask bench`: builds the benchmarks with optimisation and hands over to them (benches/README.md says how to read them).

use std::path::Path;
use std::process::Command;

use crate::process::{cargo, complete, heading, target_dir};
use crate::{peers, prerequisites, wasm};

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    prerequisites::check()?;
    heading("building the policies and the benchmarks");
    let policies = wasm::build_policies(root)?;
    complete(
        "build",
        cargo(root).args([
            "build",
            "--release",
            "-p",
            "veilgate",
            "-p",
            "aggregator",
            "-p",
            "veilgate-benches",
            "--bins",
        ]),
    )?;
    let binaries = target_dir(root).join("release");
    let mut bench = Command::new(binaries.join("veilgate-bench"));
    bench
        .current_dir(root)
        .arg("--root")
        .arg(root)
        .arg("--bin-dir")
        .arg(&binaries);
    if let Some(directory) = policies.first().and_then(|policy| policy.path.parent()) {
        bench.arg("--policies").arg(directory);
    }
    if args.iter().any(|arg| arg == "peers") {
        bench.arg("--peers").arg(peers::prepare(root)?);
    }
    bench.args(args);
    complete("bench", &mut bench)
}
