//! `cargo xtask gpu`: all that a machine with a GPU of NVIDIA needs to check and measure the CUDA backend, in one folder; runs it
//! where there is such a GPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::prerequisites;
use crate::process::{cargo, complete, heading, target_dir};

const PEER: &str = "benches/peers/tfhe-cuda/build.sh";
const WITHOUT_PEER: &str = "--without-peer";

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let with_peer = match args {
        [] => true,
        [one] if one == WITHOUT_PEER => false,
        _ => {
            return Err(format!(
                "`gpu` takes {WITHOUT_PEER} or nothing, not {args:?}"
            ));
        }
    };
    prerequisites::check()?;
    let folder = target_dir(root).join("gpu");
    fs::create_dir_all(&folder).map_err(|error| cannot("make", &folder, &error))?;
    heading("the program and its tests for a GPU");
    complete(
        "build",
        cargo(root).args(["build", "--release", "-p", "veilgate", "--bins"]),
    )?;
    put(
        &target_dir(root).join("release/veilgate"),
        &folder,
        "veilgate",
    )?;
    put(&test_program(root)?, &folder, "cuda_gpu")?;
    put(&root.join("benches/gpu/measure.sh"), &folder, "measure.sh")?;
    if with_peer {
        heading("tfhe-rs with its CUDA backend, for compute capability 9.0");
        let peer = target_dir(root).join("peers/tfhe-cuda");
        complete("peer", Command::new(root.join(PEER)).arg(&peer))?;
        put(&peer.join("target/release/tfhe-peer"), &folder, "tfhe-peer")?;
    }
    let measure = folder.join("measure.sh");
    let results = folder.join("results");
    if Path::new("/proc/driver/nvidia/version").exists() {
        heading("on this machine's GPU");
        return complete("measure", Command::new(measure).arg(results));
    }
    eprintln!(
        "\nThere is no GPU of NVIDIA here. Copy {} to a machine that has one (Linux, driver 580 or newer), and there run\n  \
         ./measure.sh results",
        folder.display()
    );
    Ok(())
}

/// Tests that a machine without a compiler can run.
fn test_program(root: &Path) -> Result<PathBuf, String> {
    let mut build = cargo(root);
    build.args(["test", "--release", "-p", "kernels", "--features", "cuda"]);
    build.args(["--test", "cuda_gpu", "--no-run", "--message-format", "json"]);
    let output = build
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests for a GPU cannot be built".to_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let program = lines
        .lines()
        .filter(|line| line.contains("\"cuda_gpu\""))
        .find_map(executable);
    program.ok_or_else(|| "cargo does not say where the tests for a GPU are".to_owned())
}

/// The program that one of cargo's messages names.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    Some(PathBuf::from(rest.split_once('"')?.0))
}

fn put(program: &Path, folder: &Path, name: &str) -> Result<(), String> {
    let target = folder.join(name);
    fs::copy(program, &target).map_err(|error| cannot("copy", program, &error))?;
    // It is to be carried somewhere: names of functions are a quarter of it. Without `strip`, or of a script, it stays as it is.
    let _ = Command::new("strip")
        .arg(&target)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    Ok(())
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn cargo_names_the_program_or_none() {
        let message =
            r#"{"reason":"compiler-artifact","executable":"/a b/deps/cuda_gpu-1","fresh":true}"#;
        assert_eq!(
            executable(message).unwrap().to_str(),
            Some("/a b/deps/cuda_gpu-1")
        );
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
