//! Program files: found, read within their limit, written whole or not at all, removed durably.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{MAX_PROGRAM_BYTES, ProgramsError};
use crate::fhe::durable;

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ProgramsError + '_ {
    |source| ProgramsError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Every `*.json`, in the order of their names. What an interrupted write left behind is removed.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, ProgramsError> {
    let mut paths = Vec::new();
    for file in fs::read_dir(dir).map_err(failed(dir))? {
        let path = file.map_err(failed(dir))?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => paths.push(path),
            Some(TEMPORARY) => {
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
    }
    paths.sort();
    Ok(paths)
}

/// Our own, so that nobody else's temporary files are taken for it.
const TEMPORARY: &str = "veilgate-tmp";

/// One byte past the limit, so that the parser sees an oversize file as such.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ProgramsError> {
    durable::read_up_to(path, MAX_PROGRAM_BYTES).map_err(failed(path))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), ProgramsError> {
    let temporary = path.with_extension(TEMPORARY);
    durable::replace(path, &temporary, |file| file.write_all(bytes)).map_err(failed(path))
}

/// One that is not there any more is removed.
pub(super) fn remove(path: &Path) -> Result<(), ProgramsError> {
    let removed = durable::remove_if_there(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    removed
        .and_then(|_| durable::sync_dir(folder))
        .map_err(failed(path))
}
