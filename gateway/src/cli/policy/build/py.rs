//! Python: CPython and the policy in one component, by componentize-py. No WASI: what CPython would ask of it is stubbed.

use std::fs;

use super::{Project, python};

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    let component = project.scratch()?.join("component.wasm");
    let entry = project.manifest.entry.with_extension("");
    // as Python names a module: folders become dots
    let module: Vec<_> = entry.iter().map(|part| part.to_string_lossy()).collect();
    let mut build = python::componentize()?;
    build
        .arg("-d")
        .arg(project.wit())
        .args(["-w", project.world(), "componentize", &module.join(".")])
        .args(["--stub-wasi", "-o"])
        .arg(&component);
    python::run(&mut build, &project.folder)?;
    fs::read(&component).map_err(|error| format!("cannot read {}: {error}", component.display()))
}
