//! The small policies of benches/policies: a template whose entry, test and world are replaced.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Language, Project, failed};

const POLICIES: [&str; 2] = ["noop", "header"];
/// Those that a debug build of the gateway compiles in seconds: an interpreter, or CPython, takes it a minute.
const SOON: [&str; 5] = ["rust", "c", "zig", "assemblyscript", "go"];

pub(super) fn is_soon(language: &Language) -> bool {
    SOON.contains(&language.name)
}

/// TypeScript has none: to QuickJS it is JavaScript.
pub(super) fn is_for(root: &Path, language: &Language) -> bool {
    sources(root).join(language.name).is_dir()
}

pub(super) fn projects(
    root: &Path,
    program: &Path,
    language: &Language,
    folder: &Path,
) -> Result<Vec<Project>, String> {
    let project = |policy: &&str| {
        let name = format!("{}-{policy}", language.name);
        let project = Project::new(program, language, &name, folder)?;
        replace(&sources(root), &project.fresh, language, policy)?;
        Ok(project)
    };
    POLICIES.iter().map(project).collect()
}

fn sources(root: &Path) -> PathBuf {
    root.join("benches/policies")
}

fn replace(sources: &Path, fresh: &Path, language: &Language, policy: &str) -> Result<(), String> {
    let entry = Path::new(language.entry);
    let kind = entry.extension().unwrap_or_default();
    let source = sources
        .join(language.name)
        .join(policy)
        .with_extension(kind);
    copy(&source, &fresh.join(entry))?;
    let test = sources.join(policy).with_extension("toml");
    copy(&test, &fresh.join("tests/policy.toml"))?;
    if language.name != "rust" {
        copy(&sources.join("world.wit"), &fresh.join("wit/world.wit"))?;
    }
    needs_no_grant(&fresh.join("veilgate-policy.toml"))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| failed(from, &error))
}

fn needs_no_grant(manifest: &Path) -> Result<(), String> {
    let text = fs::read_to_string(manifest).map_err(|error| failed(manifest, &error))?;
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("grants"))
        .collect();
    fs::write(manifest, kept.join("\n") + "\n").map_err(|error| failed(manifest, &error))
}
