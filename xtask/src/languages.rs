//! Policies in every language, built by `veilgate policy build` of this checkout's program: each template as `veilgate policy new` writes
//! it, and the small ones of benches/policies in its place. What did not change is not built again.

mod small;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::prerequisites;
use crate::process::{cargo, complete, in_ci, target_dir};

struct Language {
    name: &'static str,
    /// The programs that its build needs.
    needs: &'static [&'static str],
    /// As the template's manifest has it.
    entry: &'static str,
}

const LANGUAGES: [Language; 8] = [
    language("rust", &[], "src/lib.rs"),
    language("c", &["python3"], "policy.c"),
    language("zig", &["python3"], "policy.zig"),
    language("assemblyscript", &["node", "npm"], "policy.ts"),
    language("js", &["node", "npm"], "policy.js"),
    language("ts", &["node", "npm"], "policy.ts"),
    language("python", &["python3"], "caller_limit.py"),
    language("go", &["go"], "policy.go"),
];
/// What builds leave in a policy's folder.
const KEPT: [&str; 4] = ["build", "target", "Cargo.lock", ".zig-cache"];
/// Folder of results that the policies in Rust share: none compiles the crates of the SDK for itself.
const CARGO: &str = "cargo";

const fn language(
    name: &'static str,
    needs: &'static [&'static str],
    entry: &'static str,
) -> Language {
    Language { name, needs, entry }
}

/// Which policies are built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Templates,
    Small,
}

/// The policies that tests run: all templates, in folders named for their languages, and those of the small ones that are soon built
/// and compiled, in folders `LANGUAGE-POLICY`. Returns the folder of them all.
pub fn build(root: &Path) -> Result<PathBuf, String> {
    complete(
        "the gateway's program",
        cargo(root).args(["build", "--quiet", "-p", "veilgate"]),
    )?;
    let program = target_dir(root).join("debug/veilgate");
    let all: Vec<&Language> = LANGUAGES.iter().collect();
    build_all(root, &program, &all, Which::Templates)?;
    let soon: Vec<&Language> = all.into_iter().filter(|one| small::is_soon(one)).collect();
    build_all(root, &program, &soon, Which::Small)
}

/// The small policies in all languages that have them, built by `program`. Returns the folder of their folders.
pub fn build_small(root: &Path, program: &Path) -> Result<PathBuf, String> {
    let all: Vec<&Language> = LANGUAGES
        .iter()
        .filter(|one| small::is_for(root, one))
        .collect();
    build_all(root, program, &all, Which::Small)
}

/// Builds all that this machine can; where something is missing that is said, and in CI it is an error.
fn build_all(
    root: &Path,
    program: &Path,
    languages: &[&Language],
    which: Which,
) -> Result<PathBuf, String> {
    let folder = target_dir(root).join("languages");
    let maker = digest_of_maker(root)?;
    for language in languages {
        let missing = prerequisites::missing(language.needs);
        if !missing.is_empty() {
            if in_ci() {
                return Err(format!(
                    "policies in {} cannot be built here:\n{missing}",
                    language.name
                ));
            }
            eprintln!("   {} is left out here:\n{missing}", language.name);
            continue;
        }
        let projects = match which {
            Which::Templates => vec![Project::new(program, language, language.name, &folder)?],
            Which::Small => small::projects(root, program, language, &folder)?,
        };
        for project in projects {
            project.build(program, &maker)?;
        }
    }
    Ok(folder)
}

/// A policy's folder that is to be as `fresh` is.
struct Project {
    name: String,
    fresh: PathBuf,
    folder: PathBuf,
}

