//! What a shared HTTP cache may do, as pure functions of (now, request, stored): RFC 9111, with RFC 5861
//! (stale-while-revalidate, stale-if-error) and RFC 9211 (`Cache-Status`).
//!
//! Invariants:
//! - no clock, no store, no socket: time is an argument, and what is returned is a decision for the caller to carry out;
//! - the cache is a *shared* one: `private`, `no-store` and `Authorization` are never overridden by anybody;
//! - a malformed directive never makes a response fresher: in doubt it is stale (RFC 9111, section 4.2.1).
//!
//! The order of use: [`storable`] and [`Meta::new`] when a response arrives, [`evaluate`] when a request meets a stored
//! response, [`on_error`] when the origin did not answer, [`conditional_headers`] and [`freshen`] around a validation, [`client_has_it`] before the stored body is
//! sent, [`invalidates`] after an unsafe method.
//!
//! Deviations from the letter of the RFCs, with reasons:
//! - `stale-while-revalidate` and `stale-if-error` named by the *origin* hold beside `s-maxage` (RFC 9111 forbids stale
//!   answers there): origins that send both, as common frameworks do, have asked for it. A policy's do not.
//! - qualified `private="field"` and `no-cache="field"` are treated as the unqualified forms (both RFCs allow it).
//! - a response that sets a cookie is stored only if the origin itself names a lifetime.
//! - partial content (206) is never stored, and `Range` requests pass the cache by.

mod directives;
mod evaluate;
mod freshness;
mod invalidate;
mod status;
mod storable;
mod validate;
mod vary;

pub use directives::{MaxStale, RequestDirectives, ResponseDirectives};
pub use evaluate::{OnError, Verdict, bypasses, evaluate, on_error};
pub use freshness::{Lifetime, Meta, Override, Source};
pub use invalidate::{Target, invalidates, is_safe};
pub use status::{CacheStatus, Forward, Outcome};
pub use storable::{Refusal, storable};
pub use validate::{
    client_has_it, conditional_headers, freshen, not_modified_headers, updates,
    without_connection_fields,
};
pub use vary::{VaryKey, VaryRefusal};
