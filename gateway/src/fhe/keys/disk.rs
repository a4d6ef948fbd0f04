//! The files of the key store: where they are, how they come and go.
//!
//! ```text
//! {keys_dir}/{tenant}/{id}.vgek        the key
//! {keys_dir}/{tenant}/{id}.json        what is known of it
//! {keys_dir}/.uploads/{upload}.part    what has come of an unfinished upload
//! {keys_dir}/.uploads/{upload}.json    whose and which it is
//! ```
//!
//! Invariants: a file with its final name is whole; a key is there from the moment its file has its name, and the note
//! beside it is written before that and removed after it; what was deleted is gone from the directory on disk before
//! anyone is told so. Whatever a crash leaves between two steps is put right by `scan`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fhe::{EvaluationKey, KeyId, ParamSet};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{KeyInfo, Meta};
use crate::fhe::Tenant;
use crate::fhe::durable::{self, make_dir, remove_if_there, sync_dir};

const KEY: &str = "vgek";
const NOTE: &str = "json";
const TEMPORARY: &str = "tmp";
/// No tenant's name begins with a dot.
const UPLOADS: &str = ".uploads";
/// A note has a few hundred bytes; more is some other file.
const MAX_NOTE_BYTES: u64 = 16 << 10;

pub(super) struct Layout(PathBuf);

/// A key that was found.
pub(super) struct Found {
    pub tenant: Tenant,
    pub id: KeyId,
    pub info: KeyInfo,
    /// None: there is none, or it cannot be read.
    pub meta: Option<Meta>,
    pub modified: u64,
}

impl Layout {
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub fn tenant(&self, tenant: &Tenant) -> PathBuf {
        self.0.join(tenant.as_str())
    }

    pub fn key(&self, tenant: &Tenant, id: KeyId) -> PathBuf {
        self.tenant(tenant).join(format!("{id}.{KEY}"))
    }

    pub fn note(&self, tenant: &Tenant, id: KeyId) -> PathBuf {
        self.tenant(tenant).join(format!("{id}.{NOTE}"))
    }

    /// Where the bytes of a key are until all of them are on disk.
    pub fn temporary(&self, tenant: &Tenant, id: KeyId) -> PathBuf {
        self.tenant(tenant).join(format!("{id}.{KEY}.{TEMPORARY}"))
    }

    pub fn uploads(&self) -> PathBuf {
        self.0.join(UPLOADS)
    }

    /// Keys found, after whatever an interrupted step left was removed. The directory is made if it is not there.
    pub fn scan(&self) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for (tenant, _) in durable::tenants(&self.0)? {
            self.scan_tenant(&tenant, &mut all)?;
        }
        Ok(all)
    }

    fn scan_tenant(&self, tenant: &Tenant, all: &mut Vec<Found>) -> io::Result<()> {
        let dir = self.tenant(tenant);
        let mut removed = false;
        for file in fs::read_dir(&dir)? {
            let path = file?.path();
            let id = id_of(&path);
            match (extension(&path), id) {
                (TEMPORARY, _) => {
                    fs::remove_file(&path)?;
                    removed = true;
                }
                // A note without its key: the crash came before the key had its name, or while both were deleted.
                (NOTE, Some(id)) if !self.key(tenant, id).exists() => {
                    fs::remove_file(&path)?;
                    removed = true;
                }
                (NOTE, Some(_)) => {}
                (KEY, Some(id)) => match described(&path)? {
                    Some((info, modified)) => all.push(Found {
                        tenant: tenant.clone(),
                        id,
                        info,
                        meta: self.meta(tenant, id),
                        modified,
                    }),
                    None => left_alone(&path),
                },
                _ => left_alone(&path),
            }
        }
        if removed { sync_dir(&dir) } else { Ok(()) }
    }

    fn meta(&self, tenant: &Tenant, id: KeyId) -> Option<Meta> {
        let path = self.note(tenant, id);
        match read_note(&path) {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what was known of a key cannot be read, and is written anew");
                None
            }
        }
    }

    /// From the temporary file (or a finished upload's) to a key with its note: after this, it is there.
    pub fn install(&self, tenant: &Tenant, id: KeyId, from: &Path, meta: &Meta) -> io::Result<()> {
        let dir = self.tenant(tenant);
        make_dir(&dir)?;
        write_note(&self.note(tenant, id), meta)?;
        fs::rename(from, self.key(tenant, id))?;
        sync_dir(&dir)?;
        match from.parent() {
            Some(other) if other != dir => sync_dir(other),
            _ => Ok(()),
        }
    }

    /// Gone from the disk when this returns. The key first: a note alone is removed at the next start, a key alone would
    /// come back.
    pub fn remove(&self, tenant: &Tenant, id: KeyId) -> io::Result<()> {
        let dir = self.tenant(tenant);
        for path in [
            self.temporary(tenant, id),
            self.key(tenant, id),
            self.note(tenant, id),
        ] {
            if remove_if_there(&path)? {
                sync_dir(&dir)?;
            }
        }
        Ok(())
    }
}

fn left_alone(path: &Path) {
    tracing::warn!(path = %path.display(), "not a file of the key store: left alone");
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

fn id_of(path: &Path) -> Option<KeyId> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// By size alone: thousands of keys are not read at the start.
fn described(path: &Path) -> io::Result<Option<(KeyInfo, u64)>> {
    let file = fs::metadata(path)?;
    let bytes = file.len();
    let Some(set) = set_of_size(bytes) else {
        return Ok(None);
    };
    Ok(Some((KeyInfo { set, bytes }, seconds(&file))))
}

pub(super) fn set_of_size(bytes: u64) -> Option<ParamSet> {
    ParamSet::ALL
        .into_iter()
        .find(|&set| EvaluationKey::bytes_of(set) as u64 == bytes)
}

/// When a file was last written; 0 where that is not known.
pub(super) fn seconds(file: &fs::Metadata) -> u64 {
    file.modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs())
}

pub(super) fn read_note<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_NOTE_BYTES + 1)
        .read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

/// Whole or not at all, and on disk when this returns.
pub(super) fn write_note<T: Serialize>(path: &Path, note: &T) -> io::Result<()> {
    let text = serde_json::to_vec(note).map_err(io::Error::other)?;
    let temporary = path.with_extension(format!("{NOTE}.{TEMPORARY}"));
    durable::replace(path, &temporary, |file| file.write_all(&text))
}
