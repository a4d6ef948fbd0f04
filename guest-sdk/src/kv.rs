//! Key-value stores in the gateway: what outlives an exchange, right across instances and threads. Needs the grant `kv`.
//!
//! A store is the policy's own, unless the operator lists its name in `kv_shared`. Entries live until their time is over, or until
//! the store needs the room: keep nothing here that cannot be made again. Keys have up to 256 bytes, values up to 64 KiB.

use crate::bindings::veilgate::policy::kv;
use crate::limits::refused;
use crate::{ConfigError, Period};

pub use crate::bindings::veilgate::policy::types::Error;
/// `version` never comes twice; `expires` is how many milliseconds it still lives.
pub use kv::Entry;
pub use kv::Store;

/// The store `name`; open it in `Policy::configure` and keep the handle.
pub fn open(name: &str) -> Result<Store, ConfigError> {
    Store::open(name).map_err(|error| refused(name, error))
}

/// The number that a counter's entry holds (`incr`); 0 if it is no number.
pub fn number_in(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(&entry.value).unwrap_or_default();
    text.parse().unwrap_or(0)
}

/// What a decision needs of a store: the host's [`Store`], or [`crate::testing::FakeStore`] in native tests.
pub trait KeyValue {
    fn get(&self, key: &str) -> Option<Entry>;

    /// The new version. Without a time to live it stays until the store needs the room.
    fn set(&self, key: &str, value: &[u8], ttl: Option<Period>) -> Result<u64, Error>;

    /// Only if the entry still has this version (0: only if there is none): the new version, or [`Error::Conflict`].
    fn cas(&self, key: &str, version: u64, value: &[u8], ttl: Option<Period>)
    -> Result<u64, Error>;

    /// Whether there was one.
    fn delete(&self, key: &str) -> bool;

    /// A decimal counter that begins at 0. Its time to live counts from the first increment.
    fn incr(&self, key: &str, delta: i64, ttl: Option<Period>) -> Result<i64, Error>;
}

impl KeyValue for Store {
    fn get(&self, key: &str) -> Option<Entry> {
        Store::get(self, key)
    }

    fn set(&self, key: &str, value: &[u8], ttl: Option<Period>) -> Result<u64, Error> {
        Store::set(self, key, value, ttl.map(Period::millis))
    }

    fn cas(
        &self,
        key: &str,
        version: u64,
        value: &[u8],
        ttl: Option<Period>,
    ) -> Result<u64, Error> {
        Store::cas(self, key, version, value, ttl.map(Period::millis))
    }

    fn delete(&self, key: &str) -> bool {
        Store::delete(self, key)
    }

    fn incr(&self, key: &str, delta: i64, ttl: Option<Period>) -> Result<i64, Error> {
        Store::incr(self, key, delta, ttl.map(Period::millis))
    }
}
