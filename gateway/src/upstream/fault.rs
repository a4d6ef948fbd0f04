//! Reads the errors of sockets, TLS and hyper as `ProxyError`s: RFC 9209 kind, whose side, whether to try again.

use std::io;
use std::time::Duration;

use crate::body::{BodyError, Refusal};
use crate::error::{Kind, ProxyError, RequestFault, Retry, Side, cause_of};

/// How far an attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not a byte of the request left.
    Unsent,
    /// Some, or all, of it may have arrived.
    Sent,
}

impl Progress {
    fn retry(self) -> Retry {
        match self {
            Self::Unsent => Retry::Safe,
            Self::Sent => Retry::IfIdempotent,
        }
    }
}

/// A connection that could not be opened.
pub fn of_connect(error: io::Error, address: &str) -> ProxyError {
    let (kind, said) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (Kind::ConnectionRefused, "refused the connection"),
        io::ErrorKind::TimedOut => (Kind::ConnectionTimeout, "did not answer"),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => {
            (Kind::ConnectionTerminated, "closed the connection at once")
        }
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => (Kind::DestinationUnavailable, "cannot be reached"),
        // File descriptors or ports ran out, most often.
        _ => (Kind::ConnectionTerminated, "could not be connected to"),
    };
    ProxyError::upstream(kind, Retry::Safe, format!("{address} {said}")).because(error)
}

/// A name that does not resolve.
pub fn of_lookup(error: io::Error, address: &str) -> ProxyError {
    let detail = format!("the name in {address} does not resolve");
    ProxyError::upstream(Kind::DnsError, Retry::Safe, detail).because(error)
}

/// A TLS handshake that failed.
pub fn of_tls(error: io::Error, address: &str) -> ProxyError {
    // The TLS crate's own error type is not named here: only `transport` does that. Its text for a certificate that does
    // not verify begins like this, on every version of TLS.
    let certificate = error.to_string().contains("certificate");
    let (kind, said) = if certificate {
        (
            Kind::TlsCertificateError,
            "showed a certificate that does not verify",
        )
    } else {
        (Kind::TlsProtocolError, "failed the TLS handshake")
    };
    ProxyError::upstream(kind, Retry::Safe, format!("{address} {said}")).because(error)
}

/// Opening a connection took too long.
pub fn connect_timeout(address: &str, after: Duration) -> ProxyError {
    let detail = format!("{address} could not be connected to within {after:?}");
    ProxyError::upstream(Kind::ConnectionTimeout, Retry::Safe, detail)
}

/// No header section came in time.
pub fn response_timeout(address: &str, after: Duration) -> ProxyError {
    let detail = format!("{address} sent no response within {after:?}");
    ProxyError::upstream(Kind::HttpResponseTimeout, Retry::IfIdempotent, detail)
}

/// What hyper says of a request and its response's head.
pub fn of_exchange(error: hyper::Error, address: &str, progress: Progress) -> ProxyError {
    if let Some(body) = cause_of::<BodyError>(&error) {
        return of_request_body(body);
    }
    let retry = progress.retry();
    let reset = cause_of::<io::Error>(&error).is_some();
    let (kind, said) = if error.is_parse_too_large() {
        (
            Kind::HttpResponseHeaderSectionSize,
            "sent a header section past the limit",
        )
    } else if error.is_parse() || error.is_parse_status() {
        (Kind::HttpProtocolError, "sent what is not HTTP")
    } else if reset || error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        (
            Kind::ConnectionTerminated,
            "closed the connection before it answered",
        )
    } else if error.is_timeout() {
        (Kind::ConnectionReadTimeout, "stopped answering")
    } else {
        (Kind::HttpProtocolError, "broke the protocol")
    };
    // A response that was refused for its form would be refused again.
    let retry = match kind {
        Kind::HttpResponseHeaderSectionSize | Kind::HttpProtocolError
            if progress == Progress::Sent =>
        {
            Retry::No
        }
        _ => retry,
    };
    ProxyError::upstream(kind, retry, format!("{address} {said}")).because(error)
}

/// The client's body failed while it was being sent on.
pub fn of_request_body(error: &BodyError) -> ProxyError {
    let fault = match error {
        BodyError::TooLarge { .. } => RequestFault::BodyTooLarge,
        BodyError::Stalled(_) => RequestFault::BodyTimeout,
        BodyError::Incomplete(_) => RequestFault::Aborted,
        BodyError::Cancelled(why) => return ProxyError::internal(*why),
        BodyError::Refused(Refusal::ByPolicy(_)) => RequestFault::Refused,
        BodyError::Refused(Refusal::Unavailable(why)) => {
            return ProxyError::new(Kind::HttpRequestDenied, Side::Gateway, why.clone());
        }
    };
    ProxyError::request(fault, error.to_string())
}

/// The response's body failed while it was gathered for a policy.
pub fn of_response_body(error: &BodyError) -> ProxyError {
    let kind = match error {
        BodyError::TooLarge { .. } => Kind::HttpResponseBodySize,
        BodyError::Stalled(_) => Kind::ConnectionReadTimeout,
        BodyError::Incomplete(_) => Kind::HttpResponseIncomplete,
        BodyError::Cancelled(why) => return ProxyError::internal(*why),
        BodyError::Refused(refusal) => return of_refused_response(refusal),
    };
    ProxyError::new(kind, Side::Upstream, error.to_string())
}

/// A policy does not let the response pass, and its head is still here.
pub fn of_refused_response(refusal: &Refusal) -> ProxyError {
    let kind = match refusal {
        Refusal::ByPolicy(_) => Kind::HttpResponseIncomplete,
        Refusal::Unavailable(_) => Kind::HttpRequestDenied,
    };
    ProxyError::new(kind, Side::Gateway, refusal.to_string())
}

/// Too many requests in flight to one endpoint.
pub fn limit_reached(address: &str, limit: usize) -> ProxyError {
    let detail = format!("{address} has {limit} requests in flight already");
    ProxyError::upstream(Kind::ConnectionLimitReached, Retry::Safe, detail)
}

/// A response of 101 to a request that asked for no upgrade.
pub fn unasked_upgrade(address: &str) -> ProxyError {
    let detail = format!("{address} switched protocols unasked");
    ProxyError::upstream(Kind::HttpUpgradeFailed, Retry::No, detail)
}

/// Whether an attempt that failed so says anything about the endpoint.
pub fn blames_endpoint(error: &ProxyError) -> bool {
    error.side == Side::Upstream && error.kind != Kind::ConnectionLimitReached
}
