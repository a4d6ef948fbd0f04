//! Attempts to reach an upstream: what a policy is told of them, and what it may answer.

use crate::bindings::exports::veilgate::policy::{attempt_hook, outcome_hook};

pub use crate::bindings::veilgate::policy::types::Attempt;
pub use attempt_hook::Choice;
pub use outcome_hook::{Outcome, Verdict};

/// RFC 9209 error names that say that no byte of the request reached the upstream's application: trying elsewhere is safe.
pub const NEVER_CONNECTED: &[&str] = &[
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
];

/// Methods that may be repeated (RFC 9110, 9.2.2).
pub const IDEMPOTENT: &[&str] = &["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
