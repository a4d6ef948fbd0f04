//! `cargo xtask demo`: builds what the demo needs and hands over to it (examples/src/bin/demo.rs tells the story).

use std::path::Path;
use std::process::Command;

use crate::process::{cargo, complete, heading, target_dir};
use crate::{prerequisites, wasm};

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let dev = args.iter().any(|argument| argument == "--dev");
    if let Some(unknown) = args
        .iter()
        .find(|a| !["--dev", "--keep"].contains(&a.as_str()))
    {
        return Err(format!(
            "`demo` does not know {unknown:?}; it takes --keep and --dev"
        ));
    }
    prerequisites::check()?;
    heading("building the policies (Wasm components)");
    let policies = wasm::build_policies(root)?;
    heading(
        "building the gateway, the aggregator and the demo (the first time takes some minutes)",
    );
    let mut build = cargo(root);
    if dev {
        // What `cargo test --workspace` built, feature for feature: nothing heavy is compiled a second time.
        build.args(["build", "--workspace", "--bins", "--tests"]);
    } else {
        build.args([
            "build",
            "--release",
            "-p",
            "veilgate",
            "-p",
            "aggregator",
            "-p",
            "veilgate-examples",
            "--bins",
        ]);
    }
    complete("build", &mut build)?;

    let binaries = target_dir(root).join(if dev { "debug" } else { "release" });
    let mut story = Command::new(binaries.join("demo"));
    story
        .current_dir(root)
        .arg("--root")
        .arg(root)
        .arg("--bin-dir")
        .arg(&binaries);
    if let Some(directory) = policies.first().and_then(|policy| policy.path.parent()) {
        story.arg("--policies").arg(directory);
    }
    if args.iter().any(|argument| argument == "--keep") {
        story.arg("--keep");
    }
    complete("demo", &mut story)
}
