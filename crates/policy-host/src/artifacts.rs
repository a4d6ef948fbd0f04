//! The directory of compiled modules: what one process compiled, the next one loads.
//!
//! What is loaded from it is native code, so nothing is taken that does not carry a seal: BLAKE3 under a random key that lies in the
//! directory, over the entry's name and its bytes. Invariants: the directory belongs to this user and others cannot write in it; the
//! key is this user's alone; an entry is written elsewhere and renamed into place; the whole is bounded, and what was used least
//! recently goes first. What is damaged, cut off, of another engine or of another key is as good as absent.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use edge_types::Digest;
use wasmtime::Engine;

/// Ahead of an entry's bytes.
const SEAL_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "key";
/// What is being written; a process that was killed leaves it behind.
const TEMPORARY: &str = "tmp-";
/// Writing takes less by far: an older temporary file is nobody's any more.
const TEMPORARY_FOR: Duration = Duration::from_secs(600);
/// Files that are looked at when room is made: more do not get there by our hand.
const MAX_ENTRIES: usize = 4096;

/// Where compiled modules are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactDir {
    pub path: PathBuf,
    pub max_bytes: u64,
}

/// Why a directory is not used. Modules are then compiled by every process anew.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    #[error("{0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
    #[error(
        "{0} belongs to another user, who could have this gateway run any code: name a directory of its own"
    )]
    OtherOwner(PathBuf),
    #[error(
        "{0} can be written by others, who could have this gateway run any code: `chmod go-w` it, or name another"
    )]
    OthersWrite(PathBuf),
    #[error("there is no random key to be had: {0}")]
    NoKey(String),
}

/// Bytes whose seal was found right.
pub(crate) struct Authentic(Vec<u8>);

impl Authentic {
    pub(crate) fn code(&self) -> &[u8] {
        &self.0[SEAL_BYTES..]
    }
}

pub(crate) struct Artifacts {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    max_bytes: u64,
    /// Of the engine: its version, its settings, this machine's features.
    engine: Digest,
    complained: AtomicBool,
}

impl Artifacts {
    pub(crate) fn open(settings: &ArtifactDir, engine: &Engine) -> Result<Self, ArtifactsError> {
        let failed = |error| ArtifactsError::Io(settings.path.clone(), error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&settings.path)
            .map_err(failed)?;
        // What a link points to is what is checked and used from here on.
        let dir = settings.path.canonicalize().map_err(failed)?;
        let meta = fs::metadata(&dir).map_err(failed)?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(ArtifactsError::OtherOwner(dir));
        }
        if meta.mode() & 0o022 != 0 {
            return Err(ArtifactsError::OthersWrite(dir));
        }
        let key = key(&dir)?;
        Ok(Self {
            dir,
            key,
            max_bytes: settings.max_bytes,
            engine: fingerprint(engine),
            complained: AtomicBool::new(false),
        })
    }

    /// The entry, if it is there and whole.
    pub(crate) fn find(&self, kind: &str, module: &Digest) -> Option<Authentic> {
        let name = self.name(kind, module);
        let path = self.dir.join(&name);
        let file = File::open(&path).ok()?;
        let meta = file.metadata().ok()?;
        if !meta.is_file() || meta.len() > self.max_bytes {
            return None;
        }
        let sealed = fs::read(&path).ok()?;
        let seal: [u8; SEAL_BYTES] = sealed.get(..SEAL_BYTES)?.try_into().ok()?;
        // Compared in constant time.
        if self.seal(&name, &sealed[SEAL_BYTES..]) != blake3::Hash::from(seal) {
            tracing::warn!(target: "policy", file = %path.display(), "a stored compiled module is damaged; it is compiled again");
            self.forget(kind, module);
            return None;
        }
        // Eviction goes by this; where it cannot be set, the entry only seems older than it is.
        let _ = file.set_modified(SystemTime::now());
        Some(Authentic(sealed))
    }

    /// Keeps it, if it can: what goes wrong here only costs time later.
    pub(crate) fn keep(&self, kind: &str, module: &Digest, code: &[u8]) {
        let bytes = (SEAL_BYTES + code.len()) as u64;
        if bytes > self.max_bytes {
            return;
        }
        let name = self.name(kind, module);
        let kept = self
            .make_room(bytes)
            .and_then(|()| self.write(&name, &self.seal(&name, code), code));
        if let Err(error) = kept
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(target: "policy", dir = %self.dir.display(), %error, "compiled modules cannot be stored");
        }
    }

    /// For one that turned out to be of no use.
    pub(crate) fn forget(&self, kind: &str, module: &Digest) {
        let _ = fs::remove_file(self.dir.join(self.name(kind, module)));
    }

    fn name(&self, kind: &str, module: &Digest) -> String {
        format!("{}-{module}.{kind}", self.engine)
    }

    fn seal(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // A zero is in no name: the two cannot be shifted against each other.
        hasher.update(name.as_bytes()).update(&[0]).update(code);
        hasher.finalize()
    }

    fn write(&self, name: &str, seal: &blake3::Hash, code: &[u8]) -> io::Result<()> {
        let temporary = temporary(&self.dir);
        let written = private_file(&temporary).and_then(|mut file| {
            file.write_all(seal.as_bytes())?;
            file.write_all(code)
        });
        // Not synced: what a crash cuts off has no seal that fits.
        let moved = written.and_then(|()| fs::rename(&temporary, self.dir.join(name)));
        if moved.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        moved
    }

    /// The least recently used go until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let name = entry.file_name();
            // Another process may have removed it meanwhile.
            let Ok(meta) = entry.metadata() else { continue };
            if name == KEY_FILE || !meta.is_file() {
                continue;
            }
            let used = meta.modified()?;
            if name.to_string_lossy().starts_with(TEMPORARY) {
                if used.elapsed().is_ok_and(|age| age > TEMPORARY_FOR) {
                    let _ = fs::remove_file(entry.path());
                }
                continue;
            }
            entries.push((used, meta.len(), entry.path()));
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in entries {
            if total.saturating_add(bytes) <= self.max_bytes {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            total = total.saturating_sub(len);
        }
        Ok(())
    }
}

