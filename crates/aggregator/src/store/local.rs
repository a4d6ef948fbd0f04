//! A store in a local directory, safe against power cuts and shared by any number of processes.
//!
//! An object is written to a temporary file, fsynced, linked to its name (`link` never replaces), and the directory
//! is fsynced: only then is it acknowledged. Each process keeps its temporary files in a directory of its own, locked
//! while it lives; whoever starts removes those whose owner is gone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use edge_types::Incarnation;
use serde::{Deserialize, Serialize};

use super::{Created, Store, StoreError};

/// Space left free for everybody else; a write that would go below it is refused as "full".
pub const DEFAULT_MIN_FREE_BYTES: u64 = 64 << 20;

const IDENTITY: &str = "store.json";
const TEMPORARY: &str = "tmp";
const LOCK: &str = "lock";
/// Version of the directory's layout.
const LAYOUT_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreIdentity {
    layout: u32,
    incarnation: Incarnation,
}

pub struct LocalStore {
    root: PathBuf,
    incarnation: Incarnation,
    min_free_bytes: u64,
    temporary: PathBuf,
    next_temporary: AtomicU64,
    /// Held for as long as this process uses its temporary directory.
    _lock: File,
}

impl LocalStore {
    /// Opens a store, making it if the directory is empty or absent.
    pub fn open(root: &Path, min_free_bytes: u64) -> Result<Self, StoreError> {
        create_dirs(root).map_err(|e| StoreError::of_io("make", &root.display().to_string(), e))?;
        let incarnation = identify(root)?;
        let (temporary, lock) =
            claim_temporary(root).map_err(|e| StoreError::of_io("prepare", TEMPORARY, e))?;
        let store = Self {
            root: root.to_owned(),
            incarnation,
            min_free_bytes,
            temporary,
            next_temporary: AtomicU64::new(0),
            _lock: lock,
        };
        sweep(root).map_err(|e| StoreError::of_io("sweep", TEMPORARY, e))?;
        Ok(store)
    }

    /// Opens a store for reading alone: nothing in it is made or changed.
    pub fn open_existing(root: &Path) -> Result<ReadOnlyStore, StoreError> {
        let incarnation = read_identity(root)?.ok_or_else(|| StoreError::Damaged {
            name: root.display().to_string(),
            reason: format!("it has no {IDENTITY}. Is it the directory of an aggregator's store?"),
        })?;
        Ok(ReadOnlyStore {
            root: root.to_owned(),
            incarnation,
        })
    }

    fn check_space(&self, bytes: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|e| StoreError::of_io("measure", "the file system", e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let floor = self.min_free_bytes.saturating_add(bytes);
        if free < floor {
            return Err(StoreError::Full(format!(
                "{free} bytes are free where {floor} are wanted"
            )));
        }
        Ok(())
    }

    fn write_temporary(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.temporary.join(number.to_string());
        let written = write_synced(&path, bytes);
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        written.map(|()| path)
    }
}

impl Store for LocalStore {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        let target = self.root.join(name);
        let dir = target.parent().unwrap_or(&self.root);
        let fail = |doing| move |error| StoreError::of_io(doing, name, error);
        if target.try_exists().map_err(fail("look for"))? {
            // Its maker may not have synced the directory yet.
            sync_dir(dir).map_err(fail("sync"))?;
            return Ok(Created::Exists);
        }
        self.check_space(bytes.len() as u64)?;
        create_dirs(dir).map_err(fail("make the directory of"))?;
        let temporary = self.write_temporary(bytes).map_err(fail("write"))?;
        let linked = fs::hard_link(&temporary, &target);
        let _ = fs::remove_file(&temporary);
        let created = match linked {
            Ok(()) => Created::New,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Created::Exists,
            Err(error) => return Err(fail("name")(error)),
        };
        sync_dir(dir).map_err(fail("sync"))?;
        Ok(created)
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.root, name, limit)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        list(&self.root, dir)
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.check_space(0)
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        // What stays behind is removed by the next process to start.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// A store that is only looked at.
pub struct ReadOnlyStore {
    root: PathBuf,
    incarnation: Incarnation,
}

impl Store for ReadOnlyStore {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn create(&self, name: &str, _bytes: &[u8]) -> Result<Created, StoreError> {
        Err(StoreError::of_io(
            "write",
            name,
            io::ErrorKind::ReadOnlyFilesystem.into(),
        ))
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.root, name, limit)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        list(&self.root, dir)
    }

    fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn read(root: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let fail = |error| StoreError::of_io("read", name, error);
    let file = match File::open(root.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::TooLarge {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            limit,
        });
    }
    Ok(Some(bytes))
}

fn list(root: &Path, dir: &str) -> Result<Vec<String>, StoreError> {
    let fail = |error| StoreError::of_io("list", dir, error);
    let entries = match fs::read_dir(root.join(dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not text is none of ours.
        if let Ok(name) = entry.map_err(fail)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The store's incarnation, drawn when it has none yet. Two processes that start at once agree: `link` lets one win.
fn identify(root: &Path) -> Result<Incarnation, StoreError> {
    if let Some(incarnation) = read_identity(root)? {
        return Ok(incarnation);
    }
    let fail = |error| StoreError::of_io("write", IDENTITY, error);
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| fail(io::Error::other(e)))?;
    let identity = StoreIdentity {
        layout: LAYOUT_VERSION,
        incarnation: Incarnation(random),
    };
    let bytes = serde_json::to_vec(&identity).map_err(|e| fail(e.into()))?;
    let draft = root.join(format!("{IDENTITY}.{}", Incarnation(random)));
    write_synced(&draft, &bytes).map_err(fail)?;
    let linked = fs::hard_link(&draft, root.join(IDENTITY));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fail(error)),
        Ok(()) | Err(_) => sync_dir(root).map_err(fail)?,
    }
    read_identity(root)?.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))
}

fn read_identity(root: &Path) -> Result<Option<Incarnation>, StoreError> {
    const MAX_IDENTITY_BYTES: u64 = 4 << 10;
    let damaged = |reason| StoreError::Damaged {
        name: IDENTITY.to_owned(),
        reason,
    };
    let Some(bytes) = read(root, IDENTITY, MAX_IDENTITY_BYTES)? else {
        return Ok(None);
    };
    let identity: StoreIdentity =
        serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if identity.layout != LAYOUT_VERSION {
        return Err(damaged(format!(
            "layout {} is not {LAYOUT_VERSION}: update this program",
            identity.layout
        )));
    }
    Ok(Some(identity.incarnation))
}

/// A directory for this process's temporary files, and the lock that says it is in use.
fn claim_temporary(root: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let dir = root.join(TEMPORARY).join(Incarnation(random).to_string());
        create_dirs(&dir)?;
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(dir.join(LOCK))?;
        lock.lock()?;
        // A sweep may have come between the creation and the lock, and removed it: then once more.
        if dir.join(LOCK).try_exists()? {
            return Ok((dir, lock));
        }
    }
}

/// Removes the temporary files of processes that are gone.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root.join(TEMPORARY))? {
        let dir = entry?.path();
        // Without a lock file it is being made at this moment, or it is empty: leave it.
        let Ok(lock) = OpenOptions::new().write(true).open(dir.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            // Another sweep may have removed it between the opening and the lock.
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a directory and those above it, and syncs each into its parent.
fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new("."));
    create_dirs(parent)?;
    match DirBuilder::new().mode(0o750).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    sync_dir(if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    })
}

#[cfg(test)]
mod tests;
