//! Uploads that may be interrupted: what has come is on disk, and goes on from there, after a restart too.
//!
//! Invariants: an upload is found only under the tenant that began it; the space of the whole key is reserved from the
//! beginning; one request writes at a time, the latest; what is complete becomes a key only if its hash is the one that
//! was declared. Parts are fsynced when all are there: should power fail before, the hash shows what is missing.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edge_types::Digest;
use fhe::{Entropy, EvaluationKey, KeyId, OsEntropy};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::disk::{self, Layout};
use super::index::Candidate;
use super::{Added, Bytes, KeyInfo, KeyStore, KeyStoreError, UploadError, Wishes};
use crate::fhe::{Tenant, durable};

/// Unfinished at once: a client sends one key at a time, and begins another while one hangs.
pub(super) const MAX_UPLOADS_PER_TENANT: usize = 4;
/// Of all tenants: each may have a file open.
const MAX_UPLOADS: usize = 64;
/// Unfinished uploads together take at most this part of the space for keys, so that they never lock out whole keys.
pub(super) const UPLOAD_SHARE: u64 = 2;
/// An upload to which nothing came for so long is given up.
pub(in crate::fhe) const UPLOAD_IDLE_S: u64 = 3600;

const PART: &str = "part";
const NOTE: &str = "json";

/// 128 random bits, in hex: not to be guessed, and of its tenant alone anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::fhe) struct UploadId(u128);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for UploadId {
    type Err = UploadError;

    fn from_str(text: &str) -> Result<Self, UploadError> {
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == 32 && text.bytes().all(digits) {
            true => u128::from_str_radix(text, 16)
                .map(Self)
                .map_err(|_| UploadError::Unknown),
            false => Err(UploadError::Unknown),
        }
    }
}

/// What is on disk of an upload, beside what has come.
#[derive(Serialize, Deserialize)]
struct Note {
    tenant: String,
    key: Digest,
    bytes: u64,
    wishes: Wishes,
}

enum Phase {
    Receiving(File),
    /// Being checked and made a key.
    Finishing,
    /// A key now, or given up.
    Over,
}

pub(in crate::fhe) struct Upload {
    pub id: UploadId,
    pub tenant: Tenant,
    pub key: KeyId,
    pub bytes: u64,
    part: PathBuf,
    note: PathBuf,
    wishes: Mutex<Wishes>,
    /// Readable without waiting for the disk.
    offset: AtomicU64,
    touched: AtomicU64,
    /// Who may write: the latest who began to.
    writer: AtomicU64,
    phase: Mutex<Phase>,
}

/// The right to write, until somebody begins after.
#[derive(Clone, Copy)]
pub(in crate::fhe) struct Writer(u64);

pub(in crate::fhe) enum Started {
    New(Arc<Upload>),
    /// There is an unfinished one of this key.
    GoesOn(Arc<Upload>),
    /// The key is registered: there is nothing to upload.
    Registered,
}

impl Upload {
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    pub fn is_whole(&self) -> bool {
        self.offset() == self.bytes
    }

    /// When it is given up, if nothing comes until then.
    pub fn expires(&self) -> u64 {
        self.touched.load(Ordering::Relaxed) + UPLOAD_IDLE_S
    }

    /// Whoever wrote until now is told to stop.
    pub fn begin(&self) -> Writer {
        Writer(self.writer.fetch_add(1, Ordering::AcqRel) + 1)
    }

    fn check(&self, writer: Writer, at: u64) -> Result<(), UploadError> {
        if self.writer.load(Ordering::Acquire) != writer.0 {
            return Err(UploadError::Superseded);
        }
        match self.offset() {
            expected if expected != at => Err(UploadError::WrongOffset {
                expected,
                given: at,
            }),
            _ => Ok(()),
        }
    }

    /// That a part may begin here. Blocks while another is at the disk.
    pub fn expect(&self, writer: Writer, at: u64) -> Result<(), UploadError> {
        match &*self.phase.lock() {
            Phase::Receiving(_) => self.check(writer, at),
            Phase::Finishing => Err(UploadError::Finishing),
            Phase::Over => Err(UploadError::Unknown),
        }
    }

