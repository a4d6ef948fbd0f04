//! Evaluation keys: on disk by tenant and hash, with what is known of each, and expanded in memory within a budget.
//!
//! Invariants: a key is found only under the tenant that registered it; a file is written whole or not at all, and is
//! checked against its name again when it is read; from the moment that a deletion is answered, no file and no memory of
//! this store holds the key for that tenant. Locks are taken in this order: `disk`, `index`, the cache's own.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhe::{EvaluationKey, FheError, KeyId, ParamSet};
use kernels::{Accelerated, AcceleratedKey, Backend};
use parking_lot::Mutex;

use super::{Tenant, durable};

mod cache;
mod disk;
mod error;
mod index;
mod keeper;
mod meta;
mod uploads;

pub use error::{KeyStoreError, UploadError};
pub(super) use keeper::Keeper;
pub(super) use meta::{Lifetimes, Meta, Wishes};
pub(super) use uploads::{Started, UPLOAD_IDLE_S, Upload};

use cache::{Cache, Need, Turn};
use disk::Layout;
use index::{Candidate, Entry, Index, Name, State};
use uploads::{UploadId, Uploads};

/// Seconds since 1970.
pub(super) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What is known of a key without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyInfo {
    pub set: ParamSet,
    pub bytes: u64,
}

/// A key as its tenant sees it.
#[derive(Clone, Debug)]
pub(super) struct KeyView {
    pub id: KeyId,
    pub info: KeyInfo,
    pub meta: Meta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    New,
    WasThere,
}

pub(super) struct KeyStoreOptions {
    pub dir: PathBuf,
    pub max_bytes: u64,
    pub cache_bytes: u64,
    pub lifetimes: Lifetimes,
    pub clock: Clock,
}

pub(super) struct KeyStore {
    layout: Layout,
    max_bytes: u64,
    lifetimes: Lifetimes,
    clock: Clock,
    /// Held while files get their names or lose them: two steps of two requests never mix.
    disk: Mutex<()>,
    index: Mutex<Index>,
    cache: Cache,
    uploads: Uploads,
    work: keeper::Work,
}

