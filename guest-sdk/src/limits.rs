//! The host's limiters: one atomic decision per call, right across threads and instances.
//!
//! Define them in `Policy::configure` and keep the handles; the same name with the same spec is the same limiter everywhere.

use crate::ConfigError;
use crate::bindings::veilgate::policy::limits;

pub use crate::bindings::veilgate::policy::types::Error;
pub use limits::{Algorithm, Gate, KeySource, Limiter, Share, Spec, StandingShare, Verdict};

/// In `configure`: has the host take these from every request by itself; hooks are called only where a limit refuses or a key cannot
/// be told. See `stand` in the contract.
pub fn stand(shares: &[StandingShare<'_>]) {
    limits::stand(shares);
}

/// Takes from all of them or from none; the verdict is the tightest one.
pub fn take_all(shares: &[Share<'_>]) -> Verdict {
    limits::take_all(shares)
}

/// The same, with a verdict for each, in their order.
pub fn take_each(shares: &[Share<'_>]) -> Vec<Verdict> {
    limits::take_each(shares)
}

/// Defines a limiter; an error names `key`, the setting that it comes from.
pub fn define(key: &str, name: &str, spec: Spec) -> Result<Limiter, ConfigError> {
    Limiter::define(name, spec).map_err(|error| refused(key, error))
}

/// Defines a gate; an error names `key`, the setting that it comes from.
pub fn define_gate(key: &str, name: &str, limit: u32) -> Result<Gate, ConfigError> {
    Gate::define(name, limit).map_err(|error| refused(key, error))
}

/// The host's refusal of something that the settings ask for, in words.
pub(crate) fn refused(key: &str, error: Error) -> ConfigError {
    let problem = match error {
        Error::Denied => "the gateway's configuration does not grant this to the policy",
        Error::Limit => "over the cap that the gateway's configuration sets",
        Error::Conflict => "this name is in use with other values; give it another name",
        Error::Invalid => "the host does not take these values",
        Error::NotFound => "the host does not know it",
        Error::Timeout | Error::Unavailable => "the host cannot say now; try again",
    };
    ConfigError::at(key, problem)
}
