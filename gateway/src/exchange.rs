//! One request and its response in flight: who asked, and what became of it.
//!
//! `Summary` is the one account of an exchange that ended: the access log, the metrics and the record are all made of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Kind;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    H1,
    H2,
    H3,
}

impl Protocol {
    /// The short name, for labels and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }

    /// As written in `Via`.
    pub const fn via(self) -> &'static str {
        match self {
            Self::H1 => "1.1",
            Self::H2 => "2",
            Self::H3 => "3",
        }
    }
}

/// 128 random bits that name an exchange in logs, records and the `x-request-id` header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The connection that an exchange came on. One per connection, shared by its exchanges.
#[derive(Debug, Clone)]
pub struct Client {
    pub addr: SocketAddr,
    /// The gateway's own address that was reached.
    pub local: SocketAddr,
    pub protocol: Protocol,
    pub tls: bool,
    pub sni: Option<Arc<str>>,
    /// The name in the client's certificate, where the listener asked for one.
    pub peer: Option<Arc<str>>,
}

/// Where a response came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Upstream,
    Cache,
    StaleCache,
    Fhe,
    /// A policy's answer, or the gateway's own (errors).
    Local,
}

impl Source {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Cache => "cache",
            Self::StaleCache => "stale-cache",
            Self::Fhe => "fhe",
            Self::Local => "local",
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The whole response was handed to the client's connection.
    Complete,
    /// The client went away first.
    ClientAborted,
    /// The response body broke off on the upstream's side.
    ResponseFailed,
}

impl Ending {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientAborted => "client_aborted",
            Self::ResponseFailed => "response_failed",
        }
    }
}

/// The account of an exchange that ended.
#[derive(Debug, Clone)]
pub struct Summary {
    pub id: RequestId,
    pub received_ms: u64,
    pub client: SocketAddr,
    pub protocol: Protocol,
    /// The route's name; `None` if the request matched none or was refused before.
    pub route: Option<Arc<str>>,
    pub method: http::Method,
    pub authority: String,
    /// Path without query: queries carry secrets.
    pub path: String,
    pub status: u16,
    pub source: Source,
    pub upstream: Option<Arc<str>>,
    pub endpoint: Option<String>,
    pub attempts: u32,
    /// `hit`, or why it was not one (RFC 9211); empty if the cache was not asked.
    pub cache: &'static str,
    pub duration: Duration,
    /// Until the response's header section was ready.
    pub header_after: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub error: Option<Kind>,
    pub ending: Ending,
    pub reasons: Vec<String>,
    pub tenant: Option<String>,
}
