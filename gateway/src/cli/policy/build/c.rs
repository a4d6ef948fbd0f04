//! C: bindings by wit-bindgen-c, compiled by `zig cc`, which brings its own libc. Without stdio a policy needs nothing of WASI; with
//! it, the adapter answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use super::{Project, component, process, python, wit};

/// Policies are shallow; this is memory of every instance.
const STACK_BYTES: u32 = 64 * 1024;

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    let zig = python::zig()?;
    let bindings = bindings(project)?;
    let core = project.scratch()?.join("core.wasm");
    let mut cc = clang(&zig, project);
    cc.arg(project.entry());
    cc.args(
        sources(&project.folder)?
            .iter()
            .filter(|path| **path != project.entry()),
    );
    cc.args(compiled(&bindings))
        .arg("-I")
        .arg(&bindings)
        .arg("-o")
        .arg(&core);
    process::complete(&mut cc, "").map(|_| ())?;
    component::wrap_file(&core)
}

/// Writes policy.h, policy.c and the object that says which world this is; returns their folder.
pub(super) fn bindings(project: &Project) -> Result<PathBuf, String> {
    let options = wit_bindgen_c::Opts {
        // the same names whatever the author calls the world
        rename_world: Some("policy".to_owned()),
        ..Default::default()
    };
    let mut files = Files::default();
    wit::generate(project, options.build().as_mut(), &mut files)?;
    let folder = project.folder.join("build/bindings");
    wit::write(&files, &folder)?;
    Ok(folder)
}

pub(super) fn compiled(bindings: &Path) -> [PathBuf; 2] {
    ["policy.c", "policy_component_type.o"].map(|name| bindings.join(name))
}

fn clang(zig: &Path, project: &Project) -> Command {
    let mut cc = Command::new(zig);
    cc.current_dir(&project.folder)
        .args([
            "cc",
            "-target",
            "wasm32-wasi",
            "-mexec-model=reactor",
            "-Os",
            "-flto",
            "-std=c17",
            "-Wall",
            "-Wextra",
        ])
        .args([
            "-Wl,--strip-debug",
            &format!("-Wl,-z,stack-size={STACK_BYTES}"),
        ])
        .arg("-I")
        .arg(&project.folder);
    cc
}

/// Every .c file beside the entry and in sdk/.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for place in [folder.to_path_buf(), folder.join("sdk"), folder.join("src")] {
        let Ok(entries) = std::fs::read_dir(&place) else {
            continue;
        };
        let paths = entries.flatten().map(|entry| entry.path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|kind| kind == "c")));
    }
    found.sort();
    Ok(found)
}