/// Two engines with the same one can run each other's code.
fn fingerprint(engine: &Engine) -> Digest {
    struct Blake3(blake3::Hasher);
    impl Hasher for Blake3 {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            u64::from_le_bytes(std::array::from_fn(|at| self.0.finalize().as_bytes()[at]))
        }
    }
    let mut hasher = Blake3(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Digest(*hasher.0.finalize().as_bytes())
}

/// The directory's key; made if there is none, or none that can be trusted.
fn key(dir: &Path) -> Result<[u8; KEY_BYTES], ArtifactsError> {
    let path = dir.join(KEY_FILE);
    let failed = |error| ArtifactsError::Io(path.clone(), error);
    if let Some(key) = known_key(&path) {
        return Ok(key);
    }
    // One at a time, until it is there: who finds none must not take away what another one just made.
    let alone = File::open(dir).and_then(|dir| dir.lock().map(|()| dir));
    let _alone = alone.ok();
    if let Some(key) = known_key(&path) {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| ArtifactsError::NoKey(error.to_string()))?;
    // One that is there and no good: what it sealed is compiled again.
    let _ = fs::remove_file(&path);
    let temporary = temporary(dir);
    private_file(&temporary)
        .and_then(|mut file| file.write_all(&key))
        .map_err(failed)?;
    // A link, not a renaming: where nothing can be locked, one of two that make a key at once wins, and the other takes the winner's.
    let linked = fs::hard_link(&temporary, &path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(key),
        Err(error) => known_key(&path).ok_or_else(|| failed(error)),
    }
}

/// None where others could have read or written it.
fn known_key(path: &Path) -> Option<[u8; KEY_BYTES]> {
    let meta = fs::symlink_metadata(path).ok()?;
    let ours = meta.is_file()
        && meta.uid() == rustix::process::geteuid().as_raw()
        && meta.mode() & 0o077 == 0;
    ours.then(|| fs::read(path).ok()?.try_into().ok()).flatten()
}

/// A name that nobody else writes to, in this process or another.
fn temporary(dir: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    dir.join(format!("{TEMPORARY}{}-{number}", std::process::id()))
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
#[path = "artifacts/tests.rs"]
mod tests;
