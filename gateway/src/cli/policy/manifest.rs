//! `veilgate-policy.toml`: what a policy's folder says of itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::Failure;
use super::language::Language;

pub(super) const FILE: &str = "veilgate-policy.toml";
/// As the gateway's: the name labels metrics and log lines.
const MAX_NAME_BYTES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The module is `build/NAME.wasm`.
    pub(super) name: String,
    pub(super) language: Language,
    /// The file that the compiler begins with, relative to the folder.
    pub(super) entry: PathBuf,
    /// The world in wit/world.wit: what the policy imports and exports. Rust policies name theirs in `export_policy!`.
    pub(super) world: Option<String>,
    /// What the operator must grant. Read by `policy test`; a build compares it with what the module imports.
    #[serde(default)]
    pub(super) grants: Vec<String>,
}

impl Manifest {
    pub(super) fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| {
            Failure::wrong_input(format!(
                "cannot read {}: {error}\n`veilgate policy new --lang LANGUAGE DIR` writes a folder with one",
                path.display()
            ))
        })?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|error| Failure::wrong_input(format!("{}: {error}", path.display())))?;
        match manifest.problem() {
            Some(problem) => Err(Failure::wrong_input(format!(
                "{}: {problem}",
                path.display()
            ))),
            None => Ok(manifest),
        }
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = name_problem(&self.name) {
            return Some(format!("`name`: {problem}"));
        }
        let outside =
            |part: std::path::Component<'_>| !matches!(part, std::path::Component::Normal(_));
        if self.entry.as_os_str().is_empty() || self.entry.components().any(outside) {
            return Some("`entry` must be a file of this folder".to_owned());
        }
        None
    }
}

/// What is wrong with a policy's name, if anything.
pub(super) fn name_problem(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let good = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(fits);
    (!good).then(|| format!("{name:?} must be 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-` and `_`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), text).expect("written");
        Manifest::load(folder.path())
            .err()
            .map(|failure| failure.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_built_is_refused_with_its_key() {
        let good =
            "name = \"a-1\"\nlanguage = \"js\"\nentry = \"src/policy.js\"\nworld = \"policy\"\n";
        assert_eq!(problem(good), "");
        assert!(problem(&good.replace("a-1", "A")).contains("`name`"));
        assert!(problem(&good.replace("src/", "../")).contains("`entry`"));
        assert!(problem(&good.replace("src/", "/src/")).contains("`entry`"));
        assert!(problem(&good.replace("\"js\"", "\"cobol\"")).contains("cobol"));
        assert!(problem("nam = 1").contains("nam"));
    }
}
