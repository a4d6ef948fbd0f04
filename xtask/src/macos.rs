//! `cargo xtask macos`: compiles the workspace, tests and benchmarks too, for aarch64-apple-darwin on a machine that is no Mac, as far
//! as that can be done there: every type and lint of Rust, every C file. Nothing is linked, since Apple's frameworks are not to be had
//! there, and nothing is run.
//!
//! Invariants: its compilers and results lie in target/macos, apart from those of other builds; a warning in our own code fails it.

use std::path::Path;
use std::process::Command;

use crate::process::{cargo, complete, heading, target_dir, unpack};

const TARGET: &str = "aarch64-apple-darwin";
const SCRIPT: &str = "scripts/macos-toolchain.sh";

/// Device code as tests of the CUDA backend run it on the CPU; they compile it themselves.
const EMULATED: &str = "kernels/cuda/emulated.cpp";

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    if let Some(unknown) = args.first() {
        return Err(format!("`macos` takes no argument, and got {unknown:?}"));
    }
    if cfg!(target_os = "macos") {
        return Err(
            "this is macOS: `cargo xtask test` builds, links and runs all of it".to_owned(),
        );
    }
    heading("compilers for macOS");
    let tools = unpack(root, SCRIPT, "macos/tools")?
        .ok_or_else(|| format!("{SCRIPT} says above why there are none"))?;
    heading("the workspace for macOS on Apple silicon, with tests and benchmarks");
    complete("cargo check", &mut check(root, &tools))?;
    heading("device code of the CUDA backend, as tests run it on the CPU");
    let mut emulated = Command::new(tools.join("c++"));
    emulated
        .current_dir(root)
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror"])
        // Its coroutines are POSIX's, which Apple keeps and advises against.
        .args(["-Wno-deprecated-declarations", "-D_XOPEN_SOURCE=700"])
        .args(["-D_DARWIN_C_SOURCE", "-O2", "-c", EMULATED, "-o"])
        .arg(target_dir(root).join("macos/emulated.o"));
    complete(EMULATED, &mut emulated)?;
    println!("compiled for {TARGET}, with no warning in our own code:");
    for package in packages(root)? {
        println!("  {package}");
    }
    println!("not done here: linking (Apple's frameworks), running, shaders by Metal's compiler");
    Ok(())
}

fn check(root: &Path, tools: &Path) -> Command {
    let mut check = cargo(root);
    for setting in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
    ] {
        check.env_remove(setting);
    }
    check
        .args(["check", "--workspace", "--all-targets", "--target", TARGET])
        .env("CARGO_TARGET_DIR", target_dir(root).join("macos/build"))
        // It is gigabytes otherwise.
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTC_WORKSPACE_WRAPPER", tools.join("strict"))
        .env("CC_aarch64_apple_darwin", tools.join("cc"))
        .env("CXX_aarch64_apple_darwin", tools.join("c++"))
        .env("AR_aarch64_apple_darwin", tools.join("ar"))
        // CMake would look for Apple's tools.
        .env("AWS_LC_SYS_CMAKE_BUILDER", "0")
        // Else the compiler asks Xcode, which is not there, and warns.
        .env("SDKROOT", "/nonexistent");
    let rustc = tools.join("rustc");
    if rustc.exists() {
        check
            .arg("-Zbuild-std=std,panic_unwind")
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1");
    }
    check
}

/// Names of the workspace's own, in order.
fn packages(root: &Path) -> Result<Vec<String>, String> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| format!("cannot ask cargo for the packages: {error}"))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let all = metadata["packages"].as_array().into_iter().flatten();
    let mut names: Vec<String> = all
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
