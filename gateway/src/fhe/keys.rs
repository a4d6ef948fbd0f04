//! Evaluation keys: on disk by tenant and hash, and expanded in memory within a budget.
//!
//! Invariants: a key is found only under the tenant that registered it; a file is written whole or not at all, and is
//! checked against its name again when it is read; the expanded keys in the cache never take more than the budget,
//! but for a single one that is larger than all of it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhe::{EvaluationKey, FheError, KeyId, ParamSet};
use kernels::cpu::CpuKey;
use kernels::{Backend, CpuBackend, KernelError};
use parking_lot::Mutex;

use super::Tenant;

/// Of one tenant, so that nobody fills the disk alone.
pub(super) const MAX_KEYS_PER_TENANT: usize = 64;
const EXTENSION: &str = "vgek";

#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    #[error("the key store {} failed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the disk space that is set aside for keys ({limit} bytes) is used up")]
    Full { limit: u64 },
    #[error("this tenant has {MAX_KEYS_PER_TENANT} keys already")]
    TooMany,
    #[error("there is no such key")]
    Unknown,
    #[error("the stored key is damaged, and was removed; register it again")]
    Damaged(#[source] FheError),
    #[error(transparent)]
    Expand(KernelError),
}

/// What is known of a key without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyInfo {
    pub set: ParamSet,
    pub bytes: u64,
}

pub(super) struct KeyStore {
    dir: PathBuf,
    max_bytes: u64,
    index: Mutex<HashMap<(Tenant, KeyId), KeyInfo>>,
    cache: Mutex<Cache>,
}

struct Cache {
    budget: u64,
    clock: u64,
    /// By what it was expanded for, too: sums alone need next to nothing of a key with bootstraps.
    held: HashMap<(KeyId, ParamSet), Held>,
}

struct Held {
    key: Arc<CpuKey>,
    bytes: u64,
    used: u64,
}

impl KeyStore {
    pub fn open(dir: &Path, max_bytes: u64, cache_bytes: u64) -> Result<Self, KeyStoreError> {
        let index = scan(dir).map_err(|source| KeyStoreError::Io {
            path: dir.to_owned(),
            source,
        })?;
        tracing::info!(keys = index.len(), dir = %dir.display(), "evaluation keys found");
        Ok(Self {
            dir: dir.to_owned(),
            max_bytes,
            index: Mutex::new(index),
            cache: Mutex::new(Cache {
                budget: cache_bytes,
                clock: 0,
                held: HashMap::new(),
            }),
        })
    }

    pub fn info(&self, tenant: &Tenant, id: KeyId) -> Option<KeyInfo> {
        self.index.lock().get(&(tenant.clone(), id)).copied()
    }

    /// Stores a key durably; `false` if it was there already. Blocks on the disk.
    pub fn add(&self, tenant: &Tenant, key: &EvaluationKey) -> Result<bool, KeyStoreError> {
        let info = KeyInfo {
            set: key.set(),
            bytes: key.as_bytes().len() as u64,
        };
        // Entered first, so that two uploads at once cannot both fit into the same last space.
        if !self.enter(tenant, key.id(), info)? {
            return Ok(false);
        }
        let path = self.path(tenant, key.id());
        write(&path, key.as_bytes())
            .map(|()| true)
            .map_err(|source| {
                self.index.lock().remove(&(tenant.clone(), key.id()));
                KeyStoreError::Io { path, source }
            })
    }

    fn enter(&self, tenant: &Tenant, id: KeyId, info: KeyInfo) -> Result<bool, KeyStoreError> {
        let mut index = self.index.lock();
        if index.contains_key(&(tenant.clone(), id)) {
            return Ok(false);
        }
        if index.keys().filter(|(of, _)| of == tenant).count() >= MAX_KEYS_PER_TENANT {
            return Err(KeyStoreError::TooMany);
        }
        let used: u64 = index.values().map(|info| info.bytes).sum();
        if used + info.bytes > self.max_bytes {
            return Err(KeyStoreError::Full {
                limit: self.max_bytes,
            });
        }
        index.insert((tenant.clone(), id), info);
        Ok(true)
    }

