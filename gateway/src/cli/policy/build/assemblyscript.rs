//! AssemblyScript: bindings made here from the WIT (no generator of the component model's own makes them), compiled by asc.

mod exports;
mod flat;
mod functions;
mod generator;
mod memory;
mod types;

use std::fs;

#[cfg(test)]
pub(super) use generator::bindings;
pub(super) use types::pascal;

use super::{Project, component, node, wit};

const TOOLCHAIN: &str = "assemblyscript-0.28.20";
const PACKAGES: [&str; 1] = ["assemblyscript@0.28.20"];

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    let tools = node::packages(TOOLCHAIN, "npm, 100 MB", &PACKAGES)?;
    let (resolve, world) = wit::world(project)?;
    let entry = project.manifest.entry.with_extension("");
    let entry = format!("../../{}", entry.display());
    let bindings = generator::bindings(&resolve, world, &entry)?;
    let folder = project.folder.join("build/bindings");
    let mut files = wit_bindgen_core::Files::default();
    files.push("policy.ts", bindings.imports.as_bytes());
    files.push("exports.ts", bindings.exports.as_bytes());
    wit::write(&files, &folder)?;

    let core = project.scratch()?.join("core.wasm");
    let mut asc = node::script(&tools.join("node_modules/assemblyscript/bin/asc.js"));
    // no collector of its own: the bindings collect after a call, when nothing is on the stack
    asc.current_dir(&project.folder)
        .arg("build/bindings/exports.ts")
        .args(["-O3z", "--noAssert", "--runtime", "minimal"])
        .args(["--use", "abort=build/bindings/policy/failed", "-o"])
        .arg(&core);
    node::run(&mut asc)?;
    let bytes =
        fs::read(&core).map_err(|error| format!("cannot read {}: {error}", core.display()))?;
    let renamed = exports::rename(&bytes, &bindings.names)?;
    component::wrap_with_world(renamed, (resolve, world))
}
