//! Go: bindings by wit-bindgen-go inside the policy's own Go module, so that nothing is fetched; compiled by the user's Go.

use std::path::Path;
use std::process::Command;

use wit_bindgen_core::Files;

use super::{Project, component, process, wit};

const HINT: &str = "Install Go 1.24 or newer: https://go.dev/dl (Debian, Ubuntu: apt-get install golang-go, where that is 1.24).";
/// The module of the template's go.mod; generated packages lie in its folder `build`.
const BINDINGS: &str = "policy/build/bindings";
/// What the generator takes from a module of its own; the SDK has it.
const RUNTIME: [&str; 2] = ["go.bytecodealliance.org/pkg/wit/", "policy/sdk/wit/"];

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    bindings(project)?;
    let core = project.scratch()?.join("core.wasm");
    let package = project.manifest.entry.parent().unwrap_or(Path::new(""));
    let mut go = Command::new("go");
    go.current_dir(&project.folder)
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")])
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
        ])
        .arg(&core)
        .arg(Path::new(".").join(package));
    process::complete(&mut go, HINT).map(|_| ())?;
    let bytes =
        std::fs::read(&core).map_err(|error| format!("cannot read {}: {error}", core.display()))?;
    component::wrap_with_world(bytes, wit::world(project)?)
}

/// Writes the generated packages into the policy's module.
pub(super) fn bindings(project: &Project) -> Result<(), String> {
    let options = wit_bindgen_go::Opts {
        pkg_name: Some(BINDINGS.to_owned()),
        generate_stubs: true,
        quiet: true,
        ..Default::default()
    };
    let mut generated = Files::default();
    wit::generate(project, options.build().as_mut(), &mut generated)?;
    let mut files = Files::default();
    for (name, bytes) in generated.iter() {
        let text = String::from_utf8_lossy(bytes).replace(RUNTIME[0], RUNTIME[1]);
        let is_stub = name.starts_with("exports/export_") && name.ends_with(".go");
        let text = if is_stub { hooked(&text) } else { text };
        files.push(name, text.as_bytes());
    }
    wit::write(&files, &project.folder.join("build/bindings"))
}

/// The generator's stubs panic; these call the variable `Hook` of their package, which the policy sets.
fn hooked(stubs: &str) -> String {
    let from = stubs.find("package ").unwrap_or(0);
    let mut text = "// Made from wit/. Do not edit.\n\n".to_owned();
    for line in stubs[from..].lines() {
        let signature = line
            .strip_prefix("func ")
            .and_then(|rest| rest.strip_suffix(" {"));
        match signature.and_then(hook) {
            Some(hook) => text.push_str(&hook),
            None if line.contains("panic(\"not implemented\")") || line == "}" => {}
            None if line.starts_with("// TODO") => {}
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// `OnRequest() types.Decision` → the variable and the function that calls it.
fn hook(signature: &str) -> Option<String> {
    let (name, rest) = signature.split_once('(')?;
    let (parameters, result) = rest.split_once(')')?;
    let arguments: Vec<&str> = parameters
        .split(", ")
        .filter_map(|parameter| parameter.split_whitespace().next())
        .collect();
    let returns = if result.trim().is_empty() {
        ""
    } else {
        "return "
    };
    Some(format!(
        "// Hook is what the gateway calls as {name}: set it in an init function.\nvar Hook func({parameters}){result}\n\n\
         func {signature} {{\n\t{returns}Hook({})\n}}\n",
        arguments.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_calls_the_variable_that_the_policy_sets() {
        let stub = "// x\npackage p\n\n// TODO: Implement\nfunc After(_a t.A, _b []uint8) (t.V, o.O[t.V]) {\n\tpanic(\"not implemented\")\n}\n";
        let text = hooked(stub);
        assert!(text.contains("package p\n"), "{text}");
        assert!(
            text.contains("var Hook func(_a t.A, _b []uint8) (t.V, o.O[t.V])\n"),
            "{text}"
        );
        assert!(text.contains("\treturn Hook(_a, _b)\n}\n"), "{text}");
        assert!(!text.contains("panic"), "{text}");
        assert!(hook("OnTick()").is_some_and(|text| text.contains("\tHook()\n")));
    }
}
