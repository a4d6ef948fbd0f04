//! The trait that a policy implements: one method per hook, each with an empty default.

use crate::attempt::{Attempt, Choice, Outcome, Verdict};
use crate::config::Settings;
use crate::decision::{BodyDecision, ChunkAction};
use crate::{ConfigError, Decision, Request, Response, Summary};

/// A policy. The world named in `export_policy!` says which of these hooks the host calls; the others are never called.
pub trait Policy: Sized + 'static {
    /// The settings, as the operator writes them: any `Deserialize`, or a type that reads them by hand. Unknown keys are refused
    /// whatever this type says.
    type Config: Settings;

    /// Once per instance, before any other hook. An error refuses the roll-out; the version in force stays.
    fn configure(config: Self::Config) -> Result<Self, ConfigError>;

    /// The request's head is known and nothing was done for it yet.
    fn on_request(&self, _request: &mut Request) -> Decision {
        Decision::next()
    }

    /// The whole request body, if `on_request` asked for it (`BodyNeed::Whole`).
    fn on_request_body(&self, _request: &mut Request, _body: Vec<u8>) -> BodyDecision {
        BodyDecision::default()
    }

    /// A piece of the request's body on its way to the upstream, if `on_request` asked for it (`BodyNeed::Watch`).
    fn on_request_chunk(&self, _request: &Request, _chunk: Vec<u8>, _end: bool) -> ChunkAction {
        ChunkAction::Keep
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

    /// The whole response body, if `on_response` asked for it; the answer replaces it.
    fn on_response_body(&self, _request: &Request, _body: Vec<u8>) -> Option<Vec<u8>> {
        None
    }

    /// A piece of the response's body on its way to the client, if `on_response` asked for it.
    fn on_response_chunk(&self, _request: &Request, _chunk: Vec<u8>, _end: bool) -> ChunkAction {
        ChunkAction::Keep
    }

    /// The exchange has ended; off the critical path.
    fn on_complete(&self, _request: &Request, _summary: &Summary) {}

    /// Every `tick` of the operator's configuration, in one instance; there is no exchange.
    fn on_tick(&self) {}
}
