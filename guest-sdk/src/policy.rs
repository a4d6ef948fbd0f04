//! The trait that a policy implements: one method per hook, each with an empty default.

use serde::de::DeserializeOwned;

use crate::attempt::{Attempt, Choice, Outcome, Verdict};
use crate::{ConfigError, Decision, Request, Response};

/// A policy. The world named in `export_policy!` says which of these hooks the host calls; the others are never called.
pub trait Policy: Sized + 'static {
    /// The settings, as the operator writes them. Unknown keys are refused whatever this type says.
    type Config: DeserializeOwned;

    /// Once per instance, before any other hook. An error refuses the roll-out; the version in force stays.
    fn configure(config: Self::Config) -> Result<Self, ConfigError>;

    /// The request's head is known and nothing was done for it yet.
    fn on_request(&self, _request: &mut Request) -> Decision {
        Decision::next()
    }

    /// An attempt to reach an upstream is about to begin. Not called on cache hits.
    fn before_attempt(&self, _request: &Request, _attempt: &Attempt) -> Choice {
        Choice::Default
    }

    /// That attempt has ended, with a response's head or with an error.
    fn after_attempt(&self, _request: &Request, _attempt: &Attempt, _outcome: &Outcome) -> Verdict {
        Verdict::Accept
    }

    /// The response's head is known, whatever its source.
    fn on_response(&self, _request: &Request, _response: &mut Response) -> Decision {
        Decision::next()
    }
}
