//! The host's circuit breakers: shared by all instances, settled by the host when an attempt ends.

pub use crate::bindings::veilgate::policy::breakers::{Admission, Breaker, Spec, State};
pub use crate::bindings::veilgate::policy::types::Error;

use crate::ConfigError;

/// Defines a breaker; an error names `key`, the setting that it comes from.
pub fn define(key: &str, name: &str, spec: Spec) -> Result<Breaker, ConfigError> {
    Breaker::define(name, spec).map_err(|error| crate::limits::refused(key, error))
}
