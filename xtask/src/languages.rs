//! Policies in every language: each template as `veilgate policy new` writes it, built by `veilgate policy build`, both of this
//! checkout's program. What did not change is not built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::prerequisites;
use crate::process::{cargo, complete, in_ci, target_dir};

/// (language, the programs that its build needs). Each is a folder of its own in `target/languages`.
const LANGUAGES: &[(&str, &[&str])] = &[
    ("rust", &[]),
    ("c", &["python3"]),
    ("zig", &["python3"]),
    ("assemblyscript", &["node", "npm"]),
    ("js", &["node", "npm"]),
    ("ts", &["node", "npm"]),
    ("python", &["python3"]),
    ("go", &["go"]),
];
/// What builds leave in a policy's folder.
const KEPT: [&str; 4] = ["build", "target", "Cargo.lock", ".zig-cache"];

/// Builds all that this machine can; where one is missing that is said, and in CI it is an error. Returns the folder of the folders.
pub fn build(root: &Path) -> Result<PathBuf, String> {
    complete(
        "the gateway's program",
        cargo(root).args(["build", "--quiet", "-p", "veilgate"]),
    )?;
    let program = target_dir(root).join("debug/veilgate");
    let folder = target_dir(root).join("languages");
    let maker = digest_of_maker(root)?;
    let known = folder.join("made-by");
    let is_new = fs::read_to_string(&known).is_ok_and(|text| text == maker);
    for (language, needs) in LANGUAGES {
        let missing = prerequisites::missing(needs);
        if !missing.is_empty() {
            if in_ci() {
                return Err(format!(
                    "policies in {language} cannot be built here:\n{missing}"
                ));
            }
            eprintln!("   {language} is left out here:\n{missing}");
            continue;
        }
        let project = folder.join(language);
        refresh(&program, language, &folder, &project)?;
        let mut build = Command::new(&program);
        build.args(["policy", "build"]).arg(&project);
        if !is_new {
            build.arg("--force");
        }
        complete(&format!("a policy in {language}"), &mut build)?;
    }
    fs::write(&known, maker)
        .map_err(|error| format!("cannot write {}: {error}", known.display()))?;
    Ok(folder)
}

/// Brings the project's files to what the program writes today; files that are the same keep their times, results stay.
fn refresh(program: &Path, language: &str, folder: &Path, project: &Path) -> Result<(), String> {
    let fresh = folder.join("fresh").join(language);
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(|error| failed(&fresh, &error))?;
    }
    let mut new = Command::new(program);
    new.args(["policy", "new", "--lang", language])
        .arg(&fresh)
        .stdout(std::process::Stdio::null());
    complete(&format!("the template for {language}"), &mut new)?;
    mirror(&fresh, project, true)
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
