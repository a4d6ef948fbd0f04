//! Runs a child process with its output passed through, and says in words what failed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Prints a heading, so that a long run shows where it is.
pub fn heading(text: &str) {
    eprintln!("\n── {text}");
}

/// The cargo that started us, so that a toolchain chosen on the command line (`cargo +x`) stays chosen.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Where cargo puts what it builds for this workspace.
pub fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// True where a missing part that could be installed is a failure and not a skip.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Runs to the end; an error names the command and how it ended.
pub fn complete(what: &str, command: &mut Command) -> Result<(), String> {
    let began = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("{what}: cannot start {:?}: {error}", command.get_program()))?;
    if !status.success() {
        return Err(format!("{what} failed ({status}); the lines above say why"));
    }
    eprintln!("   {what}: done in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// The program that a script unpacks into this folder of the target directory; `None` if it cannot, and has said why.
pub fn unpack(root: &Path, script: &str, folder: &str) -> Result<Option<PathBuf>, String> {
    let unpacked = Command::new(root.join(script))
        .arg(target_dir(root).join(folder))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {script}: {error}"))?;
    let path = String::from_utf8_lossy(&unpacked.stdout).trim().to_owned();
    Ok(unpacked.status.success().then(|| PathBuf::from(path)))
}
