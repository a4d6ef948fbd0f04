//! What can go wrong on a secured connection: the kind, whose fault it is, and whether to try again.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The other end broke a rule or refused us.
    Peer,
    /// The path between us: lost packets, no answer in time.
    Network,
    /// Our own configuration or code.
    Ours,
}

/// Certificates and keys that cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "cannot read {path}: {source}. Check that the file exists and that this user may read it."
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}. Check the directory and the free space.")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not valid PEM: {reason}. Expected blocks that begin with -----BEGIN.")]
    NotPem { path: PathBuf, reason: String },
    #[error(
        "{path} holds no certificate. Expected at least one block -----BEGIN CERTIFICATE-----."
    )]
    NoCertificate { path: PathBuf },
    #[error(
        "{path} holds no private key. Expected a block -----BEGIN PRIVATE KEY-----, RSA PRIVATE KEY or EC PRIVATE KEY."
    )]
    NoKey { path: PathBuf },
    #[error(
        "the key in {key} does not belong to the certificate in {chain}. Use the pair that was issued together."
    )]
    Mismatch { chain: PathBuf, key: PathBuf },
    #[error(
        "{path} is larger than {limit} bytes, far more than any certificate file. Is it the right file?"
    )]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("a certificate in {path} cannot be used: {reason}")]
    BadCertificate { path: PathBuf, reason: String },
    #[error("`{name}` is not a host name or an IP address that a certificate can carry")]
    BadName { name: String },
    #[error("cannot make a certificate: {0}")]
    Issue(String),
    #[error("these TLS settings cannot be used: {0}")]
    Settings(String),
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on UDP {addr}: {source}. Is another process using the port, and may this user open it?"
    )]
    Socket { addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the limit `{name}` is out of range for QUIC")]
    Limit { name: &'static str },
}

/// Why we end a request or a response early, as the other end will see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// We no longer want it.
    Cancelled,
    /// We failed in the middle.
    Internal,
    /// We never began to work on it: safe to send again.
    Rejected,
    /// It takes more than we give.
    ExcessiveLoad,
    /// It is not well-formed.
    Malformed,
}

impl Reset {
    /// The HTTP/3 error code (RFC 9114, section 8.1).
    pub fn code(self) -> u64 {
        match self {
            Reset::Cancelled => 0x10c,
            Reset::Internal => 0x102,
            Reset::Rejected => 0x10b,
            Reset::ExcessiveLoad => 0x107,
            Reset::Malformed => 0x10e,
        }
    }
}

/// What went wrong on an HTTP/3 connection or one of its streams.
#[derive(Debug, Clone, thiserror::Error)]
pub enum H3Error {
    #[error("no answer from {addr} within {seconds} s. Is it running, and does UDP reach it?")]
    ConnectTimeout { addr: SocketAddr, seconds: u64 },
    #[error("the connection was silent for too long and was given up")]
    IdleTimeout,
    #[error(
        "the other end refused our certificate ({alert}). Is it issued by an authority that the other end trusts, and in date?"
    )]
    OurCertificateRefused { alert: &'static str },
    #[error(
        "the other end's certificate is not to be trusted: {reason}. Is it issued by a trusted authority, for this name, and in date?"
    )]
    PeerCertificateInvalid { reason: String },
    #[error("the TLS handshake failed: {reason}")]
    Handshake { reason: String },
    #[error("the other end closed the connection: {reason}")]
    ClosedByPeer { code: u64, reason: String },
    #[error("the connection was closed by us")]
    ClosedByUs,
    #[error("the other end is shutting down and takes no new request on this connection")]
    GoingAway,
    #[error("the other end broke the protocol: {reason}")]
    Protocol { reason: String },
    #[error("the other end reset the stream with code {code:#x}")]
    ResetByPeer { code: u64 },
    #[error("the header fields take {actual} bytes; the limit is {limit}")]
    FieldsTooLarge { actual: u64, limit: u64 },
    #[error("the body has {actual} bytes where content-length says {expected}")]
    LengthMismatch { expected: u64, actual: u64 },
    #[error("the request's header fields did not arrive within {seconds} s")]
    HeaderTimeout { seconds: u64 },
    #[error(
        "the other end abandoned {aborted} requests on this connection, more than it let finish"
    )]
    TooManyAborts { aborted: u64 },
    #[error("a fault of our own: {reason}")]
    Internal { reason: String },
}

impl H3Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        use H3Error::*;
        match self {
            ConnectTimeout { .. } | IdleTimeout => Fault::Network,
            OurCertificateRefused { .. } | ClosedByUs | Internal { .. } => Fault::Ours,
            PeerCertificateInvalid { .. }
            | Handshake { .. }
            | ClosedByPeer { .. }
            | GoingAway
            | Protocol { .. }
            | ResetByPeer { .. }
            | FieldsTooLarge { .. }
            | LengthMismatch { .. }
            | HeaderTimeout { .. }
            | TooManyAborts { .. } => Fault::Peer,
        }
    }

    /// Whether the connection itself is gone (not only one stream of it).
    pub fn ends_connection(&self) -> bool {
        use H3Error::*;
        match self {
            ConnectTimeout { .. }
            | IdleTimeout
            | OurCertificateRefused { .. }
            | PeerCertificateInvalid { .. }
            | Handshake { .. }
            | ClosedByPeer { .. }
            | ClosedByUs
            | GoingAway
            | Protocol { .. }
            | TooManyAborts { .. }
            | Internal { .. } => true,
            ResetByPeer { .. }
            | FieldsTooLarge { .. }
            | LengthMismatch { .. }
            | HeaderTimeout { .. } => false,
        }
    }

    /// Whether the request certainly had no effect, so that even an unsafe one may be sent again elsewhere.
    pub fn never_processed(&self) -> bool {
        use H3Error::*;
        match self {
            ConnectTimeout { .. }
            | OurCertificateRefused { .. }
            | PeerCertificateInvalid { .. }
            | Handshake { .. }
            | GoingAway => true,
            ResetByPeer { code } => *code == Reset::Rejected.code(),
            _ => false,
        }
    }

    /// Whether trying again later may help, with no change made by a person.
    pub fn retryable(&self) -> bool {
        use H3Error::*;
        match self {
            ConnectTimeout { .. }
            | IdleTimeout
            | ClosedByPeer { .. }
            | GoingAway
            | ResetByPeer { .. }
            | HeaderTimeout { .. } => true,
            OurCertificateRefused { .. }
            | PeerCertificateInvalid { .. }
            | Handshake { .. }
            | ClosedByUs
            | Protocol { .. }
            | FieldsTooLarge { .. }
            | LengthMismatch { .. }
            | TooManyAborts { .. }
            | Internal { .. } => false,
        }
    }
}

/// Sending a message failed: on the connection, or because its body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E> {
    #[error(transparent)]
    H3(#[from] H3Error),
    #[error("the body ended early: {0}")]
    Body(E),
}
