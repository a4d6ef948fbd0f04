//! Compilers that a language's own package registry has: fetched once into the user's cache, in the version that is pinned here.
//!
//! `~/.cache/veilgate/toolchains/NAME-VERSION` (or below `XDG_CACHE_HOME`, or `VEILGATE_TOOLCHAINS`). A folder is filled under another
//! name and renamed when it is whole: what is there is complete, and needs no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Every pinned version in one text: a build made with others is made again.
pub(super) const VERSIONS: &str = "componentize-qjs 0.4.5, esbuild 0.28.2, ziglang 0.17.1, \
     componentize-py 0.25.1, assemblyscript 0.28.20";

/// The folder of a toolchain; `fill` puts it there if it is not.
pub(super) fn folder(
    name: &str,
    size: &str,
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let cache = cache()?;
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = cache.join(format!(".{name}.{}", std::process::id()));
    let failed = |error: std::io::Error| format!("cannot fill {}: {error}", cache.display());
    fs::create_dir_all(&unfinished).map_err(failed)?;
    eprintln!("fetching {name} ({size}) into {}", cache.display());
    let began = Instant::now();
    let filled = fill(&unfinished);
    // of two at once, one finds the other's folder there: as good
    let done = filled.and_then(|()| match fs::rename(&unfinished, &folder) {
        Err(error) if !folder.is_dir() => Err(failed(error)),
        _ => Ok(()),
    });
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished).map_err(failed)?;
    }
    done?;
    eprintln!("fetched {name} in {:.0} s", began.elapsed().as_secs_f64());
    Ok(folder)
}

pub(super) fn cache() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = set("VEILGATE_TOOLCHAINS") {
        return Ok(PathBuf::from(folder));
    }
    let base = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .ok_or(
            "there is no home folder to keep compilers in: set VEILGATE_TOOLCHAINS to a folder",
        )?;
    Ok(base.join("veilgate/toolchains"))
}
