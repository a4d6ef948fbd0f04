//! quinn's and h3's errors in our words. The connection's own reason is asked first: it says most.

use h3::error::{ConnectionError, StreamError};
use quinn::ConnectionError as Quic;

use crate::error::H3Error;
use crate::quic::FrameFault;

/// CRYPTO_ERROR (RFC 9001, section 4.8): 0x100 plus the TLS alert.
const CRYPTO_ERROR: u64 = 0x100;

/// H3_NO_ERROR.
pub(crate) const NO_ERROR: u64 = 0x100;

pub(crate) fn connection(error: ConnectionError, quic: &quinn::Connection) -> H3Error {
    if let Some(reason) = quic.close_reason() {
        return closed(reason, Some(&error));
    }
    match error {
        ConnectionError::Timeout { .. } => H3Error::IdleTimeout,
        other => H3Error::Protocol {
            reason: other.to_string(),
        },
    }
}

pub(crate) fn stream(error: StreamError, quic: &quinn::Connection) -> H3Error {
    match error {
        StreamError::ConnectionError { 0: error, .. } => connection(error, quic),
        StreamError::RemoteTerminate { code, .. } => H3Error::ResetByPeer { code: code.value() },
        StreamError::HeaderTooBig {
            actual_size,
            max_size,
            ..
        } => H3Error::FieldsTooLarge {
            actual: actual_size,
            limit: max_size,
        },
        StreamError::Undefined { 0: error, .. } => frame(error.as_ref(), quic),
        StreamError::RemoteClosing { .. } => H3Error::GoingAway,
        other => match quic.close_reason() {
            Some(reason) => closed(reason, None),
            None => H3Error::Protocol {
                reason: other.to_string(),
            },
        },
    }
}

/// What our own reading of the stream found wrong.
fn frame(error: &(dyn std::error::Error + 'static), quic: &quinn::Connection) -> H3Error {
    match (error.downcast_ref::<FrameFault>(), quic.close_reason()) {
        (
            Some(FrameFault::TooLong {
                declared, limit, ..
            }),
            _,
        ) => H3Error::FieldsTooLarge {
            actual: *declared,
            limit: *limit,
        },
        (Some(FrameFault::Truncated) | None, Some(reason)) => closed(reason, None),
        (Some(FrameFault::Truncated) | None, None) => H3Error::Protocol {
            reason: error.to_string(),
        },
    }
}

/// Why a connection is closed. `seen` is what h3 found wrong, if it was h3 that closed it.
pub(crate) fn closed(reason: Quic, seen: Option<&ConnectionError>) -> H3Error {
    match reason {
        Quic::TimedOut => H3Error::IdleTimeout,
        Quic::Reset => H3Error::ClosedByPeer {
            code: 0,
            reason: "it has restarted and knows nothing of this connection".to_owned(),
        },
        Quic::ApplicationClosed(close) => H3Error::ClosedByPeer {
            code: close.error_code.into_inner(),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        Quic::ConnectionClosed(close) => refused(
            u64::from(close.error_code),
            &String::from_utf8_lossy(&close.reason),
        ),
        Quic::TransportError(error) => ours(u64::from(error.code), error.reason),
        Quic::LocallyClosed => match seen {
            Some(error) if !error.is_h3_no_error() => H3Error::Protocol {
                reason: error.to_string(),
            },
            _ => H3Error::ClosedByUs,
        },
        Quic::VersionMismatch => H3Error::Handshake {
            reason: "no version of QUIC that both ends speak".to_owned(),
        },
        Quic::CidsExhausted => H3Error::Internal {
            reason: "no connection ids are left".to_owned(),
        },
    }
}

/// The other end closed at the transport level.
fn refused(code: u64, reason: &str) -> H3Error {
    let Some(alert) = alert(code) else {
        return match code {
            0x2 => H3Error::ClosedByPeer {
                code,
                reason: "it refuses new connections".to_owned(),
            },
            _ => H3Error::ClosedByPeer {
                code,
                reason: format!("transport error {code:#x} {reason}"),
            },
        };
    };
    match alert {
        // The alerts that speak of a certificate (RFC 8446, section 6.2).
        42 => H3Error::OurCertificateRefused {
            alert: "bad certificate",
        },
        43 => H3Error::OurCertificateRefused {
            alert: "unsupported certificate",
        },
        44 => H3Error::OurCertificateRefused {
            alert: "certificate revoked",
        },
        45 => H3Error::OurCertificateRefused {
            alert: "certificate expired",
        },
        46 => H3Error::OurCertificateRefused {
            alert: "certificate unknown",
        },
        48 => H3Error::OurCertificateRefused {
            alert: "unknown authority",
        },
        51 => H3Error::OurCertificateRefused {
            alert: "bad signature",
        },
        116 => H3Error::OurCertificateRefused {
            alert: "a client certificate is required",
        },
        other => H3Error::Handshake {
            reason: format!("the other end sent TLS alert {other} {reason}"),
        },
    }
}

/// We closed at the transport level.
fn ours(code: u64, reason: String) -> H3Error {
    match alert(code) {
        Some(42..=51) => H3Error::PeerCertificateInvalid { reason },
        Some(_) => H3Error::Handshake { reason },
        None => H3Error::Protocol { reason },
    }
}

fn alert(code: u64) -> Option<u64> {
    code.checked_sub(CRYPTO_ERROR)
        .filter(|alert| *alert <= 0xff)
}