    /// Writes what came; the offset moves when all of it is in the file. Blocks on the disk.
    fn append(&self, writer: Writer, at: u64, data: &[u8], now: u64) -> Result<(), UploadError> {
        let phase = self.phase.lock();
        let file = match &*phase {
            Phase::Receiving(file) => file,
            Phase::Finishing => return Err(UploadError::Finishing),
            Phase::Over => return Err(UploadError::Unknown),
        };
        self.check(writer, at)?;
        let end = at + data.len() as u64;
        if end > self.bytes {
            return Err(UploadError::TooLong(self.bytes));
        }
        file.write_all_at(data, at)
            .map_err(KeyStoreError::io(&self.part))?;
        self.offset.store(end, Ordering::Release);
        self.touched.store(now, Ordering::Relaxed);
        Ok(())
    }

    fn remove_files(&self) -> io::Result<()> {
        // The note first: a part alone is removed at the next start.
        let note = durable::remove_if_there(&self.note)?;
        let part = durable::remove_if_there(&self.part)?;
        match self.note.parent() {
            Some(dir) if note || part => durable::sync_dir(dir),
            _ => Ok(()),
        }
    }
}

pub(super) struct Uploads {
    dir: PathBuf,
    all: Mutex<HashMap<UploadId, Arc<Upload>>>,
}

impl Uploads {
    /// The unfinished ones that are there; what belongs to none is removed.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        let dir = layout.uploads();
        durable::make_dir(&dir)?;
        let mut all = HashMap::new();
        for file in fs::read_dir(&dir)? {
            let path = file?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str());
            let id = id.and_then(|stem| stem.parse::<UploadId>().ok());
            let is_note = path.extension().is_some_and(|extension| extension == NOTE);
            if let (true, Some(id)) = (is_note, id)
                && let Some(upload) = found(&dir, id)
            {
                all.insert(id, Arc::new(upload));
            }
        }
        for file in fs::read_dir(&dir)? {
            let path = file?.path();
            let known = |upload: &Arc<Upload>| upload.part == path || upload.note == path;
            if !all.values().any(known) {
                durable::remove_if_there(&path)?;
            }
        }
        durable::sync_dir(&dir)?;
        Ok(Self {
            dir,
            all: Mutex::new(all),
        })
    }

    pub fn reservations(&self) -> HashMap<UploadId, (Tenant, u64)> {
        let all = self.all.lock();
        let reserved = |upload: &Arc<Upload>| (upload.id, (upload.tenant.clone(), upload.bytes));
        all.values().map(reserved).collect()
    }

    pub fn of(&self, tenant: &Tenant, key: KeyId) -> Option<Arc<Upload>> {
        let all = self.all.lock();
        let found = all
            .values()
            .find(|upload| upload.tenant == *tenant && upload.key == key);
        found.cloned()
    }
}

/// An upload by its note; None if its files do not fit together.
fn found(dir: &Path, id: UploadId) -> Option<Upload> {
    let (part, note_path) = paths(dir, id);
    let note: Note = disk::read_note(&note_path).ok()?;
    let file = File::options().write(true).read(true).open(&part).ok()?;
    let meta = file.metadata().ok()?;
    disk::set_of_size(note.bytes)?;
    if meta.len() > note.bytes {
        return None;
    }
    Some(Upload {
        id,
        tenant: note.tenant.parse().ok()?,
        key: KeyId(note.key),
        bytes: note.bytes,
        part,
        note: note_path,
        wishes: Mutex::new(note.wishes),
        offset: AtomicU64::new(meta.len()),
        touched: AtomicU64::new(disk::seconds(&meta)),
        writer: AtomicU64::new(0),
        phase: Mutex::new(Phase::Receiving(file)),
    })
}

fn paths(dir: &Path, id: UploadId) -> (PathBuf, PathBuf) {
    (
        dir.join(format!("{id}.{PART}")),
        dir.join(format!("{id}.{NOTE}")),
    )
}

