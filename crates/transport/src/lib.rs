//! Encrypted transports: TLS over TCP, and HTTP/3 over QUIC, both ends of each.
//!
//! The one crate that names rustls, quinn, h3 and rcgen, so that the gateway, `sync` and the aggregator share one
//! set of limits, one set of errors and one way to read a key file. It moves bytes and messages; it knows no route,
//! no policy and no record.
//!
//! - [`tls`]: identities and trust, read from PEM files once and checked; server and client settings made of them.
//! - [`certs`]: a small certificate authority for tests, demos and closed installations.
//! - [`tcp`]: TLS on a TCP stream, for HTTP/1.1 and HTTP/2.
//! - [`h3server`], [`h3client`]: HTTP/3, streaming both ways with back-pressure.
//! - [`limits`]: every limit of the QUIC side, with its reason.
//!
//! Invariants: TLS 1.2 is the least that is spoken, and 1.3 on QUIC; 0-RTT is off everywhere; a response or a request
//! that was not sent to its end is reset, never finished short; no memory grows with what a peer sends beyond the
//! limits named.

pub mod certs;
pub mod error;
pub mod h3client;
pub mod h3server;
pub mod limits;
pub mod tcp;
pub mod tls;

mod body;
mod peer;
mod quic;
mod quic_error;

pub use body::RecvBody;
pub use error::{BindError, Fault, H3Error, Reset, SendError, TlsError};
pub use limits::QuicLimits;
pub use peer::PeerIdentity;
pub use quic::WireStats;
pub use tls::{ClientAuth, ClientTls, Identity, Protocol, ServerTls, TrustRoots};
