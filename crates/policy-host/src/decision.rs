//! What policies decide, in the gateway's own words. A value here was checked: a guest's answer that breaks a limit never gets this far.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::FaultKind;

/// A response that a policy made up. Hop-by-hop fields and `content-length` are never in it: the gateway frames the body.
#[derive(Debug, Clone)]
pub struct LocalResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Which upstream is to serve the exchange, or one attempt of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChoice {
    pub upstream: String,
    /// Pins one endpoint; else the balancer picks.
    pub endpoint: Option<u32>,
    /// For consistent hashing, if the upstream uses it.
    pub hash_key: Option<u64>,
    pub timeout_ms: Option<u64>,
}

/// What the request or the response phase came to. A route that was chosen is in `ExchangeContext::route`.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    Continue,
    /// Answer this now, and reach no upstream.
    Respond(LocalResponse),
    /// Accept now, replay later.
    Defer,
    /// A policy with `on_fault = deny` could not decide.
    Unavailable(Unavailable),
}

/// What became of a piece of a body that policies watch, or of its trailers.
#[derive(Debug)]
#[must_use]
pub enum Passed<T = Bytes> {
    /// Send this on; it may be empty.
    On(T),
    /// A policy broke the message off: its name.
    BrokenOff(Arc<str>),
    /// A policy has an answer for the client in place of what would come: the message is broken off, and this is sent if no head was.
    Answered(Arc<str>, LocalResponse),
    Unavailable(Unavailable),
}

/// An exchange that ended, as complete hooks are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completed {
    pub status: u16,
    pub duration_us: u64,
    /// From the beginning of the attempt that brought the response to its head.
    pub upstream_us: Option<u64>,
    pub upstream: Option<String>,
    pub attempts: u32,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// `hit`, or why it was none (RFC 9211); empty if the cache was not asked.
    pub cache_status: String,
    pub client_aborted: bool,
}

/// One attempt to reach an upstream, about to begin or just ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    pub upstream: String,
    pub endpoint: Option<u32>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptOutcome {
    pub status: Option<u16>,
    /// RFC 9209 name (`connection_timeout`, `http_response_incomplete`, …), if no response came.
    pub error: Option<String>,
    pub latency_us: u64,
}

impl AttemptOutcome {
    /// What a breaker counts unless a policy said otherwise: no response, or one that blames the server.
    pub fn is_failure(&self) -> bool {
        self.error.is_some() || self.status.is_none_or(|status| status >= 500)
    }
}

/// What is to become of an attempt that is about to begin.
#[derive(Debug)]
#[must_use]
pub enum AttemptChoice {
    Default,
    Route(RouteChoice),
    Respond(LocalResponse),
    GiveUp,
    Unavailable(Unavailable),
}

/// What is to become of an attempt that ended. When policies differ: give-up before retry before accept.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    Accept,
    Retry,
    GiveUp,
    Unavailable(Unavailable),
}

/// Why a policy with `on_fault = deny` stopped an exchange: an answer of 503 for the client, this for the log.
#[derive(Debug, Clone)]
pub struct Unavailable {
    pub policy: Arc<str>,
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Fault(FaultKind),
    /// After repeated faults the module is left alone for a while.
    SetAside,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Fault(kind) => write!(f, "policy {}: {kind}", self.policy),
            Cause::SetAside => write!(f, "policy {}: set aside after repeated faults", self.policy),
        }
    }
}

/// A reason that a policy gave for what it decided: for the access log and the metrics label `reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub policy: Arc<str>,
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.policy, self.text)
    }
}
