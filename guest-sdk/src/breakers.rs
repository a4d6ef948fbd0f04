//! The host's circuit breakers: shared by all instances, settled by the host when an attempt ends.

pub use crate::bindings::veilgate::policy::breakers::{Admission, Breaker, Spec, State};
pub use crate::bindings::veilgate::policy::types::Error;

use crate::ConfigError;

/// Has the host ask this breaker by itself before attempts to these upstreams (`*`: any) in exchanges of these routes (none: any);
/// `before_attempt` is called only where it refuses. In `configure`; see `guard` in the contract.
pub fn guard(breaker: &Breaker, upstreams: &[String], routes: &[String], per_route: bool) {
    breaker.guard(upstreams, routes, per_route);
}

/// Defines a breaker; an error names `key`, the setting that it comes from.
pub fn define(key: &str, name: &str, spec: Spec) -> Result<Breaker, ConfigError> {
    Breaker::define(name, spec).map_err(|error| crate::limits::refused(key, error))
}
