//! `cargo xtask fuzz [TARGET] [SECONDS]`: builds the fuzz targets with coverage counters and runs them for a while.

use std::path::Path;
use std::process::Command;

use crate::process::{cargo, complete, heading};

pub const TARGETS: &[&str] = &[
    "program",
    "public_program",
    "request",
    "reply",
    "keys",
    "model",
    "counter_public_key",
    "counter_ciphertext",
    "counter_schema",
    "counter_record",
];
const DEFAULT_SECONDS: &str = "60";
/// What libFuzzer needs of the compiler; all of it is in stable Rust.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let (targets, seconds) = match args {
        [] => (TARGETS.to_vec(), DEFAULT_SECONDS),
        [one] => (vec![known(one)?], DEFAULT_SECONDS),
        [one, seconds] => (vec![known(one)?], seconds.as_str()),
        _ => return Err("`fuzz` takes a target and a number of seconds".to_owned()),
    };
    heading("fuzz targets");
    let folder = root.join("fuzz");
    // Named, so that build scripts and macros are built without the counters.
    let host = host()?;
    let mut build = cargo(&folder);
    build
        .args(["build", "--release", "--target", &host])
        .env("RUSTFLAGS", FLAGS);
    complete("cargo build", &mut build)?;
    for target in targets {
        heading(&format!("fuzzing {target}, {seconds} s"));
        let corpus = folder.join("corpus").join(target);
        let artifacts = folder.join("artifacts").join(target);
        for made in [&corpus, &artifacts] {
            std::fs::create_dir_all(made).map_err(|e| format!("{}: {e}", made.display()))?;
        }
        let mut fuzz = Command::new(
            folder
                .join("target")
                .join(&host)
                .join("release")
                .join(target),
        );
        fuzz.current_dir(&folder)
            .arg(&corpus)
            .args(seeds(root, target))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_total_time={seconds}"))
            .args([
                "-max_len=65536",
                "-timeout=10",
                "-rss_limit_mb=2048",
                "-print_final_stats=1",
            ]);
        complete(target, &mut fuzz)?;
    }
    Ok(())
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|e| format!("rustc cannot be asked for its host: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned)
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// Sound files to begin with: fuzzing from nothing would take days to find a magic number.
fn seeds(root: &Path, target: &str) -> Option<std::path::PathBuf> {
    match target {
        "model" => Some(root.join("crates/models/tests/data")),
        "program" => Some(root.join("examples/models")),
        _ => None,
    }
}

fn known(name: &str) -> Result<&'static str, String> {
    let found = TARGETS.iter().find(|target| **target == name);
    found
        .copied()
        .ok_or_else(|| format!("no fuzz target {name:?}; there are {}", TARGETS.join(", ")))
}