    /// `false` if this tenant has no such key. Blocks on the disk.
    pub fn remove(&self, tenant: &Tenant, id: KeyId) -> Result<bool, KeyStoreError> {
        let path = self.path(tenant, id);
        {
            let mut index = self.index.lock();
            if index.remove(&(tenant.clone(), id)).is_none() {
                return Ok(false);
            }
            if !index.keys().any(|(_, other)| *other == id) {
                self.cache.lock().held.retain(|(of, _), _| *of != id);
            }
        }
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KeyStoreError::Io { path, source })
            }
            _ => Ok(true),
        }
    }

    /// The key, ready to compute programs of `needed` with; read and expanded if it is not in the cache. Blocks: for
    /// an engine's thread.
    pub fn expanded(
        &self,
        backend: &CpuBackend,
        tenant: &Tenant,
        id: KeyId,
        needed: ParamSet,
    ) -> Result<Arc<CpuKey>, KeyStoreError> {
        let info = self.info(tenant, id).ok_or(KeyStoreError::Unknown)?;
        if let Some(key) = self.cache.lock().get((id, needed)) {
            return Ok(key);
        }
        let bytes = backend.expanded_bytes(needed) as u64;
        let read = self.read(tenant, id, info)?;
        self.cache.lock().make_room(bytes);
        let key = Arc::new(
            backend
                .expand_for(&read, needed)
                .map_err(KeyStoreError::Expand)?,
        );
        metrics::counter!("gateway_fhe_key_loads_total").increment(1);
        self.cache.lock().put((id, needed), key.clone(), bytes);
        Ok(key)
    }

    /// Memory that a key takes once it is expanded for programs of this set.
    pub fn expanded_bytes(&self, backend: &CpuBackend, needed: ParamSet) -> u64 {
        backend.expanded_bytes(needed) as u64
    }

    pub fn cache_budget(&self) -> u64 {
        self.cache.lock().budget
    }

    fn read(
        &self,
        tenant: &Tenant,
        id: KeyId,
        info: KeyInfo,
    ) -> Result<EvaluationKey, KeyStoreError> {
        let path = self.path(tenant, id);
        let mut bytes = Vec::with_capacity(info.bytes as usize);
        fs::File::open(&path)
            .and_then(|file| file.take(info.bytes + 1).read_to_end(&mut bytes))
            .map_err(|source| match source.kind() {
                // Removed, or not yet written by an upload that is still going on.
                io::ErrorKind::NotFound => KeyStoreError::Unknown,
                _ => KeyStoreError::Io { path, source },
            })?;
        let damaged = |error| {
            tracing::error!(%tenant, key = %id, %error, "a stored evaluation key is damaged and is removed");
            let _ = self.remove(tenant, id);
            KeyStoreError::Damaged(error)
        };
        let key = EvaluationKey::from_bytes(bytes).map_err(damaged)?;
        if key.id() == id {
            return Ok(key);
        }
        Err(damaged(FheError::Mismatch {
            thing: fhe::Thing::EvaluationKey,
            reason: "its hash is not its name".into(),
        }))
    }

    fn path(&self, tenant: &Tenant, id: KeyId) -> PathBuf {
        self.dir
            .join(tenant.as_str())
            .join(format!("{id}.{EXTENSION}"))
    }
}

impl Cache {
    fn get(&mut self, id: (KeyId, ParamSet)) -> Option<Arc<CpuKey>> {
        self.clock += 1;
        let held = self.held.get_mut(&id)?;
        held.used = self.clock;
        Some(held.key.clone())
    }

    /// Evicts the least recently used until `bytes` more fit, or nothing is left.
    fn make_room(&mut self, bytes: u64) {
        while self.held.values().map(|held| held.bytes).sum::<u64>() + bytes > self.budget {
            let Some(oldest) = self
                .held
                .iter()
                .min_by_key(|(_, held)| held.used)
                .map(|(id, _)| *id)
            else {
                return;
            };
            self.held.remove(&oldest);
            metrics::counter!("gateway_fhe_key_evictions_total").increment(1);
        }
    }

    fn put(&mut self, id: (KeyId, ParamSet), key: Arc<CpuKey>, bytes: u64) {
        self.make_room(bytes);
        self.clock += 1;
        let used = self.clock;
        self.held.insert(id, Held { key, bytes, used });
    }
}

/// Keys found under `dir`, which is made if it is not there. Leftovers of an interrupted write are removed.
fn scan(dir: &Path) -> io::Result<HashMap<(Tenant, KeyId), KeyInfo>> {
    fs::create_dir_all(dir)?;
    let mut index = HashMap::new();
    for tenant_dir in fs::read_dir(dir)? {
        let tenant_dir = tenant_dir?;
        let Some(tenant) = tenant_dir
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<Tenant>().ok())
        else {
            continue;
        };
        if !tenant_dir.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(tenant_dir.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path)?;
                continue;
            }
            if let Some((id, info)) = described(&path)? {
                index.insert((tenant.clone(), id), info);
            }
        }
    }
    Ok(index)
}

/// By name and size alone: thousands of keys are not read at the start.
fn described(path: &Path) -> io::Result<Option<(KeyId, KeyInfo)>> {
    let is_key = path
        .extension()
        .is_some_and(|extension| extension == EXTENSION);
    let id = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse::<KeyId>().ok());
    let bytes = fs::metadata(path)?.len();
    let set = ParamSet::ALL
        .into_iter()
        .find(|&set| EvaluationKey::bytes_of(set) as u64 == bytes);
    match (is_key, id, set) {
        (true, Some(id), Some(set)) => Ok(Some((id, KeyInfo { set, bytes }))),
        _ => {
            tracing::warn!(path = %path.display(), "not an evaluation key: left alone");
            Ok(None)
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let temporary = path.with_extension("tmp");
    let mut file = fs::File::create(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
