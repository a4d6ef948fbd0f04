//! The host's limiters: one atomic decision per call, right across threads and instances.
//!
//! Define them in `Policy::configure` and keep the handles; the same name with the same spec is the same limiter everywhere.

use crate::ConfigError;
use crate::bindings::veilgate::policy::limits;

pub use crate::bindings::veilgate::policy::types::Error;
pub use limits::{Algorithm, Gate, Limiter, Spec, Verdict};

/// One part of a decision over several limiters.
#[derive(Debug)]
pub struct Share<'a> {
    pub limiter: &'a Limiter,
    pub key: String,
    pub cost: u64,
}

/// Takes from all of them or from none; the verdict is the tightest one.
pub fn take_all(shares: &[Share<'_>]) -> Verdict {
    let shares: Vec<limits::Share<'_>> = shares
        .iter()
        .map(|share| limits::Share {
            limiter: share.limiter,
            key: share.key.clone(),
            cost: share.cost,
        })
        .collect();
    limits::take_all(&shares)
}

/// Defines a limiter; an error names `key`, the setting that it comes from.
pub fn define(key: &str, name: &str, spec: Spec) -> Result<Limiter, ConfigError> {
    Limiter::define(name, spec).map_err(|error| refused(key, error))
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
