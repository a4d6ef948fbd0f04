//! The house rules that a machine can check: file sizes, no stubs, each heavy library named by one crate, who depends on whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layers;

/// No source file is longer, but tests, fuzz targets and generated bindings.
const FILE_LINES_MAX: usize = 600;

/// (library, the only folders whose sources may name it). Benchmarks may call a library directly to compare with it.
const ONE_DOOR: &[(&str, &[&str])] = &[
    ("wasmtime", &["crates/policy-host/"]),
    ("sled", &["crates/outbox/src/store"]),
    ("redis", &["gateway/src/limits_store"]),
    ("quinn", &["crates/transport/"]),
    ("h3", &["crates/transport/"]),
    ("rustls", &["crates/transport/"]),
    ("wgpu", &["kernels/src/wgpu"]),
    ("naga", &["kernels/src/wgsl"]),
    ("tfhe", &["crates/fhe/", "kernels/", "benches/"]),
];

pub fn run(root: &Path) -> Result<(), String> {
    let mut faults = Vec::new();
    for file in sources(root)? {
        let text =
            fs::read_to_string(root.join(&file)).map_err(|e| format!("{}: {e}", file.display()))?;
        check_file(&file.to_string_lossy(), &text, &mut faults);
    }
    layers::check(root, &mut faults)?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("house rules broken:\n  {}", faults.join("\n  ")))
}

fn sources(root: &Path) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.rs",
        ])
        .output()
        .map_err(|error| format!("cannot ask git for the files: {error}"))?;
    if !output.status.success() {
        return Err("git ls-files failed: run this in a git checkout".to_owned());
    }
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(listed
        .lines()
        .map(PathBuf::from)
        .filter(|file| root.join(file).exists())
        .collect())
}

fn check_file(name: &str, text: &str, faults: &mut Vec<String>) {
    let exempt = name.contains("/tests/")
        || name.ends_with("tests.rs")
        || name.starts_with("fuzz/")
        || name.contains("bindings");
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX && !exempt {
        faults.push(format!(
            "{name}: {lines} lines, more than {FILE_LINES_MAX}: find the seam"
        ));
    }
    if !exempt && !text.trim_start().starts_with("//!") && !text.trim_start().starts_with("#![") {
        faults.push(format!("{name}: begin the file with //! and its one job"));
    }
    for stub in [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
    ] {
        if text.contains(stub) {
            faults.push(format!("{name}: contains {stub}"));
        }
    }
    for (library, doors) in ONE_DOOR {
        if !doors.iter().any(|door| name.starts_with(door)) && names_crate(text, library) {
            faults.push(format!(
                "{name}: names {library}; only {} may",
                doors.join(", ")
            ));
        }
    }
}

/// A path that starts at the crate: `use x::`, `x::y` at the start of a word, not inside a comment.
fn names_crate(text: &str, library: &str) -> bool {
    // A module of that name is the file's own affair.
    if text.contains(&format!("mod {library};")) {
        return false;
    }
    let path = format!("{library}::");
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.match_indices(&path).any(|(at, _)| {
                !line[..at].ends_with(|before: char| {
                    before.is_alphanumeric() || before == '_' || before == ':' || before == '"'
                })
            })
        })
}

#[cfg(test)]
mod tests {
    use super::{check_file, names_crate};

    #[test]
    fn a_library_is_found_only_as_a_path() {
        assert!(names_crate("use door::Db;", "door"));
        assert!(names_crate("let x = door::open();", "door"));
        assert!(!names_crate("// door::Db is in store.rs", "door"));
        assert!(!names_crate("use tokio_rustls::x;", "rustls"));
        assert!(!names_crate("use transport::h3::x;", "h3"));
    }

    #[test]
    fn a_long_file_and_a_second_door_are_faults() {
        let mut faults = Vec::new();
        let text = format!("//! job\nuse {}::Db;\n{}", "sled", "\n".repeat(700));
        check_file("gateway/src/x.rs", &text, &mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
