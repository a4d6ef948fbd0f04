//! `cargo xtask bench`: builds the benchmarks with optimisation and hands over to them (benches/README.md says how to read them).

use std::path::Path;
use std::process::Command;

use crate::process::{cargo, complete, heading, target_dir};
use crate::{languages, peers, prerequisites, wasm};

/// All that can be named.
const NAMES: [&str; 11] = [
    "http",
    "policy",
    "swap",
    "fhe",
    "fhe-latency",
    "fhe-levels",
    "fhe-models",
    "noise",
    "outbox",
    "sync",
    "peers",
];

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
    let names_none = !args.iter().any(|arg| NAMES.contains(&arg.as_str()));
    if names_none || args.iter().any(|arg| arg == "policy") {
        heading("small policies in seven languages");
        let small = languages::build_small(root, &binaries.join("veilgate"))?;
        bench.arg("--languages").arg(small);
    }
    if args.iter().any(|arg| arg == "peers") {
        bench.arg("--peers").arg(peers::prepare(root)?);
    }
    bench.args(args);
    complete("bench", &mut bench)
}
