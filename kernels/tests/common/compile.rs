//! Device code, compiled for the CPU by the machine's C++ compiler. Anew for each run of the tests: it takes seconds, and a stale one
//! would be worse.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file of kernels/cuda as a library of this name, in a folder that goes with what is returned.
pub fn library(source: &str, name: &str, flags: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cuda")
        .join(source);
    let library = folder.path().join(name);
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(&compiler);
    command.args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared"]);
    if cfg!(target_os = "linux") {
        command.arg("-Werror");
    }
    command.args(flags).arg("-o").arg(&library).arg(&source);
    let built = command.status().unwrap_or_else(|error| {
        panic!("{compiler}: {error}; a C++ compiler is needed (apt-get install g++)")
    });
    assert!(
        built.success(),
        "{compiler} does not take {}",
        source.display()
    );
    (folder, library)
}