/// Where the bytes of a new key are.
enum Bytes<'b> {
    Memory(&'b [u8]),
    /// A finished upload: whole and fsynced.
    Part(&'b Path, UploadId),
}

impl KeyStore {
    /// Reads which keys and unfinished uploads are there, and puts right what a crash left between two steps.
    pub fn open(options: KeyStoreOptions) -> Result<Self, KeyStoreError> {
        let layout = Layout::new(&options.dir);
        let now = (options.clock)();
        let failed = |source| KeyStoreError::Io {
            path: options.dir.clone(),
            source,
        };
        let mut index = Index::default();
        let mut nameless = Vec::new();
        for found in layout.scan().map_err(failed)? {
            let meta = found.meta.unwrap_or_else(|| {
                nameless.push((found.tenant.clone(), found.id));
                Meta::adopted(found.modified, now, &options.lifetimes)
            });
            let entry = Entry {
                info: found.info,
                state: State::Ready,
                written_use: meta.last_used,
                meta,
            };
            index.keys.insert((found.tenant, found.id), entry);
        }
        let uploads = Uploads::open(&layout).map_err(failed)?;
        index.reserved = uploads.reservations();
        tracing::info!(keys = index.keys.len(), dir = %options.dir.display(), "evaluation keys found");
        let store = Self {
            layout,
            max_bytes: options.max_bytes,
            lifetimes: options.lifetimes,
            clock: options.clock,
            disk: Mutex::new(()),
            index: Mutex::new(index),
            cache: Cache::new(options.cache_bytes),
            uploads,
            work: keeper::Work::default(),
        };
        for name in nameless {
            store.write_meta(&name)?;
        }
        let unfinished = store.index.lock().unfinished_rotations();
        for (tenant, old, new) in unfinished {
            store.retire(&tenant, old, new);
        }
        Ok(store)
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }

    /// A key that is there, expired or not: `expanded` tells the difference.
    pub fn info(&self, tenant: &Tenant, id: KeyId) -> Option<KeyInfo> {
        let index = self.index.lock();
        let entry = index.keys.get(&(tenant.clone(), id))?;
        (entry.state == State::Ready).then_some(entry.info)
    }

    pub fn describe(&self, tenant: &Tenant, id: KeyId) -> Result<KeyView, KeyStoreError> {
        let index = self.index.lock();
        let entry = index.ready(&(tenant.clone(), id), self.now())?;
        Ok(KeyView {
            id,
            info: entry.info,
            meta: entry.meta.clone(),
        })
    }

    /// The tenant's keys, the oldest first.
    pub fn list(&self, tenant: &Tenant) -> Vec<KeyView> {
        let now = self.now();
        let index = self.index.lock();
        let view = |(id, entry): (KeyId, &Entry)| KeyView {
            id,
            info: entry.info,
            meta: entry.meta.clone(),
        };
        let mut all: Vec<_> = index
            .of(tenant)
            .filter(|(_, entry)| entry.state == State::Ready && !entry.meta.expired(now))
            .map(view)
            .collect();
        all.sort_by_key(|view| (view.meta.created, view.id));
        all
    }

    /// Stores a key durably. Blocks on the disk.
    pub fn add(
        &self,
        tenant: &Tenant,
        key: &EvaluationKey,
        wishes: &Wishes,
    ) -> Result<Added, KeyStoreError> {
        let info = KeyInfo {
            set: key.set(),
            bytes: key.as_bytes().len() as u64,
        };
        let name = (tenant.clone(), key.id());
        self.register(&name, info, wishes, Bytes::Memory(key.as_bytes()))
    }

    fn register(
        &self,
        name: &Name,
        info: KeyInfo,
        wishes: &Wishes,
        bytes: Bytes<'_>,
    ) -> Result<Added, KeyStoreError> {
        let (tenant, id) = name;
        if let Some(KeyStoreError::Expired) = self.describe(tenant, *id).err() {
            self.remove(tenant, *id)?;
        }
        let upload = match &bytes {
            Bytes::Memory(_) => None,
            Bytes::Part(_, upload) => Some(*upload),
        };
        // Entered first, so that two uploads at once cannot both fit into the same last space.
        let added = self.enter(name, info, wishes, upload)?;
        if added == Added::New
            && let Err(error) = self.write(name, bytes)
        {
            self.give_up(name);
            return Err(error);
        }
        if added == Added::WasThere {
            self.write_meta(name)?;
        }
        if let Some(old) = wishes.replaces() {
            self.retire(tenant, old, *id);
        }
        self.work.warm(name.clone());
        Ok(added)
    }

    fn enter(
        &self,
        name: &Name,
        info: KeyInfo,
        wishes: &Wishes,
        upload: Option<UploadId>,
    ) -> Result<Added, KeyStoreError> {
        let now = self.now();
        let mut index = self.index.lock();
        self.check_replaced(&index, name, wishes.replaces(), now)?;
        match index.keys.get_mut(name) {
            Some(entry) if entry.state == State::Ready => {
                entry.meta.renew(now, wishes, &self.lifetimes);
                return Ok(Added::WasThere);
            }
            Some(_) => return Err(KeyStoreError::InProgress),
            None => {}
        }
        let candidate = Candidate {
            tenant: &name.0,
            bytes: info.bytes,
            replaces: wishes.replaces(),
            upload,
        };
        index.admit(&candidate, self.max_bytes)?;
        let entry = Entry {
            info,
            state: State::Storing,
            meta: Meta::new(now, wishes, &self.lifetimes),
            written_use: None,
        };
        index.keys.insert(name.clone(), entry);
        // From here on the key itself takes the space.
        if let Some(upload) = upload {
            index.reserved.remove(&upload);
        }
        Ok(Added::New)
    }

    fn check_replaced(
        &self,
        index: &Index,
        (tenant, id): &Name,
        replaces: Option<KeyId>,
        now: u64,
    ) -> Result<(), KeyStoreError> {
        let Some(old) = replaces else { return Ok(()) };
        match index.ready(&(tenant.clone(), old), now) {
            Ok(_) if old != *id => Ok(()),
            _ => Err(KeyStoreError::CannotReplace),
        }
    }

    fn write(&self, name: &Name, bytes: Bytes<'_>) -> Result<(), KeyStoreError> {
        let (tenant, id) = name;
        let path = self.layout.key(tenant, *id);
        let temporary = self.layout.temporary(tenant, *id);
        let from = match bytes {
            Bytes::Memory(bytes) => {
                durable::make_dir(&self.layout.tenant(tenant))
                    .and_then(|()| durable::write_new(&temporary, bytes))
                    .map_err(KeyStoreError::io(&temporary))?;
                &*temporary
            }
            Bytes::Part(path, _) => path,
        };
        let _disk = self.disk.lock();
        let Some(meta) = self.index.lock().keys.get(name).map(|e| e.meta.clone()) else {
            return Err(KeyStoreError::Unknown);
        };
        self.layout
            .install(tenant, *id, from, &meta)
            .map_err(KeyStoreError::io(&path))?;
        if let Some(entry) = self.index.lock().keys.get_mut(name) {
            entry.state = State::Ready;
        }
        Ok(())
    }

    /// A key that could not be stored: nothing of it stays.
    fn give_up(&self, (tenant, id): &Name) {
        let _disk = self.disk.lock();
        let removed = self.layout.remove(tenant, *id);
        let mut index = self.index.lock();
        match removed {
            Ok(()) => {
                index.keys.remove(&(tenant.clone(), *id));
            }
            Err(error) => {
                tracing::error!(%tenant, key = %id, %error, "what is left of a key could not be removed; it is tried again");
                if let Some(entry) = index.keys.get_mut(&(tenant.clone(), *id)) {
                    entry.state = State::Removing;
                }
            }
        }
    }

    /// The new key is there: the old one has its grace, and ends.
    fn retire(&self, tenant: &Tenant, old: KeyId, new: KeyId) {
        let name = (tenant.clone(), old);
        if let Some(entry) = self.index.lock().keys.get_mut(&name) {
            entry.meta.retire(new, self.now(), &self.lifetimes);
        }
        // The new key says what it replaces: should this fail, the next start makes up for it.
        if let Err(error) = self.write_meta(&name) {
            tracing::error!(%tenant, key = %old, %error, "the end of a replaced key is not on disk yet");
        }
    }

    /// What the index says of the key, on disk; nothing if it is not there any more.
    fn write_meta(&self, name: &Name) -> Result<(), KeyStoreError> {
        let _disk = self.disk.lock();
        let meta = match self.index.lock().keys.get(name) {
            Some(entry) if entry.state == State::Ready => entry.meta.clone(),
            _ => return Ok(()),
        };
        let path = self.layout.note(&name.0, name.1);
        disk::write_note(&path, &meta).map_err(KeyStoreError::io(&path))?;
        if let Some(entry) = self.index.lock().keys.get_mut(name) {
            entry.written_use = meta.last_used;
        }
        Ok(())
    }

    /// `false` if this tenant has no such key. When it is true, the key is gone from the disk and, unless another tenant
    /// has it too, from memory; a batch that is being computed with it ends. Blocks on the disk.
    pub fn remove(&self, tenant: &Tenant, id: KeyId) -> Result<bool, KeyStoreError> {
        let name = (tenant.clone(), id);
        let _disk = self.disk.lock();
        {
            let mut index = self.index.lock();
            match index.keys.get_mut(&name) {
                None => return Ok(false),
                Some(entry) if entry.state == State::Storing => {
                    return Err(KeyStoreError::InProgress);
                }
                Some(entry) => entry.state = State::Removing,
            }
            if !index.anyone_has(id) {
                self.cache.forget(id);
            }
        }
        // Should it fail, nobody finds the key any more, and the next sweep tries again.
        let path = self.layout.key(tenant, id);
        self.layout
            .remove(tenant, id)
            .map_err(KeyStoreError::io(&path))?;
        self.index.lock().keys.remove(&name);
        // An upload of the same key that was left unfinished holds its bytes too.
        if let Some(upload) = self.uploads.of(tenant, id) {
            let _ = self.cancel_upload(&upload);
        }
        Ok(true)
    }

    /// The key, ready to compute programs of `needed` with; read and expanded if it is not in the cache. Blocks: for
    /// an engine's thread.
    pub fn expanded(
        &self,
        backend: &Accelerated,
        tenant: &Tenant,
        id: KeyId,
        needed: ParamSet,
    ) -> Result<Arc<AcceleratedKey>, KeyStoreError> {
        let name = (tenant.clone(), id);
        let info = {
            let now = self.now();
            let mut index = self.index.lock();
            let info = index.ready(&name, now)?.info;
            if let Some(entry) = index.keys.get_mut(&name) {
                entry.meta.last_used = Some(now);
            }
            info
        };
        match self.expand(backend, &name, info, needed, Need::Now)? {
            Some(key) => Ok(key),
            // Only what is needed later can find no room.
            None => Err(KeyStoreError::Unknown),
        }
    }

    fn expand(
        &self,
        backend: &Accelerated,
        name: &Name,
        info: KeyInfo,
        needed: ParamSet,
        need: Need,
    ) -> Result<Option<Arc<AcceleratedKey>>, KeyStoreError> {
        let id = name.1;
        let bytes = self.expanded_bytes(backend, needed);
        let lead = match self.cache.turn((id, needed), bytes, need) {
            Turn::Held(key) => return Ok(Some(key)),
            Turn::NoRoom => return Ok(None),
            Turn::Lead(lead) => lead,
        };
        let read = self.read(&name.0, id, info)?;
        let key = backend
            .expand_for(&read, needed)
            .map_err(KeyStoreError::Expand)?;
        let key = Arc::new(key);
        metrics::counter!("gateway_fhe_key_loads_total").increment(1);
        // Deleted meanwhile: whoever waits for it has it, and it is not held.
        let index = self.index.lock();
        if index.anyone_has(id) {
            lead.hold(key.clone());
        }
        Ok(Some(key))
    }

    /// Expands a key before it is needed, if there is room for it.
    fn warm(&self, backend: &Accelerated, name: &Name) {
        let info = match self.index.lock().ready(name, self.now()) {
            Ok(entry) => entry.info,
            Err(_) => return,
        };
        if let Err(error) = self.expand(backend, name, info, info.set, Need::Later) {
            tracing::warn!(tenant = %name.0, key = %name.1, %error, "a key could not be expanded ahead of need");
        }
    }

    /// Memory that a key takes once it is expanded for programs of this set.
    pub fn expanded_bytes(&self, backend: &Accelerated, needed: ParamSet) -> u64 {
        backend.expanded_bytes(needed) as u64
    }

    pub fn cache_budget(&self) -> u64 {
        self.cache.budget()
    }

    fn read(
        &self,
        tenant: &Tenant,
        id: KeyId,
        info: KeyInfo,
    ) -> Result<EvaluationKey, KeyStoreError> {
        let path = self.layout.key(tenant, id);
        let mut bytes = Vec::with_capacity(info.bytes as usize);
        fs::File::open(&path)
            .and_then(|file| file.take(info.bytes + 1).read_to_end(&mut bytes))
            .map_err(|source| match source.kind() {
                // Deleted meanwhile.
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

    /// Deletes what has expired, keys and unfinished uploads, and writes what is written behind. Blocks on the disk.
    pub fn sweep(&self) {
        let now = self.now();
        let due = self.index.lock().due(now);
        for (tenant, id) in due {
            match self.remove(&tenant, id) {
                Ok(_) => tracing::info!(%tenant, key = %id, "a key that had expired is deleted"),
                Err(error) => {
                    tracing::error!(%tenant, key = %id, %error, "a key that has expired could not be deleted; it is tried again");
                }
            }
        }
        self.sweep_uploads(now);
        self.write_uses(false);
        let index = self.index.lock();
        metrics::gauge!("gateway_fhe_keys").set(index.keys.len() as f64);
        metrics::gauge!("gateway_fhe_key_store_bytes").set(index.bytes() as f64);
        metrics::gauge!("gateway_fhe_uploads").set(index.reserved.len() as f64);
    }

    /// `all`: even those whose use on disk is recent enough for people.
    fn write_uses(&self, all: bool) {
        let used = self.index.lock().used_since(all);
        for name in used {
            if let Err(error) = self.write_meta(&name) {
                tracing::warn!(tenant = %name.0, key = %name.1, %error, "when a key was used last could not be written");
            }
        }
    }
}

#[cfg(test)]
mod tests;
