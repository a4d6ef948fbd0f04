//! Rust: the user's cargo, for a target without WASI. `wasm32-toolchain` finds or prepares its compiler.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use wasm32_toolchain::{TARGET, Toolchain};

use super::{Project, component, process};

const HINT: &str = "Install Rust 1.90 or newer from https://rustup.rs";
/// Recursive parsers of settings need some, no policy needs rustc's 1 MiB: this is memory of every instance.
const STACK_BYTES: u32 = 128 * 1024;
/// What a user set for native programs.
const NOT_FOR_POLICIES: [&str; 5] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];

pub(super) fn compile(project: &Project) -> Result<Vec<u8>, String> {
    process::complete(Command::new("cargo").arg("--version"), HINT)?;
    let toolchain = wasm32_toolchain::find(&project.scratch()?)?;
    let target = project.folder.join("target");
    let mut cargo = Command::new("cargo");
    for setting in NOT_FOR_POLICIES {
        cargo.env_remove(setting);
    }
    cargo
        .current_dir(&project.folder)
        .args(["build", "--quiet", "--release", "--lib", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(project, &toolchain).join("\x1f"),
        );
    if let Some(rustc) = &toolchain.rustc {
        cargo.env("RUSTC", rustc);
    }
    process::complete(&mut cargo, HINT)?;
    let name = package(project)?.replace('-', "_");
    let core = target
        .join(TARGET)
        .join("release")
        .join(format!("{name}.wasm"));
    component::wrap_file(&core)
}

/// Before the first build: the versions that the SDK is tested with, less what this policy does not need.
pub(super) fn lock(project: &Project) -> Result<(), String> {
    let (tested, lock) = (
        project.folder.join("sdk/Cargo.lock"),
        project.folder.join("Cargo.lock"),
    );
    if lock.exists() || !tested.exists() {
        return Ok(());
    }
    fs::copy(&tested, &lock)
        .map_err(|error| format!("cannot write {}: {error}", lock.display()))?;
    let mut fetch = Command::new("cargo");
    fetch
        .current_dir(&project.folder)
        .args(["fetch", "--quiet"]);
    process::complete(&mut fetch, HINT).map(|_| ())
}

/// The name in Cargo.toml, which an author may have changed.
fn package(project: &Project) -> Result<String, String> {
    let path = project.folder.join("Cargo.toml");
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let manifest: toml::Table = text
        .parse()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"));
    name.and_then(toml::Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("{} names no package", path.display()))
}

/// No path of this machine in the module: the same sources give the same bytes.
fn flags(project: &Project, toolchain: &Toolchain) -> Vec<String> {
    let mut flags = vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}")];
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let places = [
        (Some(project.folder.clone()), "policy"),
        (cargo_home, "cargo"),
        (toolchain.sysroot(), "rust"),
    ];
    for (place, name) in places {
        if let Some(place) = place {
            flags.push(format!("--remap-path-prefix={}=/{name}", place.display()));
        }
    }
    flags
}
