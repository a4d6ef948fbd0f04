//! Who may depend on whom, as a table, held against every Cargo.toml (dev-dependencies are free: tests may join parts).

use std::fs;
use std::path::Path;

/// (package folder, the workspace's own crates it may depend on).
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("crates/edge-types", &[]),
    ("crates/http-cache", &["edge-types"]),
    ("crates/policy-host", &["edge-types"]),
    ("crates/fhe", &["edge-types"]),
    ("crates/models", &[]),
    ("crates/compiler", &["fhe", "models"]),
    ("crates/transport", &["edge-types"]),
    ("crates/sync-wire", &["edge-types"]),
    ("crates/outbox", &["edge-types", "sync-wire"]),
    (
        "crates/sync",
        &["edge-types", "outbox", "sync-wire", "transport"],
    ),
    (
        "crates/aggregator",
        &["edge-types", "sync-wire", "transport", "fhe"],
    ),
    ("kernels", &["edge-types", "fhe"]),
    ("guest-sdk", &[]),
    ("crates/fhe-web", &["fhe"]),
    ("crates/wasm32-toolchain", &[]),
    ("xtask", &["wasm32-toolchain"]),
    ("policies/routing", &["guest-sdk"]),
    ("policies/caching", &["guest-sdk"]),
    ("policies/rate-limit", &["guest-sdk"]),
    ("policies/circuit-breaker", &["guest-sdk"]),
    (
        "gateway",
        &[
            "edge-types",
            "http-cache",
            "policy-host",
            "fhe",
            "kernels",
            "models",
            "compiler",
            "transport",
            "outbox",
            "sync",
            "sync-wire",
            "wasm32-toolchain",
        ],
    ),
];

/// The workspace's own crates, by the name that a Cargo.toml uses.
const OURS: &[&str] = &[
    "edge-types",
    "http-cache",
    "policy-host",
    "fhe",
    "kernels",
    "compiler",
    "transport",
    "outbox",
    "sync",
    "sync-wire",
    "aggregator",
    "veilgate",
    "guest-sdk",
    "wasm32-toolchain",
    "models",
];

pub fn check(root: &Path, faults: &mut Vec<String>) -> Result<(), String> {
    for (folder, allowed) in MAY_DEPEND_ON {
        for found in own_dependencies(root, folder)? {
            if !allowed.contains(&found.as_str()) {
                faults.push(format!(
                    "{folder} depends on {found}; ARCHITECTURE.md says who may know whom"
                ));
            }
        }
    }
    Ok(())
}

fn own_dependencies(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let path = root.join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(dependencies_in(&text))
}

/// The names under `[dependencies]` and `[target.….dependencies]` that are ours.
fn dependencies_in(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies"
                || (section.starts_with("target.") && section.ends_with(".dependencies"));
        } else if inside
            && let Some(name) = line.split(['.', '=', ' ']).next()
            && OURS.contains(&name)
        {
            found.push(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::dependencies_in;

    #[test]
    fn only_ordinary_dependencies_count() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\noutbox.workspace = true\nserde = \"1\"\n[dev-dependencies]\nsync.workspace = true\n";
        assert_eq!(dependencies_in(manifest), ["outbox"]);
    }
}
