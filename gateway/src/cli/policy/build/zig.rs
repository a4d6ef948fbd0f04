//! Zig: C's bindings, translated by Zig itself, and its own compiler.

use std::fs;
use std::process::Command;

use super::{Project, c, component, process, python};

const TARGET: [&str; 2] = ["-target", "wasm32-wasi"];
const OPTIMIZE: [&str; 2] = ["-O", "ReleaseSmall"];
/// std.json needs some; this is memory of every instance.
const STACK_BYTES: u32 = 128 * 1024;

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    let zig = python::zig()?;
    let bindings = c::bindings(project)?;
    let mut translate = Command::new(&zig);
    translate
        .arg("translate-c")
        .args(TARGET)
        .arg("-lc")
        .arg(bindings.join("policy.h"));
    let translated = process::complete(&mut translate, "")?;
    let module = bindings.join("policy.zig");
    fs::write(&module, translated)
        .map_err(|error| format!("cannot write {}: {error}", module.display()))?;

    let core = project.scratch()?.join("core.wasm");
    let mut build = Command::new(&zig);
    build
        .current_dir(&project.folder)
        .arg("build-exe")
        .args(TARGET)
        .args(["-mexec-model=reactor", "-fno-entry", "-rdynamic", "-lc"])
        .args(["--stack", &STACK_BYTES.to_string()])
        .args(c::compiled(&bindings))
        .arg("-I")
        .arg(&bindings)
        .args(OPTIMIZE)
        .args(["-fstrip", "--dep", "bindings"])
        .arg(format!("-Mroot={}", project.manifest.entry.display()))
        .args(OPTIMIZE)
        .args(["-fstrip", &format!("-Mbindings={}", module.display())])
        .arg(format!("-femit-bin={}", core.display()));
    process::complete(&mut build, "").map(|_| ())?;
    component::wrap_file(&core)
}
