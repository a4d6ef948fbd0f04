//! `kv`: stores by name. What a name means, the policy's own store or one that the operator shares, is decided when it is opened.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::bindings::veilgate::policy::kv::{Entry, Host, HostStore};
use crate::bindings::veilgate::policy::types::Error;
use crate::primitives::{KvError, KvStore};
use crate::state::{HostState, unknown_handle};

pub struct StoreHandle(Arc<KvStore>);

fn refused(error: KvError) -> Error {
    match error {
        KvError::Limit => Error::Limit,
        KvError::Conflict => Error::Conflict,
        KvError::Invalid => Error::Invalid,
    }
}

impl HostState {
    fn store(&self, handle: &Resource<StoreHandle>) -> wasmtime::Result<&KvStore> {
        self.handles
            .get(handle)
            .map(|store| &*store.0)
            .map_err(|_| unknown_handle())
    }
}

impl HostStore for HostState {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<StoreHandle>, Error>> {
        let shared = self.shared.kv_shared.contains(&name);
        let scope = (!shared).then_some(self.shared.scope.as_str());
        let store = self.shared.primitives.store(scope, &name);
        Ok(self.defined(&name, store, StoreHandle))
    }

    fn get(&mut self, this: Resource<StoreHandle>, key: String) -> wasmtime::Result<Option<Entry>> {
        let found = self.store(&this)?.get(&key, self.now_ns());
        Ok(found.map(|entry| Entry {
            value: entry.value.into(),
            version: entry.version,
            expires: entry.expires_in_ms,
        }))
    }

    fn set(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let now = self.now_ns();
        Ok(self
            .store(&this)?
            .set(&key, value, ttl, now)
            .map_err(refused))
    }

    fn cas(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        version: u64,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let now = self.now_ns();
        let swapped = self.store(&this)?.cas(&key, version, value, ttl, now);
        Ok(swapped.map_err(refused))
    }

    fn delete(&mut self, this: Resource<StoreHandle>, key: String) -> wasmtime::Result<bool> {
        Ok(self.store(&this)?.delete(&key, self.now_ns()))
    }

    fn incr(
        &mut self,
        this: Resource<StoreHandle>,
        key: String,
        delta: i64,
        ttl: Option<u64>,
    ) -> wasmtime::Result<Result<i64, Error>> {
        let now = self.now_ns();
        Ok(self
            .store(&this)?
            .incr(&key, delta, ttl, now)
            .map_err(refused))
    }

    fn drop(&mut self, this: Resource<StoreHandle>) -> wasmtime::Result<()> {
        self.handles
            .delete(this)
            .map(|_| ())
            .map_err(|_| unknown_handle())
    }
}

impl Host for HostState {}
