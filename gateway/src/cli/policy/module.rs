//! Which module and which test files a command is about: those that it was given, or those of the policy's folder.

use std::path::{Path, PathBuf};

use policy_host::Grant;

use super::super::Failure;
use super::manifest::{self, Manifest};
use super::trial::TestFile;

/// Where a policy's folder keeps its test files.
const TESTS: &str = "tests";
/// How far above a test file its policy's folder may be.
const MAX_PARENTS: usize = 4;

/// A module, read.
pub(super) struct Module {
    pub path: PathBuf,
    pub wasm: Vec<u8>,
    pub name: String,
    /// What the policy's folder says that it needs.
    pub grants: Vec<Grant>,
}

/// The test files among `given`: files as they are, of a folder those in `tests/`, in order of their names. Nothing given: here.
pub(super) fn test_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let here = [PathBuf::from(".")];
    let mut files = Vec::new();
    for path in if given.is_empty() { &here } else { given } {
        if path.is_dir() {
            files.extend(of_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let tests = folder.join(TESTS);
    let dir = if tests.is_dir() {
        tests
    } else {
        folder.to_owned()
    };
    let unreadable = |error: std::io::Error| {
        Failure::wrong_input(format!("{}: cannot be read: {error}", dir.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_test = path.extension().is_some_and(|ext| ext == "toml")
            && !["Cargo.toml", manifest::FILE]
                .iter()
                .any(|other| path.ends_with(other));
        if is_test {
            files.push(path.strip_prefix("./").map(Path::to_owned).unwrap_or(path));
        }
    }
    if files.is_empty() {
        return Err(Failure::wrong_input(format!(
            "there is no test file (*.toml) in {}; docs/policy-test.md says how to write one",
            dir.display()
        )));
    }
    files.sort();
    Ok(files)
}

/// The module for this test file: the one given, else the file's own, else that of the policy's folder.
pub(super) fn of_test(file: &TestFile, given: Option<&Path>) -> Result<Module, Failure> {
    let folder = policy_folder(&file.path);
    let manifest = folder.as_deref().map(Manifest::load).transpose()?;
    let grants = match &manifest {
        Some(manifest) => grants(manifest)?,
        None => Vec::new(),
    };
    let built = || {
        Some(
            folder
                .as_ref()?
                .join("build")
                .join(format!("{}.wasm", manifest.as_ref()?.name)),
        )
    };
    let path = given
        .map(Path::to_owned)
        .or_else(|| file.policy.module.clone())
        .or_else(built);
    let Some(path) = path else {
        return Err(Failure::wrong_input(format!(
            "{}: it is not known which module this tests; give --module FILE, or `module` in [policy]",
            file.path.display()
        )));
    };
    Ok(Module {
        wasm: read(&path)?,
        name: manifest.map_or_else(|| name_of(&path), |manifest| manifest.name),
        path,
        grants,
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let advice = if path
            .parent()
            .is_some_and(|parent| parent.ends_with("build"))
        {
            "; `veilgate policy build` makes it"
        } else {
            ""
        };
        Failure::wrong_input(format!(
            "{}: cannot be read: {error}{advice}",
            path.display()
        ))
    })
}

/// A file's name as a policy's: what it cannot hold is replaced.
pub(super) fn name_of(path: &Path) -> String {
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    if name.is_empty() {
        "policy".to_owned()
    } else {
        name
    }
}

/// The nearest folder with a manifest, at the file or above it.
fn policy_folder(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    let found = file
        .ancestors()
        .skip(1)
        .take(MAX_PARENTS)
        .find(|folder| folder.join(manifest::FILE).is_file())?;
    // As short as it can be told.
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| found.strip_prefix(here).map(Path::to_owned).ok());
    Some(short.unwrap_or_else(|| found.to_owned()))
}

fn grants(manifest: &Manifest) -> Result<Vec<Grant>, Failure> {
    let grant = |name: &String| {
        name.parse()
            .map_err(|error| Failure::wrong_input(format!("{}: `grants`: {error}", manifest::FILE)))
    };
    manifest.grants.iter().map(grant).collect()
}