impl KeyStore {
    /// Begins an upload, or finds the one of this key that is unfinished. Blocks on the disk.
    pub fn start_upload(
        &self,
        tenant: &Tenant,
        key: KeyId,
        bytes: u64,
        wishes: Wishes,
    ) -> Result<Started, UploadError> {
        let set = disk::set_of_size(bytes).ok_or(UploadError::WrongLength(bytes))?;
        let info = KeyInfo { set, bytes };
        // One after the other: two for the same key never both begin.
        let _disk = self.disk.lock();
        if self.describe(tenant, key).is_ok() {
            return Ok(Started::Registered);
        }
        if let Some(upload) = self.uploads.of(tenant, key)
            && upload.bytes == bytes
        {
            let note = Note::of(&upload, &wishes);
            disk::write_note(&upload.note, &note).map_err(KeyStoreError::io(&upload.note))?;
            *upload.wishes.lock() = wishes;
            return Ok(Started::GoesOn(upload));
        }
        let id = OsEntropy
            .seed()
            .map(UploadId)
            .map_err(|error| KeyStoreError::Io {
                path: self.uploads.dir.clone(),
                source: io::Error::other(error),
            })?;
        self.reserve(tenant, id, key, info, &wishes)?;
        match self.begin_files(id, tenant, key, bytes, wishes) {
            Ok(upload) => {
                let upload = Arc::new(upload);
                self.uploads.all.lock().insert(id, upload.clone());
                Ok(Started::New(upload))
            }
            Err(source) => {
                self.index.lock().reserved.remove(&id);
                let path = self.uploads.dir.clone();
                Err(KeyStoreError::Io { path, source }.into())
            }
        }
    }

    fn reserve(
        &self,
        tenant: &Tenant,
        id: UploadId,
        key: KeyId,
        info: KeyInfo,
        wishes: &Wishes,
    ) -> Result<(), UploadError> {
        let mut index = self.index.lock();
        let name = (tenant.clone(), key);
        self.check_replaced(&index, &name, wishes.replaces(), self.now())?;
        let of_tenant = index.reserved.values().filter(|(of, _)| of == tenant);
        if of_tenant.count() >= MAX_UPLOADS_PER_TENANT {
            return Err(UploadError::TooMany);
        }
        if index.reserved.len() >= MAX_UPLOADS {
            return Err(UploadError::TooManyInAll);
        }
        let candidate = Candidate {
            tenant,
            bytes: info.bytes,
            replaces: wishes.replaces(),
            upload: None,
        };
        index.admit(&candidate, self.max_bytes)?;
        let reserved: u64 = index.reserved.values().map(|(_, bytes)| bytes).sum();
        if reserved > 0 && reserved + info.bytes > self.max_bytes / UPLOAD_SHARE {
            return Err(UploadError::NoSpace);
        }
        index.reserved.insert(id, (tenant.clone(), info.bytes));
        Ok(())
    }

