//! A window that takes contributions: merged in memory, and on disk as a snapshot and a log of what came after it.
//!
//! ```text
//! {start}.open  "VGCS" · version · part (16) · number of ids (4) · ids (16 each) · merged ciphertext · BLAKE3 of all that
//! {start}.log   entries: a contribution as it came · its BLAKE3
//! ```
//!
//! Invariants: an entry is fsynced before its contribution is merged and acknowledged; an entry whose id the snapshot has
//! counts for nothing, so that it does not matter when the log is cut after a snapshot; the first entry that is not whole
//! ends the log: it was never acknowledged.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use edge_types::Digest;
use fhe::counters::{COUNTER_BYTES, CounterCiphertext};
use fhe::{Entropy, OsEntropy};

use super::CounterError;
use super::disk::{LOG, OPEN, TEMPORARY};
use crate::fhe::durable::{self, sync_dir};

const MAGIC: &[u8; 4] = b"VGCS";
const VERSION: u16 = 1;
/// Of a BLAKE3: nobody makes two contributions fit the same 128 bits.
const ID_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const HEADER_BYTES: usize = 4 + 2 + 16 + 4;
const ENTRY_BYTES: usize = COUNTER_BYTES + HASH_BYTES;
/// Contributions that one window takes at one gateway: their ids are a megabyte in memory.
pub(super) const MAX_CONTRIBUTIONS: usize = 1 << 16;
/// Entries of a log: 6 MB, read again at a start.
const MAX_LOG_ENTRIES: usize = 256;
pub(super) const MAX_SNAPSHOT_BYTES: usize =
    HEADER_BYTES + MAX_CONTRIBUTIONS * ID_BYTES + COUNTER_BYTES + HASH_BYTES;

type Id = [u8; ID_BYTES];

fn short(id: Digest) -> Id {
    let mut short = Id::default();
    short.copy_from_slice(&id.0[..ID_BYTES]);
    short
}

/// What a window's file holds.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    pub part: u128,
    pub ids: HashSet<Id>,
    pub merged: CounterCiphertext,
}

impl Snapshot {
    pub fn part_hex(&self) -> String {
        format!("{:032x}", self.part)
    }

    fn to_bytes(&self) -> Vec<u8> {
        encode(self.part, &self.ids, &self.merged)
    }

    /// `None`: it is not whole.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH_BYTES)?)?;
        if Digest::of(content).0 != hash || content.len() < HEADER_BYTES {
            return None;
        }
        let (header, rest) = content.split_at(HEADER_BYTES);
        if header[..4] != *MAGIC || header[4..6] != VERSION.to_le_bytes() {
            return None;
        }
        let part = u128::from_le_bytes(header[6..22].try_into().ok()?);
        let count = u32::from_le_bytes(header[22..26].try_into().ok()?) as usize;
        let (ids, merged) = rest.split_at_checked(count.checked_mul(ID_BYTES)?)?;
        Some(Self {
            part,
            ids: ids.as_chunks::<ID_BYTES>().0.iter().copied().collect(),
            merged: CounterCiphertext::from_bytes(merged).ok()?,
        })
    }
}

fn encode(part: u128, ids: &HashSet<Id>, merged: &CounterCiphertext) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&part.to_le_bytes());
    out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
    ids.iter().for_each(|id| out.extend_from_slice(id));
    out.extend_from_slice(&merged.to_bytes());
    let hash = Digest::of(&out);
    out.extend_from_slice(&hash.0);
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Now,
    Before,
}

pub(super) struct OpenWindow {
    folder: PathBuf,
    snapshot: Snapshot,
    /// Made with the first entry.
    log: Option<File>,
    entries: usize,
}

impl OpenWindow {
    /// With its first contribution; on disk when this returns.
    pub fn begin(
        folder: &Path,
        first: CounterCiphertext,
        id: Digest,
    ) -> Result<Self, CounterError> {
        let window = Self {
            folder: folder.to_owned(),
            snapshot: Snapshot {
                part: OsEntropy.seed()?,
                ids: HashSet::from([short(id)]),
                merged: first,
            },
            log: None,
            entries: 0,
        };
        write_whole(&window.file(OPEN), &window.snapshot.to_bytes())
            .map_err(CounterError::io(folder))?;
        Ok(window)
    }

