//! Whether a module is still the result of its sources: a digest over every file of the folder that is not a result itself, kept
//! beside the module. By content, not by time: a checkout or a copy changes times.

use std::fs;
use std::path::{Path, PathBuf};

use super::Project;

/// Folders of results and of fetched libraries: what they hold follows from the other files.
const RESULTS: [&str; 6] = [
    "build",
    "target",
    "node_modules",
    ".git",
    "__pycache__",
    ".zig-cache",
];
/// A policy's sources are some files; with more, this is not a policy's folder.
const MAX_FILES: usize = 10_000;

/// The digest, as text, of the sources and of this program's version.
pub(super) fn of(project: &Project) -> Result<String, String> {
    let mut files = Vec::new();
    collect(&project.folder, &mut files)?;
    files.sort();
    let mut hash = blake3::Hasher::new();
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    hash.update(super::toolchain::VERSIONS.as_bytes());
    for path in files {
        let text = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        let name = path.strip_prefix(&project.folder).unwrap_or(&path);
        hash.update(name.to_string_lossy().as_bytes());
        hash.update(&[0]);
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(&text);
    }
    Ok(hash.finalize().to_string())
}

pub(super) fn matches(module: &Path, inputs: &str) -> bool {
    module.is_file() && fs::read_to_string(beside(module)).is_ok_and(|known| known == inputs)
}

/// Writes the module as a whole or not at all: a gateway may watch it.
pub(super) fn write(module: &Path, component: &[u8], inputs: &str) -> Result<(), String> {
    let folder = module.parent().unwrap_or(Path::new("."));
    let unfinished = module.with_extension("wasm.part");
    // the old stamp goes first: it must never stand beside another module
    let _ = fs::remove_file(beside(module));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&unfinished, component))
        .and_then(|()| fs::rename(&unfinished, module))
        .and_then(|()| fs::write(beside(module), inputs))
        .map_err(|error| format!("cannot write {}: {error}", module.display()))
}

fn beside(module: &Path) -> PathBuf {
    module.with_extension("inputs")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let kind = entry
            .file_type()
            .map_err(|error| unreadable(&entry.path(), &error))?;
        if kind.is_dir() {
            if !RESULTS.iter().any(|name| entry.file_name() == *name) {
                collect(&entry.path(), files)?;
            }
        } else if kind.is_file() {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(format!(
                "{} holds more than {MAX_FILES} files: is it a policy's folder?",
                folder.display()
            ));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
