//! Key-value stores in the host, shared by all instances: open them in `Policy::configure` and keep the handles.

use crate::ConfigError;
use crate::bindings::veilgate::policy::kv;

pub use kv::{Entry, Store};

/// The store `name`: the policy's own, or one that the operator declared as shared.
pub fn open(name: &str) -> Result<Store, ConfigError> {
    Store::open(name).map_err(|error| crate::limits::refused(name, error))
}

/// The number that a counter's entry holds (`Store::incr`); 0 if it is no number.
pub fn number_in(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(&entry.value).unwrap_or_default();
    text.parse().unwrap_or(0)
}