    /// As a crash or a stop left it. `None`: its snapshot is not whole.
    pub fn read(folder: &Path, start: u64) -> Result<Option<Self>, CounterError> {
        let failed = CounterError::io(folder);
        let bytes = match durable::read_up_to(&file(folder, start, OPEN), MAX_SNAPSHOT_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return Err(failed(error)),
        };
        let Some(snapshot) = Snapshot::from_bytes(&bytes) else {
            return Ok(None);
        };
        let mut window = Self {
            folder: folder.to_owned(),
            snapshot,
            log: None,
            entries: 0,
        };
        let log = match durable::read_up_to(&window.file(LOG), MAX_LOG_ENTRIES * ENTRY_BYTES) {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(window)),
            Err(error) => return Err(failed(error)),
        };
        for entry in log.chunks_exact(ENTRY_BYTES) {
            if !window.replay(entry) {
                break;
            }
            window.entries += 1;
        }
        Ok(Some(window))
    }

    /// False: it is not whole, and nothing after it was acknowledged.
    fn replay(&mut self, entry: &[u8]) -> bool {
        let (bytes, hash) = entry.split_at(COUNTER_BYTES);
        let id = Digest::of(bytes);
        if id.0 != hash {
            return false;
        }
        if self.snapshot.ids.contains(&short(id)) {
            return true;
        }
        let merged = CounterCiphertext::from_bytes(bytes)
            .and_then(|contribution| self.snapshot.merged.merge(&contribution));
        if merged.is_ok() {
            self.snapshot.ids.insert(short(id));
        }
        merged.is_ok()
    }

    pub fn merged(&self) -> &CounterCiphertext {
        &self.snapshot.merged
    }

    /// What is written when the window closes: ids are needed no more.
    pub fn closed_bytes(&self) -> Vec<u8> {
        encode(self.snapshot.part, &HashSet::new(), &self.snapshot.merged)
    }

    /// On disk when this returns. After an error nothing has changed that would be acknowledged: the same can be sent again.
    pub fn add(
        &mut self,
        contribution: &CounterCiphertext,
        id: Digest,
    ) -> Result<Counted, CounterError> {
        if self.snapshot.ids.contains(&short(id)) {
            return Ok(Counted::Before);
        }
        if self.snapshot.ids.len() >= MAX_CONTRIBUTIONS {
            return Err(CounterError::WindowFull {
                limit: MAX_CONTRIBUTIONS,
            });
        }
        let mut merged = self.snapshot.merged.clone();
        merged.merge(contribution)?;
        let folder = self.folder.clone();
        let failed = CounterError::io(&folder);
        match self.entries < MAX_LOG_ENTRIES {
            true => self.append(contribution, id).map_err(failed)?,
            false => self.compact(&merged, id).map_err(failed)?,
        }
        self.snapshot.merged = merged;
        self.snapshot.ids.insert(short(id));
        Ok(Counted::Now)
    }

    /// Always where the last acknowledged entry ends: what a failed write left there is written over.
    fn append(&mut self, contribution: &CounterCiphertext, id: Digest) -> io::Result<()> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => {
                let log = File::options()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(self.file(LOG))?;
                sync_dir(&self.folder)?;
                log
            }
        };
        let mut entry = contribution.to_bytes();
        entry.extend_from_slice(&id.0);
        log.seek(SeekFrom::Start((self.entries * ENTRY_BYTES) as u64))?;
        log.write_all(&entry)?;
        log.sync_data()?;
        self.log = Some(log);
        self.entries += 1;
        Ok(())
    }

    /// A snapshot of everything, in the place of one more entry.
    fn compact(&mut self, merged: &CounterCiphertext, id: Digest) -> io::Result<()> {
        let mut ids = self.snapshot.ids.clone();
        ids.insert(short(id));
        let bytes = encode(self.snapshot.part, &ids, merged);
        write_whole(&self.file(OPEN), &bytes)?;
        // Every entry's id is in the snapshot: the log may be written over from its beginning.
        self.entries = 0;
        Ok(())
    }

    fn file(&self, extension: &str) -> PathBuf {
        let start = self.snapshot.merged.header().window.start();
        file(&self.folder, start, extension)
    }
}

pub(super) fn file(folder: &Path, start: u64, extension: &str) -> PathBuf {
    folder.join(format!("{start}.{extension}"))
}

/// Whole or not at all, and on disk when this returns.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(TEMPORARY);
    durable::replace(path, &temporary, |file| file.write_all(bytes))
}
