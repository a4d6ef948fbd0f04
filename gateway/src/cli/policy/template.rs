//! The files that `policy new` writes, kept in this program: guest-sdk/common for all languages, guest-sdk/LANGUAGE/template for one.

mod rust;

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};

use super::language::Language;

/// The contract, beside the world that names its interfaces.
pub(super) const CONTRACT: (&str, &str) = (
    "wit/deps/veilgate-policy/policy.wit",
    include_str!("../../../../guest-sdk/wit/policy.wit"),
);
static COMMON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/common");
static C: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/c/template");
static ZIG: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/zig/template");
static PYTHON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/python/template");
static GO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/go/template");
static RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/rust/template");
static ASSEMBLYSCRIPT: Dir<'_> =
    include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/assemblyscript/template");
static TS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/ts/template");
static JS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/js/template");
/// Stands for the policy's name in all files.
const NAME: &str = "{{name}}";

/// Path → text.
pub(super) type Files = BTreeMap<String, String>;

pub(super) fn files(language: Language, name: &str) -> Result<Files, String> {
    let mut files = Files::new();
    add(&mut files, &COMMON)?;
    if language == Language::Rust {
        // its SDK has all worlds, and one is named in the source
        files.retain(|path, _| !path.starts_with("wit/"));
        rust::add_sdk(&mut files)?;
    } else {
        files.insert(CONTRACT.0.to_owned(), CONTRACT.1.to_owned());
    }
    add(
        &mut files,
        match language {
            Language::C => &C,
            Language::Zig => &ZIG,
            Language::Python => &PYTHON,
            Language::Go => &GO,
            Language::Rust => &RUST,
            Language::AssemblyScript => &ASSEMBLYSCRIPT,
            Language::Ts => &TS,
            Language::Js => &JS,
        },
    )?;
    for text in files.values_mut() {
        *text = text.replace(NAME, name);
    }
    Ok(files)
}

fn add(files: &mut Files, dir: &Dir<'_>) -> Result<(), String> {
    for file in dir.files() {
        let path = file.path().to_string_lossy().into_owned();
        let text = file
            .contents_utf8()
            .ok_or_else(|| format!("the template's {path} is not text"))?;
        // a manifest of a package under its own name would make the template one here
        let path = path.strip_suffix(".txt").map(str::to_owned).unwrap_or(path);
        files.insert(path, text.to_owned());
    }
    dir.dirs().try_for_each(|dir| add(files, dir))
}
