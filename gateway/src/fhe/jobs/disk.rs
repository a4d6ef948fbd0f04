//! The files of jobs: `{jobs_dir}/{tenant}/{id}.job`, one for each.
//!
//! ```text
//! "VGJB" · version (2 bytes) · bytes of the note (4) · note (JSON) · request, or reply, or nothing
//! ```
//!
//! Invariants: a file with its final name is whole (written beside, fsynced, renamed, the directory fsynced); the step
//! from a request to its reply is one rename; what was deleted is gone from the directory on disk before anyone is told.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{JobId, Note};
use crate::fhe::Tenant;
use crate::fhe::durable::{self, make_dir, remove_if_there, sync_dir};

const MAGIC: &[u8; 4] = b"VGJB";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 4 + 2 + 4;
const JOB: &str = "job";
const TEMPORARY: &str = "tmp";
/// A note has a few hundred bytes; more is some other file.
const MAX_NOTE_BYTES: u32 = 16 << 10;

pub(super) struct Layout(PathBuf);

/// A job that was found.
pub(super) struct Found {
    pub tenant: Tenant,
    pub id: JobId,
    pub note: Note,
    pub bytes: u64,
}

impl Layout {
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub fn job(&self, tenant: &Tenant, id: &JobId) -> PathBuf {
        let dir = self.0.join(tenant.as_str());
        dir.join(format!("{}.{JOB}", id.as_str()))
    }

    /// Jobs found, after whatever an interrupted step left was removed. The directory is made if it is not there.
    pub fn scan(&self) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for (tenant, dir) in durable::tenants(&self.0)? {
            scan_tenant(&dir, &tenant, &mut all)?;
        }
        Ok(all)
    }

    /// On disk, in place of what was there, when this returns. Gives the bytes that it takes.
    pub fn write(&self, tenant: &Tenant, id: &JobId, note: &Note, body: &[u8]) -> io::Result<u64> {
        let path = self.job(tenant, id);
        make_dir(&self.0.join(tenant.as_str()))?;
        let head = head(note)?;
        durable::replace(&path, &path.with_extension(TEMPORARY), |file| {
            file.write_all(&head)?;
            file.write_all(body)
        })?;
        Ok((head.len() + body.len()) as u64)
    }

    pub fn read(&self, tenant: &Tenant, id: &JobId) -> io::Result<(Note, Bytes)> {
        let mut file = File::open(self.job(tenant, id))?;
        let note = read_note(&mut file)?;
        let mut body = Vec::new();
        file.read_to_end(&mut body)?;
        Ok((note, body.into()))
    }

    /// Gone from the disk when this returns.
    pub fn remove(&self, tenant: &Tenant, id: &JobId) -> io::Result<()> {
        let dir = self.0.join(tenant.as_str());
        match remove_if_there(&self.job(tenant, id))? {
            true => sync_dir(&dir),
            false => Ok(()),
        }
    }
}

fn scan_tenant(dir: &Path, tenant: &Tenant, all: &mut Vec<Found>) -> io::Result<()> {
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let text =
            |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
        let extension = text(path.extension());
        let id = text(path.file_stem()).and_then(|stem| JobId::parse(&stem));
        match (extension.as_deref(), id) {
            // Nobody was told of it, or what it was to replace is still there.
            (Some(TEMPORARY), Some(_)) => fs::remove_file(&path)?,
            (Some(JOB), Some(id)) => {
                let mut file = File::open(&path)?;
                let bytes = file.metadata()?.len();
                match read_note(&mut file) {
                    Ok(note) => all.push(Found {
                        tenant: tenant.clone(),
                        id,
                        note,
                        bytes,
                    }),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "a job that cannot be read: left alone");
                    }
                }
            }
            _ => tracing::warn!(path = %path.display(), "not a file of the job store: left alone"),
        }
    }
    Ok(())
}

/// All that comes before the body.
fn head(note: &Note) -> io::Result<Vec<u8>> {
    let note = serde_json::to_vec(note).map_err(io::Error::other)?;
    let len = u32::try_from(note.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(HEADER_BYTES + note.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&len.to_le_bytes());
    head.extend_from_slice(&note);
    Ok(head)
}

/// Leaves the file where what follows the note begins.
fn read_note(file: &mut File) -> io::Result<Note> {
    let mut head = [0; HEADER_BYTES];
    file.read_exact(&mut head)?;
    let version = u16::from_le_bytes([head[4], head[5]]);
    let len = u32::from_le_bytes([head[6], head[7], head[8], head[9]]);
    if head[..4] != *MAGIC || version != VERSION || len > MAX_NOTE_BYTES {
        return Err(io::Error::other("it is no job of this version"));
    }
    let mut note = vec![0; len as usize];
    file.read_exact(&mut note)?;
    serde_json::from_slice(&note).map_err(io::Error::other)
}
