//! What can go wrong with an exchange: the kind (RFC 9209 names), whose side it was, whether trying again makes sense, the cause.
//!
//! Only `pipeline/respond.rs` turns a `ProxyError` into a status and words for the client; the cause goes to the log alone.

use std::borrow::Cow;
use std::fmt;

pub use crate::body::BoxError;

/// Whose side an error belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client sent something wrong, or went away.
    Client,
    /// The origin, or the way to it.
    Upstream,
    /// This gateway.
    Gateway,
}

/// Whether another attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never: it would fail again, or the answer has begun.
    No,
    /// The request may have been acted upon: only a method that is idempotent, with a body that can be sent again.
    IfIdempotent,
    /// Nothing of the request reached the peer: any method whose body can be sent again.
    Safe,
}

/// The kinds of error. Names are those of RFC 9209, section 2.3; a request's own faults share `http_request_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    DnsError,
    DnsTimeout,
    /// No upstream of that name, or no route.
    DestinationNotFound,
    /// Every endpoint is unhealthy, ejected or refused by a breaker.
    DestinationUnavailable,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionLimitReached,
    TlsProtocolError,
    TlsCertificateError,
    /// The request is at fault; the variant says how.
    Request(RequestFault),
    /// A policy, or the lack of one that works, refused the request.
    HttpRequestDenied,
    HttpResponseIncomplete,
    HttpResponseHeaderSectionSize,
    HttpResponseBodySize,
    HttpResponseTimeout,
    HttpUpgradeFailed,
    HttpProtocolError,
    ProxyConfigurationError,
    ProxyInternalError,
    /// A policy deferred the request, and there is no queue to put it in.
    NotDeferred,
    ProxyLoopDetected,
    /// The record of a durable route could not be made durable.
    RecordNotDurable(RecordFault),
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// Two readings are possible (both lengths, two hosts, ...): refused, never guessed.
    Ambiguous,
    /// Not a request this gateway can read.
    Malformed,
    TargetTooLong,
    HeadersTooLarge,
    BodyTooLarge,
    /// The body did not come in time.
    BodyTimeout,
    /// The client went away before its request was complete.
    Aborted,
    /// A policy does not let its body pass.
    Refused,
    NoRoute,
    MethodNotAllowed,
    Unsupported,
}

/// Why a record was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFault {
    /// The quota or the disk is full.
    Full,
    /// The outbox does not answer, or is closed.
    Unavailable,
}

impl Kind {
    /// The RFC 9209 name, for logs, metrics and policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DnsError => "dns_error",
            Self::DnsTimeout => "dns_timeout",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::Request(_) => "http_request_error",
            Self::HttpRequestDenied => "http_request_denied",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocolError => "http_protocol_error",
            Self::ProxyConfigurationError => "proxy_configuration_error",
            Self::ProxyInternalError | Self::RecordNotDurable(_) | Self::NotDeferred => {
                "proxy_internal_error"
            }
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }
}

/// An error of an exchange.
#[derive(Debug)]
pub struct ProxyError {
    pub kind: Kind,
    pub side: Side,
    pub retry: Retry,
    /// One sentence for the operator's log; the client gets words of its own from `respond.rs`.
    pub detail: Cow<'static, str>,
    pub cause: Option<BoxError>,
}

impl ProxyError {
    /// An error that another attempt would not mend.
    pub fn new(kind: Kind, side: Side, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            side,
            retry: Retry::No,
            detail: detail.into(),
            cause: None,
        }
    }

    /// A fault of the request.
    pub fn request(fault: RequestFault, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Request(fault), Side::Client, detail)
    }

    /// A fault of the gateway itself.
    pub fn internal(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::ProxyInternalError, Side::Gateway, detail)
    }

    /// A fault of an upstream, and whether another attempt may be made.
    pub fn upstream(kind: Kind, retry: Retry, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            retry,
            ..Self::new(kind, Side::Upstream, detail)
        }
    }

    /// With the error beneath it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)?;
        let mut next = self
            .cause
            .as_deref()
            .map(|cause| cause as &dyn std::error::Error);
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

// `source` stays empty: Display already tells the whole chain.
impl std::error::Error for ProxyError {}

/// The first error of type `E` in a chain of causes (hyper wraps ours, and ours wraps I/O errors).
pub fn cause_of<'e, E: std::error::Error + 'static>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
