//! Filters in Go: Coraza's firewall and a small one of ours, both by Go's own compiler, from the folders beside their tests. What they
//! need comes from Go's module proxy, in the versions of their `go.mod`, checked against their `go.sum`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{unreadable, write};
use crate::prerequisites;
use crate::process::{complete, in_ci};

const SOURCES: &str = "crates/policy-host/tests/filters";
/// The Go SDK for proxy-wasm.
const SDK: &str = "github.com/proxy-wasm/proxy-wasm-go-sdk";
/// Its predecessor, for TinyGo only; what was written for it finds the successor under this name.
const OLD_SDK: &str = "github.com/tetratelabs/proxy-wasm-go-sdk";

/// Nothing is built where there is no Go, unless that is CI.
pub(super) fn build(root: &Path, work: &Path, out: &Path) -> Result<(), String> {
    let missing = prerequisites::missing(&["go"]);
    if !missing.is_empty() {
        if in_ci() {
            return Err(missing);
        }
        eprintln!("   filters in Go are left out:\n{missing}");
        return Ok(());
    }
    let sources = root.join(SOURCES);
    let caller = sources.join("caller");
    let coraza = work.join("coraza");
    fs::create_dir_all(out).map_err(|error| unreadable(out, &error))?;
    lay_out_sdk(&caller, &coraza.join("sdk"))?;
    for name in ["go.mod", "go.sum", "main.go"] {
        let from = sources.join("coraza").join(name);
        fs::copy(&from, coraza.join(name)).map_err(|error| unreadable(&from, &error))?;
    }
    compile(&caller, &out.join("caller.wasm"), "")?;
    // Its check for a file system fails in a sandbox that has none, and this tag leaves it out; the other is what Coraza's own build sets.
    let tags = "no_fs_access,coraza.rule.multiphase_evaluation";
    compile(&coraza, &out.join("coraza.wasm"), tags)
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder).env("GOWORK", "off");
    go
}

fn compile(folder: &Path, wasm: &Path, tags: &str) -> Result<(), String> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut build = go(folder);
    build
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
        .args(["build", "-buildmode=c-shared", "-trimpath"])
        .args(["-buildvcs=false", "-ldflags=-s -w", "-tags", tags, "-o"])
        .args([wasm, Path::new(".")]);
    complete(&format!("the filter {name}, in Go"), &mut build)
}

/// The SDK's sources as the module proxy has them, under the name of its predecessor.
fn lay_out_sdk(user: &Path, to: &Path) -> Result<(), String> {
    let mut download = go(user);
    download.args(["mod", "download", SDK]);
    complete("the Go SDK's sources", &mut download)?;
    let mut list = go(user);
    list.args(["list", "-m", "-f", "{{.Dir}}", SDK]);
    let listed = list.stderr(Stdio::inherit()).output();
    let listed = listed.map_err(|error| format!("cannot start go: {error}"))?;
    let folder = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    if !listed.status.success() || folder.is_empty() {
        return Err(format!("go list does not say where {SDK} is"));
    }
    write(
        &to.join("go.mod"),
        &format!("module {OLD_SDK}\n\ngo 1.24.0\n"),
    )?;
    copy_renamed(&Path::new(&folder).join("proxywasm"), &to.join("proxywasm"))
}

/// All Go files but tests.
fn copy_renamed(from: &Path, to: &Path) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|error| unreadable(from, &error))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && name != "proxytest" {
            copy_renamed(&path, &to.join(&*name))?;
        } else if name.ends_with(".go") && !name.ends_with("_test.go") {
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            write(&to.join(&*name), &text.replace(SDK, OLD_SDK))?;
        }
    }
    Ok(())
}