impl Project {
    /// The template under this name; more may be written into `fresh`. `folder` is the one of all projects.
    fn new(program: &Path, language: &Language, name: &str, folder: &Path) -> Result<Self, String> {
        let fresh = folder.join("fresh").join(name);
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(|error| failed(&fresh, &error))?;
        }
        let mut new = Command::new(program);
        new.args(["policy", "new", "--lang", language.name])
            .arg(&fresh)
            .stdout(std::process::Stdio::null());
        complete(&format!("the template for {}", language.name), &mut new)?;
        if language.name == "rust" {
            share_target(folder, name)?;
        }
        Ok(Self {
            name: name.to_owned(),
            fresh,
            folder: folder.join(name),
        })
    }

    /// Files that are the same keep their times, results stay; what another `policy build` made is made again.
    fn build(&self, program: &Path, maker: &str) -> Result<(), String> {
        mirror(&self.fresh, &self.folder, true)?;
        let known = self.folder.join("build/made-by");
        let mut build = Command::new(program);
        build.args(["policy", "build"]).arg(&self.folder);
        if !fs::read_to_string(&known).is_ok_and(|text| text == maker) {
            build.arg("--force");
        }
        complete(&format!("policy {}", self.name), &mut build)?;
        fs::write(&known, maker).map_err(|error| failed(&known, &error))
    }
}

/// Has the project's `target` lead to the one that all share, if it has none.
#[cfg(unix)]
fn share_target(folder: &Path, name: &str) -> Result<(), String> {
    let (shared, own) = (folder.join(CARGO), folder.join(name).join("target"));
    if own.exists() {
        return Ok(());
    }
    fs::create_dir_all(&shared).map_err(|error| failed(&shared, &error))?;
    fs::create_dir_all(folder.join(name)).map_err(|error| failed(folder, &error))?;
    std::os::unix::fs::symlink(Path::new("..").join(CARGO), &own)
        .map_err(|error| failed(&own, &error))
}

#[cfg(not(unix))]
fn share_target(_: &Path, _: &str) -> Result<(), String> {
    Ok(())
}

fn mirror(from: &Path, to: &Path, is_top: bool) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
    for entry in fs::read_dir(to)
        .map_err(|error| failed(to, &error))?
        .flatten()
    {
        let kept = is_top && KEPT.iter().any(|name| entry.file_name() == *name);
        if !kept && !from.join(entry.file_name()).exists() {
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|error| failed(&path, &error))?;
        }
    }
    for entry in fs::read_dir(from)
        .map_err(|error| failed(from, &error))?
        .flatten()
    {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            mirror(&source, &target, false)?;
            continue;
        }
        let text = fs::read(&source).map_err(|error| failed(&source, &error))?;
        if fs::read(&target).ok().as_ref() != Some(&text) {
            fs::write(&target, text).map_err(|error| failed(&target, &error))?;
        }
    }
    Ok(())
}

/// The sources of `policy build`: a policy that another one built is built again.
fn digest_of_maker(root: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    collect(&root.join("gateway/src/cli/policy/build"), &mut files)?;
    files.push(root.join("gateway/src/cli/policy/build.rs"));
    files.push(root.join("Cargo.lock"));
    files.sort();
    let mut hash = blake3::Hasher::new();
    for file in files {
        hash.update(&fs::read(&file).map_err(|error| failed(&file, &error))?);
    }
    Ok(hash.finalize().to_string())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in fs::read_dir(folder)
        .map_err(|error| failed(folder, &error))?
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refreshed_folder_keeps_results_and_loses_what_is_gone() {
        let top = std::env::temp_dir().join(format!("veilgate-mirror-{}", std::process::id()));
        let (from, to) = (top.join("from"), top.join("to"));
        let put = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        put(from.join("src/a"), "new");
        put(to.join("src/a"), "old");
        put(to.join("src/gone"), "old");
        put(to.join("build/a.wasm"), "result");
        mirror(&from, &to, true).expect("mirrored");
        assert_eq!(fs::read_to_string(to.join("src/a")).expect("there"), "new");
        assert!(!to.join("src/gone").exists());
        assert!(to.join("build/a.wasm").exists());
        fs::remove_dir_all(&top).expect("removed");
    }
}
