//! The files that sums are written to: named by what is in them, whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::CountersError;

/// Of a key's and a schema's digest: enough to tell a few apart; the file itself has them whole.
const DIGITS: usize = 8;

/// `{stream}-{start}-{key}-{schema}.vgct`; with a number from the second one of the same on.
pub(super) fn name(stream: &str, start: u64, digests: [&str; 2], index: usize) -> String {
    let [key, schema] = digests.map(|digest| digest.get(..DIGITS).unwrap_or(digest));
    let more = match index {
        0 => String::new(),
        index => format!("-{}", index + 1),
    };
    format!("{stream}-{start}-{key}-{schema}{more}.vgct")
}

pub(super) fn make_dir(dir: &Path) -> Result<(), CountersError> {
    fs::create_dir_all(dir).map_err(failed(dir))
}

/// In place of what an earlier run wrote.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CountersError> {
    let temporary = path.with_extension("tmp");
    File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CountersError + '_ {
    |source| CountersError::File {
        path: path.to_owned(),
        source,
    }
}
