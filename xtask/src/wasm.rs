//! Builds what runs as Wasm: the policies, as components, and (a check only) the FHE client for the browser.
//!
//! Invariants: the result holds no path of this machine, and the same sources give the same bytes; a policy that is up to date is
//! not built again; guests have a target folder of their own, because their compiler may not be the host's.

mod component;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{complete, target_dir};
use wasm32_toolchain::{TARGET, Toolchain};

/// Recursive parsers of a policy's settings need some stack, no policy needs rustc's 1 MiB: this is memory of every instance.
const GUEST_STACK_BYTES: u32 = 128 * 1024;

/// One policy, built.
pub struct Built {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
}

/// Builds every policy in policies/ as a component: `target/policies/NAME.wasm`.
pub fn build_policies(root: &Path) -> Result<Vec<Built>, String> {
    let names = policies(root)?;
    let toolchain = wasm32_toolchain::find(&scratch(root)?)?;
    let target = guest_target_dir(root);
    let mut build = guest_cargo(root, &toolchain, &target);
    build.args(["build", "--profile", "guest", "--target", TARGET]);
    for name in &names {
        build.args(["-p", &package(name)]);
    }
    build.env(
        "CARGO_ENCODED_RUSTFLAGS",
        guest_flags(root, &toolchain).join("\x1f"),
    );
    complete("the policies' core modules", &mut build)?;

    let out = target_dir(root).join("policies");
    fs::create_dir_all(&out)
        .map_err(|error| format!("cannot create {}: {error}", out.display()))?;
    let modules = target.join(TARGET).join("guest");
    let wrap = |name: String| {
        let module = modules.join(format!("{}.wasm", package(&name).replace('-', "_")));
        let path = out.join(format!("{name}.wasm"));
        let bytes = component::wrap_if_newer(&module, &path)?;
        Ok(Built { name, path, bytes })
    };
    names.into_iter().map(wrap).collect()
}

/// Builds the guests of benches/peers into `folder`: the policy as a component, the filter as the core module that it is.
pub fn build_peers(root: &Path, folder: &Path) -> Result<(), String> {
    let toolchain = wasm32_toolchain::find(&scratch(root)?)?;
    let target = guest_target_dir(root);
    let mut build = guest_cargo(root, &toolchain, &target);
    build
        .current_dir(root.join("benches/peers"))
        .args(["build", "--release", "--target", TARGET])
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            guest_flags(root, &toolchain).join("\x1f"),
        );
    complete("the guests of benches/peers", &mut build)?;
    let modules = target.join(TARGET).join("release");
    component::wrap_if_newer(
        &modules.join("peer_policy.wasm"),
        &folder.join("peer_policy.wasm"),
    )?;
    let (from, to) = (
        modules.join("peer_filter.wasm"),
        folder.join("peer_filter.wasm"),
    );
    fs::copy(&from, &to)
        .map(|_| ())
        .map_err(|error| format!("cannot copy {}: {error}", from.display()))
}

/// The folders of policies/ that hold a package, in order.
fn policies(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("policies");
    let entries = fs::read_dir(&folder)
        .map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// The package of the policy in the folder `name`: packages of a workspace need names of their own.
fn package(name: &str) -> String {
    format!("policy-{name}")
}

/// Builds the FHE client for a page; gives the module, which `browser-pack` makes ready for it.
pub fn build_fhe_web(root: &Path) -> Result<PathBuf, String> {
    let toolchain = wasm32_toolchain::find(&scratch(root)?)?;
    let target = guest_target_dir(root);
    let mut build = guest_cargo(root, &toolchain, &target);
    build.args([
        "build",
        "-p",
        "fhe-web",
        "--profile",
        "guest",
        "--target",
        TARGET,
    ]);
    complete("fhe-web for wasm32-unknown-unknown", &mut build)?;
    Ok(target.join(TARGET).join("guest/fhe_web.wasm"))
}

/// Checks that the client side of the FHE core compiles for the browser.
pub fn check_fhe_client(root: &Path) -> Result<(), String> {
    let toolchain = wasm32_toolchain::find(&scratch(root)?)?;
    let target = guest_target_dir(root);
    let mut check = guest_cargo(root, &toolchain, &target);
    check.args(["check", "--quiet", "-p", "fhe", "--lib", "--target", TARGET]);
    complete("fhe for wasm32-unknown-unknown", &mut check)
}

pub fn scratch(root: &Path) -> Result<PathBuf, String> {
    let folder = target_dir(root);
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    Ok(folder)
}

fn guest_target_dir(root: &Path) -> PathBuf {
    std::env::var_os("VEILGATE_WASM_TARGET_DIR").map_or_else(
        || target_dir(root).join("wasm-guests"),
        |dir| root.join(dir),
    )
}

/// cargo with the guests' compiler, and without what the user set for the host's.
pub fn guest_cargo(root: &Path, toolchain: &Toolchain, target: &Path) -> Command {
    let mut cargo = crate::process::cargo(root);
    for setting in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(setting);
    }
    cargo.env("CARGO_TARGET_DIR", target);
    if let Some(rustc) = &toolchain.rustc {
        cargo.env("RUSTC", rustc);
    }
    cargo
}

/// Flags for the guests alone: cargo does not pass them to build scripts and macros, which run here.
fn guest_flags(root: &Path, toolchain: &Toolchain) -> Vec<String> {
    let mut flags = vec![format!("-Clink-arg=-zstack-size={GUEST_STACK_BYTES}")];
    let mut places = vec![(root.to_path_buf(), "veilgate")];
    places.extend(cargo_home().map(|home| (home, "cargo")));
    places.extend(toolchain.sysroot().map(|sysroot| (sysroot, "rust")));
    // after the folder they lie in: the last prefix that fits is taken. Their names depend on where crates are fetched from.
    places.extend(registries().into_iter().map(|source| (source, "crates")));
    for (place, name) in places {
        flags.push(format!("--remap-path-prefix={}=/{name}", place.display()));
    }
    flags
}

/// Where cargo unpacks crates, in a fixed order: other flags would build everything again.
fn registries() -> Vec<PathBuf> {
    let Some(home) = cargo_home() else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(home.join("registry/src")) else {
        return Vec::new();
    };
    let mut sources: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    sources.sort();
    sources
}

fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}
