//! Compilers from npm: JavaScript's and AssemblyScript's.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{process, toolchain};

const HINT: &str = "Install Node 20 or newer with npm (Debian, Ubuntu: apt-get install nodejs npm; others: https://nodejs.org).";

/// A folder with these packages (`name@version`) in its node_modules. npm checks each against the registry's digest.
pub(super) fn packages(name: &str, size: &str, packages: &[&str]) -> Result<PathBuf, String> {
    toolchain::folder(name, size, |folder| {
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--save-exact",
            "--prefix",
        ])
        .arg(folder)
        .args(packages);
        process::complete(&mut npm, HINT).map(|_| ())
    })
}

/// node, on a script of one of those packages.
pub(super) fn script(path: &Path) -> Command {
    let mut node = Command::new("node");
    node.arg(path);
    node
}

pub(super) fn run(command: &mut Command) -> Result<(), String> {
    process::complete(command, HINT).map(|_| ())
}
