//! JavaScript: bundled by esbuild, joined with QuickJS by componentize-qjs. No WASI: what QuickJS would ask of it is stubbed.

use std::fs;

use super::super::language::Language;
use super::{Project, dts, node, wit};

const TOOLCHAIN: &str = "js-componentize-qjs-0.4.5-esbuild-0.28.2";
const PACKAGES: [&str; 2] = ["componentize-qjs@0.4.5", "esbuild@0.28.2"];
const SIZE: &str = "npm, 50 MB";
/// `sync`: calls without the component model's async part. It finds its package in the folder that it is written into.
const COMPONENTIZE: &str = "\
import { componentize } from 'componentize-qjs';
import { readFile, writeFile } from 'node:fs/promises';
const [witPath, jsPath, world, out] = process.argv.slice(2);
const jsSource = await readFile(jsPath, 'utf8');
try {
  const { component } = await componentize({ witPath, jsPath, jsSource, world, sync: true, stubWasi: true });
  await writeFile(out, component);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
";

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    let tools = node::packages(TOOLCHAIN, SIZE, &PACKAGES)?;
    if project.manifest.language == Language::Ts {
        declare(project)?;
    }
    let scratch = project.scratch()?;
    let bundle = scratch.join("bundle.js");
    let mut esbuild = node::script(&tools.join("node_modules/esbuild/bin/esbuild"));
    esbuild
        .current_dir(&project.folder)
        .arg(&project.manifest.entry)
        .args([
            "--bundle",
            "--format=esm",
            "--log-level=warning",
            "--external:veilgate:*",
            "--charset=utf8",
        ])
        .arg(format!("--outfile={}", bundle.display()));
    node::run(&mut esbuild)?;
    let script = tools.join("componentize.mjs");
    if !script.is_file() {
        fs::write(&script, COMPONENTIZE)
            .map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    }
    let component = scratch.join("component.wasm");
    let mut componentize = node::script(&script);
    componentize
        .arg(project.wit())
        .arg(&bundle)
        .arg(project.world())
        .arg(&component);
    node::run(&mut componentize)?;
    fs::read(&component).map_err(|error| format!("cannot read {}: {error}", component.display()))
}

/// For the author's editor; the compiler of this build does not look at types.
fn declare(project: &Project) -> Result<(), String> {
    let (resolve, world) = wit::world(project)?;
    let mut files = wit_bindgen_core::Files::default();
    files.push("policy.d.ts", dts::declarations(&resolve, world).as_bytes());
    wit::write(&files, &project.folder.join("build/bindings"))
}