    fn begin_files(
        &self,
        id: UploadId,
        tenant: &Tenant,
        key: KeyId,
        bytes: u64,
        wishes: Wishes,
    ) -> io::Result<Upload> {
        let (part, note) = paths(&self.uploads.dir, id);
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&part)?;
        let upload = Upload {
            id,
            tenant: tenant.clone(),
            key,
            bytes,
            part,
            note,
            wishes: Mutex::new(wishes.clone()),
            offset: AtomicU64::new(0),
            touched: AtomicU64::new(self.now()),
            writer: AtomicU64::new(0),
            phase: Mutex::new(Phase::Receiving(file)),
        };
        let written = disk::write_note(&upload.note, &Note::of(&upload, &wishes));
        if let Err(error) = written {
            let _ = upload.remove_files();
            return Err(error);
        }
        Ok(upload)
    }

    pub fn upload(&self, tenant: &Tenant, id: &str) -> Result<Arc<Upload>, UploadError> {
        let id = id.parse::<UploadId>()?;
        let all = self.uploads.all.lock();
        match all.get(&id) {
            Some(upload) if upload.tenant == *tenant => Ok(upload.clone()),
            _ => Err(UploadError::Unknown),
        }
    }

    /// The tenant's unfinished ones.
    pub fn list_uploads(&self, tenant: &Tenant) -> Vec<Arc<Upload>> {
        let all = self.uploads.all.lock();
        let mut of: Vec<_> = all
            .values()
            .filter(|upload| upload.tenant == *tenant)
            .cloned()
            .collect();
        of.sort_by_key(|upload| upload.key);
        of
    }

    pub fn append(
        &self,
        upload: &Upload,
        writer: Writer,
        at: u64,
        data: &[u8],
    ) -> Result<(), UploadError> {
        upload.append(writer, at, data, self.now())
    }

    /// All has come: checks it and makes it a key. What is not the declared key is removed. Blocks on the disk.
    pub fn complete(&self, upload: &Upload) -> Result<Added, UploadError> {
        let file = {
            let mut phase = upload.phase.lock();
            if matches!(*phase, Phase::Receiving(_)) && !upload.is_whole() {
                return Err(UploadError::Short {
                    got: upload.offset(),
                    bytes: upload.bytes,
                });
            }
            match std::mem::replace(&mut *phase, Phase::Finishing) {
                Phase::Receiving(file) => file,
                other => {
                    let error = match &other {
                        Phase::Finishing | Phase::Receiving(_) => UploadError::Finishing,
                        Phase::Over => UploadError::Unknown,
                    };
                    *phase = other;
                    return Err(error);
                }
            }
        };
        match self.check_and_register(upload, &file) {
            Ok(added) => {
                self.end(upload);
                Ok(added)
            }
            Err(error @ (UploadError::NotTheKey | UploadError::NotAKey(_))) => {
                self.end(upload);
                Err(error)
            }
            // It can be tried again: what has come is still there.
            Err(error) => {
                let part = upload.part.clone();
                if part.exists() {
                    *upload.phase.lock() = Phase::Receiving(file);
                    let reservation = (upload.tenant.clone(), upload.bytes);
                    self.index.lock().reserved.insert(upload.id, reservation);
                } else {
                    self.end(upload);
                }
                Err(error)
            }
        }
    }

    fn check_and_register(&self, upload: &Upload, file: &File) -> Result<Added, UploadError> {
        let failed = || KeyStoreError::io(&upload.part);
        file.sync_all().map_err(failed())?;
        let mut bytes = vec![0; upload.bytes as usize];
        file.read_exact_at(&mut bytes, 0).map_err(failed())?;
        let key = EvaluationKey::from_bytes(bytes).map_err(UploadError::NotAKey)?;
        if key.id() != upload.key {
            return Err(UploadError::NotTheKey);
        }
        let info = KeyInfo {
            set: key.set(),
            bytes: upload.bytes,
        };
        drop(key);
        let name = (upload.tenant.clone(), upload.key);
        let wishes = upload.wishes.lock().clone();
        let part = Bytes::Part(&upload.part, upload.id);
        Ok(self.register(&name, info, &wishes, part)?)
    }

    /// False if it is being made a key just now.
    pub fn cancel_upload(&self, upload: &Upload) -> Result<(), UploadError> {
        match &*upload.phase.lock() {
            Phase::Receiving(_) => {}
            Phase::Finishing => return Err(UploadError::Finishing),
            Phase::Over => return Err(UploadError::Unknown),
        }
        self.end(upload);
        Ok(())
    }

    fn end(&self, upload: &Upload) {
        *upload.phase.lock() = Phase::Over;
        self.uploads.all.lock().remove(&upload.id);
        if let Err(error) = upload.remove_files() {
            tracing::error!(tenant = %upload.tenant, %error, "what is left of an upload could not be removed; the next start does it");
        }
        self.index.lock().reserved.remove(&upload.id);
    }

    pub(super) fn sweep_uploads(&self, now: u64) {
        let idle = |upload: &&Arc<Upload>| upload.expires() <= now;
        let all: Vec<_> = self
            .uploads
            .all
            .lock()
            .values()
            .filter(idle)
            .cloned()
            .collect();
        for upload in all {
            if self.cancel_upload(&upload).is_ok() {
                tracing::info!(tenant = %upload.tenant, key = %upload.key, "an unfinished upload is given up");
            }
        }
    }
}

impl Note {
    fn of(upload: &Upload, wishes: &Wishes) -> Self {
        Self {
            tenant: upload.tenant.to_string(),
            key: upload.key.0,
            bytes: upload.bytes,
            wishes: wishes.clone(),
        }
    }
}
