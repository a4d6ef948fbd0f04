//! Files that are whole or not there, and on disk when a call returns; what the stores of keys, jobs, programs and counters rest on.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{FheStartError, Tenant};

/// Of a folder that is in use. No tenant's and no stream's name begins with a dot.
const LOCK: &str = ".lock";

/// Folders that are this process's alone, for as long as this lives: what a store knows of its files is true only while nobody
/// else writes and removes them.
pub(super) struct Held(#[expect(dead_code, reason = "held, not read")] Vec<File>);

impl Held {
    /// They are made if they are not there.
    pub fn take<'d>(dirs: impl IntoIterator<Item = &'d Path>) -> Result<Self, FheStartError> {
        let (mut taken, mut locks) = (BTreeSet::new(), Vec::new());
        for dir in dirs {
            let failed = |source| FheStartError::Lock {
                dir: dir.to_owned(),
                source,
            };
            fs::create_dir_all(dir).map_err(failed)?;
            // Two of our own stores may share one.
            if !taken.insert(dir.canonicalize().map_err(failed)?) {
                continue;
            }
            let lock = File::create(dir.join(LOCK)).map_err(failed)?;
            match lock.try_lock() {
                Ok(()) => locks.push(lock),
                Err(TryLockError::WouldBlock) => return Err(FheStartError::InUse(dir.to_owned())),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Ok(Self(locks))
    }
}

/// In place of what was there: written as `temporary` (beside it), fsynced, renamed, the directory fsynced. The temporary
/// file does not outlive a failure.
pub(super) fn replace<T>(
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    let written = create(temporary, write).and_then(|made| {
        fs::rename(temporary, path)?;
        Ok(made)
    });
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    let made = written?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(made)
}

/// Written and fsynced, its name not yet.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path, |file| file.write_all(bytes))
}

fn create<T>(path: &Path, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    let mut file = File::create(path)?;
    let made = write(&mut file)?;
    file.sync_all()?;
    Ok(made)
}

/// At most `limit` bytes and one: what reads it sees that a longer file is not what it should be.
pub(super) fn read_up_to(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Made, and its name on disk.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// True if it was there. Its name may still be on disk: see [`sync_dir`].
pub(super) fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directories of a store that are named for a tenant. The store's own is made if it is not there.
pub(super) fn tenants(dir: &Path) -> io::Result<Vec<(Tenant, PathBuf)>> {
    fs::create_dir_all(dir)?;
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let tenant = name.to_str().and_then(|name| name.parse::<Tenant>().ok());
        if let Some(tenant) = tenant
            && entry.file_type()?.is_dir()
        {
            all.push((tenant, entry.path()));
        }
    }
    Ok(all)
}
