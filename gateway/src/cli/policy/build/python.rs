//! Compilers from PyPI: Zig's (which is C's too) and componentize-py.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{process, toolchain};

const HINT: &str = "Install Python 3.10 or newer with pip (Debian, Ubuntu: apt-get install python3 python3-pip; others: https://python.org).";

/// A folder with these packages, each checked against the digest in the registry's index.
fn packages(name: &str, size: &str, package: &str) -> Result<PathBuf, String> {
    toolchain::folder(name, size, |folder| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--only-binary=:all:",
        ])
        .args(["--no-compile", "--target"])
        .arg(folder)
        .arg(package);
        process::complete(&mut pip, HINT).map(|_| ())
    })
}

pub(super) fn zig() -> Result<PathBuf, String> {
    let folder = packages(
        "ziglang-0.17.1",
        "PyPI, 110 MB, 410 MB unpacked",
        "ziglang==0.17.1",
    )?;
    Ok(folder.join("ziglang/zig"))
}

/// python3 on componentize-py.
pub(super) fn componentize() -> Result<Command, String> {
    let folder = packages(
        "componentize-py-0.25.1",
        "PyPI, 40 MB",
        "componentize-py==0.25.1",
    )?;
    let mut python = Command::new("python3");
    python
        .args([
            "-c",
            "import sys, componentize_py; sys.exit(componentize_py.script())",
        ])
        .env("PYTHONPATH", folder);
    Ok(python)
}

pub(super) fn run(command: &mut Command, folder: &Path) -> Result<(), String> {
    process::complete(command.current_dir(folder), HINT).map(|_| ())
}
