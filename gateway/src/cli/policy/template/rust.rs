//! The Rust SDK as a package that stands alone: its sources, and its manifest without what it inherits from this workspace.

use include_dir::{Dir, include_dir};
use toml::{Table, Value};

use super::{CONTRACT, Files};

static SOURCES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/src");
const BUILD: &str = include_str!("../../../../../guest-sdk/build.rs");
const MANIFEST: &str = include_str!("../../../../../guest-sdk/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");
/// The versions that the SDK is tested with: a policy's first build begins with them.
const LOCK: &str = include_str!("../../../../../Cargo.lock");

pub(super) fn add_sdk(files: &mut Files) -> Result<(), String> {
    let mut sources = Files::new();
    super::add(&mut sources, &SOURCES)?;
    for (path, text) in sources {
        files.insert(format!("sdk/src/{path}"), text);
    }
    files.insert("sdk/build.rs".to_owned(), BUILD.to_owned());
    files.insert("sdk/wit/policy.wit".to_owned(), CONTRACT.1.to_owned());
    files.insert("sdk/Cargo.toml".to_owned(), manifest()?);
    files.insert("sdk/Cargo.lock".to_owned(), LOCK.to_owned());
    Ok(())
}

fn manifest() -> Result<String, String> {
    let parse = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let mut manifest = parse(MANIFEST)?;
    let workspace = parse(WORKSPACE)?;
    // its tests are run in its own workspace
    manifest.remove("dev-dependencies");
    manifest.remove("lints");
    for (section, inherited) in [
        ("package", &["package"][..]),
        ("dependencies", &["dependencies"]),
        ("build-dependencies", &["dependencies"]),
    ] {
        let from = table(&workspace, &[&["workspace"], inherited].concat())?;
        if let Some(Value::Table(entries)) = manifest.get_mut(section) {
            inherit(entries, from)?;
        }
    }
    toml::to_string(&manifest).map_err(|error| error.to_string())
}

fn table<'a>(top: &'a Table, path: &[&str]) -> Result<&'a Table, String> {
    path.iter().try_fold(top, |table, key| {
        let found = table.get(*key).and_then(Value::as_table);
        found.ok_or_else(|| format!("the workspace's manifest has no {key:?}"))
    })
}

/// Every `NAME = { workspace = true }` gets what the workspace has under this name.
fn inherit(entries: &mut Table, from: &Table) -> Result<(), String> {
    for (name, value) in entries.iter_mut() {
        let inherits = value
            .get("workspace")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        if inherits {
            let given = from
                .get(name)
                .ok_or_else(|| format!("the workspace says nothing of {name}"))?;
            *value = given.clone();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_needs_no_workspace() {
        let text = manifest().unwrap_or_else(|error| panic!("{error}"));
        assert!(!text.contains("workspace"), "{text}");
        assert!(
            text.contains("wit-bindgen") && text.contains("edition"),
            "{text}"
        );
        let mut files = Files::new();
        add_sdk(&mut files).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            files.contains_key("sdk/src/lib.rs") && files.contains_key("sdk/src/config/tests.rs")
        );
    }
}
