//! Key-value stores: those of the component interface `kv`, under the same names.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{parsed, written};
use crate::primitives::{KvError, KvStore};
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::Answer;
use crate::proxy_wasm::state::VmState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
    #[serde(default = "default_store")]
    store: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    key: String,
    #[serde(default = "default_store")]
    store: String,
    value: Option<String>,
    value_base64: Option<String>,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cas {
    key: String,
    #[serde(default = "default_store")]
    store: String,
    version: u64,
    value: Option<String>,
    value_base64: Option<String>,
    ttl_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incr {
    key: String,
    #[serde(default = "default_store")]
    store: String,
    #[serde(default = "one")]
    delta: i64,
    ttl_ms: Option<u64>,
}

fn default_store() -> String {
    "default".to_owned()
}

fn one() -> i64 {
    1
}

#[derive(Serialize)]
struct Found {
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

fn store(state: &mut VmState, name: &str) -> Answer<Arc<KvStore>> {
    let found = state.defined.store(&state.base.shared, name);
    Ok(found.ok_or(Status::BadArgument)?)
}

/// One of the two forms.
fn bytes(text: Option<String>, base64: Option<String>) -> Answer<Vec<u8>> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => Ok(BASE64.decode(base64).map_err(|_| Status::BadArgument)?),
        (Some(_), Some(_)) | (None, None) => Err(Status::BadArgument.into()),
    }
}

pub(super) fn read(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Key = parsed(arguments)?;
    let store = store(state, &wanted.store)?;
    let Some(entry) = store.get(&wanted.key, state.base.now_ns()) else {
        return written(&json!({ "found": false }));
    };
    let text = std::str::from_utf8(&entry.value).ok();
    written(&Found {
        found: true,
        value: text.map(str::to_owned),
        value_base64: text.is_none().then(|| BASE64.encode(&entry.value)),
        version: entry.version,
        expires_ms: entry.expires_in_ms,
    })
}

pub(super) fn set(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Set = parsed(arguments)?;
    let value = bytes(wanted.value, wanted.value_base64)?;
    let store = store(state, &wanted.store)?;
    version(store.set(&wanted.key, value, wanted.ttl_ms, state.base.now_ns()))
}

pub(super) fn cas(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Cas = parsed(arguments)?;
    let value = bytes(wanted.value, wanted.value_base64)?;
    let store = store(state, &wanted.store)?;
    let now = state.base.now_ns();
    version(store.cas(&wanted.key, wanted.version, value, wanted.ttl_ms, now))
}

fn version(stored: Result<u64, KvError>) -> Answer<Vec<u8>> {
    match stored {
        Ok(version) => written(&json!({ "version": version })),
        Err(KvError::Conflict) => written(&json!({ "conflict": true })),
        Err(error) => Err(status(error).into()),
    }
}

pub(super) fn delete(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Key = parsed(arguments)?;
    let store = store(state, &wanted.store)?;
    let deleted = store.delete(&wanted.key, state.base.now_ns());
    written(&json!({ "deleted": deleted }))
}

pub(super) fn incr(state: &mut VmState, arguments: &[u8]) -> Answer<Vec<u8>> {
    let wanted: Incr = parsed(arguments)?;
    let store = store(state, &wanted.store)?;
    let now = state.base.now_ns();
    match store.incr(&wanted.key, wanted.delta, wanted.ttl_ms, now) {
        Ok(value) => written(&json!({ "value": value })),
        Err(error) => Err(status(error).into()),
    }
}

fn status(error: KvError) -> Status {
    match error {
        KvError::Limit => Status::InternalFailure,
        KvError::Invalid | KvError::Conflict => Status::BadArgument,
    }
}
