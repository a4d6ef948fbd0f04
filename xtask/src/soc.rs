//! `cargo xtask soc`: builds the gateway and the example of encrypted network events, and starts it (examples/src/bin/soc).

use std::path::Path;
use std::process::Command;

use crate::prerequisites;
use crate::process::{cargo, complete, heading, target_dir};

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    prerequisites::check()?;
    heading("building the gateway and the example (the first time takes some minutes)");
    let mut build = cargo(root);
    build.args(["build", "--release", "-p", "veilgate", "-p"]);
    build.args(["veilgate-examples", "--bins"]);
    complete("build", &mut build)?;
    let binaries = target_dir(root).join("release");
    let mut story = Command::new(binaries.join("soc"));
    story.current_dir(root).arg("--root").arg(root);
    story.arg("--bin-dir").arg(&binaries).args(args);
    complete("soc", &mut story)
}
