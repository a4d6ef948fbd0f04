//! Builds proxy-wasm filters of others, which tests run unchanged: the examples that published SDK crates carry, fetched by cargo from
//! the package registry. Each lands in `target/filters/CRATE-VERSION/`, and is built once per version. Those in Go are in `go.rs`.

mod go;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use wasm32_toolchain::TARGET;

use crate::process::{cargo, complete, target_dir};
use crate::wasm::{guest_cargo, scratch};

/// A crate whose examples are filters.
struct Source {
    name: &'static str,
    version: &'static str,
    /// Its build script compiles protocol buffers.
    protoc: bool,
}

const fn source(name: &'static str, version: &'static str) -> Source {
    Source {
        name,
        version,
        protoc: false,
    }
}

/// ABI 0.1.0, ABI 0.2.1, and another SDK. Later versions of proxy-wasm carry no examples.
const SOURCES: [Source; 3] = [
    source("proxy-wasm", "0.1.2"),
    source("proxy-wasm", "0.2.0"),
    Source {
        protoc: true,
        ..source("proxy-sdk", "1.1.0")
    },
];
/// The examples of 0.2.0 are built with this one as well: it is what filters are built with today.
const NEWEST: Source = source("proxy-wasm", "0.2.5");
const NEWEST_EXAMPLES_OF: &str = "proxy-wasm-0.2.0";

/// The package that has `protoc` for this machine; on others the one on the path is used.
const PROTOC: Option<&str> = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    Some("protoc-bin-vendored-linux-x86_64")
} else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    Some("protoc-bin-vendored-linux-aarch_64")
} else if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
    Some("protoc-bin-vendored-macos-x86_64")
} else if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
    Some("protoc-bin-vendored-macos-aarch_64")
} else {
    None
};
const PROTOC_VERSION: &str = "3.3.0";

impl Source {
    fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// Where the filters are, all of them built.
pub fn build(root: &Path) -> Result<PathBuf, String> {
    let out = target_dir(root).join("filters");
    let work = target_dir(root).join("filters-work");
    go::build(root, &work.join("go"), &out.join("go"))?;
    let missing: Vec<&Source> = SOURCES
        .iter()
        .chain([&NEWEST])
        .filter(|source| !out.join(source.folder()).is_dir())
        .collect();
    if missing.is_empty() {
        return Ok(out);
    }
    fetch(root, &work)?;
    lay_out_newest(&work)?;
    for source in missing {
        build_one(root, &work, source, &out.join(source.folder()))?;
    }
    Ok(out)
}

/// The sources, as the registry has them, in `vendor/CRATE-VERSION/`.
fn fetch(root: &Path, work: &Path) -> Result<(), String> {
    let mut manifest = String::from(
        "[package]\nname = \"filters\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n",
    );
    for (at, source) in SOURCES.iter().enumerate() {
        let (name, version) = (source.name, source.version);
        let line = writeln!(
            manifest,
            "f{at} = {{ package = \"{name}\", version = \"={version}\" }}"
        );
        line.map_err(|error| error.to_string())?;
    }
    if let Some(name) = PROTOC {
        let line = writeln!(manifest, "{name} = \"={PROTOC_VERSION}\"");
        line.map_err(|error| error.to_string())?;
    }
    write(&work.join("Cargo.toml"), &manifest)?;
    write(&work.join("src/lib.rs"), "")?;
    let mut vendor = cargo(root);
    vendor
        .current_dir(work)
        .args(["vendor", "--quiet", "--versioned-dirs", "vendor"])
        .stdout(Stdio::null());
    complete("the filters' sources", &mut vendor)
}

/// A package of its own for the examples that are built with the newest SDK.
fn lay_out_newest(work: &Path) -> Result<(), String> {
    let from = work
        .join("vendor")
        .join(NEWEST_EXAMPLES_OF)
        .join("examples");
    let package = work.join("vendor").join(NEWEST.folder());
    let mut manifest = format!(
        "[package]\nname = \"newest\"\nversion = \"0.0.0\"\nedition = \"2018\"\n[profile.release]\nlto = true\npanic = \"abort\"\n\
         [dependencies]\nproxy-wasm = \"={}\"\nlog = \"0.4\"\ncfg-if = \"1\"\n\
         chrono = {{ version = \"0.4\", default-features = false, features = [\"clock\", \"std\"] }}\n",
        NEWEST.version
    );
    for name in examples(&from)? {
        let source = from.join(format!("{name}.rs"));
        let text = fs::read_to_string(&source).map_err(|error| unreadable(&source, &error))?;
        write(&package.join("examples").join(format!("{name}.rs")), &text)?;
        let example = write!(
            manifest,
            "[[example]]\nname = \"{name}\"\ncrate-type = [\"cdylib\"]\n"
        );
        example.map_err(|error| error.to_string())?;
    }
    write(&package.join("Cargo.toml"), &manifest)?;
    write(&package.join("src/lib.rs"), "")
}

fn build_one(root: &Path, work: &Path, source: &Source, out: &Path) -> Result<(), String> {
    let package = work.join("vendor").join(source.folder());
    stand_alone(&package.join("Cargo.toml"))?;
    let toolchain = wasm32_toolchain::find(&scratch(root)?)?;
    let target = work.join("target").join(source.folder());
    let mut build = guest_cargo(root, &toolchain, &target);
    // Older SDKs leave the host's functions undefined; from Rust 1.96 on the linker has to be told that they are imports.
    build.env("CARGO_ENCODED_RUSTFLAGS", "-Clink-arg=--allow-undefined");
    build.current_dir(&package).args([
        "build",
        "--quiet",
        "--examples",
        "--release",
        "--target",
        TARGET,
    ]);
    if source.protoc
        && let Some(name) = PROTOC
    {
        let folder = format!("vendor/{name}-{PROTOC_VERSION}/bin/protoc");
        build.env("PROTOC", work.join(folder));
    }
    complete(&source.folder(), &mut build)?;
    // Under another name until it is whole: the folder is the mark that it was built.
    let part = out.with_extension("part");
    fs::create_dir_all(&part).map_err(|error| unreadable(&part, &error))?;
    let built = target.join(TARGET).join("release/examples");
    for name in examples(&package.join("examples"))? {
        let file = built.join(format!("{name}.wasm"));
        fs::copy(&file, part.join(format!("{name}.wasm")))
            .map_err(|error| unreadable(&file, &error))?;
    }
    fs::rename(&part, out).map_err(|error| unreadable(out, &error))
}

/// The package lies within this workspace's folder and is none of it. The sources stay as they are.
fn stand_alone(manifest: &Path) -> Result<(), String> {
    let text = fs::read_to_string(manifest).map_err(|error| unreadable(manifest, &error))?;
    if text.lines().any(|line| line == "[workspace]") {
        return Ok(());
    }
    write(manifest, &format!("{text}\n[workspace]\n"))
}

fn examples(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().ok_or("a file without a folder")?;
    fs::create_dir_all(folder).map_err(|error| unreadable(folder, &error))?;
    fs::write(path, text).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
