//! One request and its response in flight: who asked, and what became of it.
//!
//! `Summary` is the one account of an exchange that ended: the access log, the metrics and the record are all made of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use policy_host::Reason;

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

    /// The protocol of a request.
    pub fn of(version: http::Version) -> Self {
        match version {
            http::Version::HTTP_3 => Self::H3,
            http::Version::HTTP_2 => Self::H2,
            _ => Self::H1,
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
#[derive(Debug)]
pub struct Client {
    pub addr: SocketAddr,
    pub tls: bool,
    pub sni: Option<Arc<str>>,
    /// The DNS name in the client's certificate, where the listener asked for one.
    pub peer: Option<Arc<str>>,
    /// The value of `x-forwarded-for`, made once.
    pub forwarded_for: HeaderValue,
    /// The value of `alt-svc` on answers, if the listener announces h3.
    pub alt_svc: Option<HeaderValue>,
    pub activity: Activity,
}

impl Client {
    /// A connection from `addr` that nothing more is known of.
    pub fn new(addr: SocketAddr, tls: bool) -> Self {
        // A dual-stack socket shows IPv4 clients as mapped addresses.
        let ip = addr.ip().to_canonical();
        let forwarded_for =
            HeaderValue::try_from(ip.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self {
            addr: SocketAddr::new(ip, addr.port()),
            tls,
            sni: None,
            peer: None,
            forwarded_for,
            alt_svc: None,
            activity: Activity::new(),
        }
    }
}

/// What a connection is doing, for its idle and header timeouts. Times are milliseconds since it began.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    in_flight: AtomicUsize,
    /// When the last exchange ended (or the connection began).
    quiet_since: AtomicU64,
    /// When the first byte after that arrived; 0 for none yet.
    heard_at: AtomicU64,
    /// Since when the client takes nothing of what is written; 0 while it does.
    stuck_since: AtomicU64,
}

/// What a connection that serves nothing is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// An exchange is in flight.
    Busy,
    /// The same, and for so long the client has taken nothing of the answer.
    Stuck(Duration),
    /// Nothing came for so long.
    Silent(Duration),
    /// A request's head began to arrive so long ago, and is not complete.
    Hearing(Duration),
}

impl Activity {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            in_flight: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            stuck_since: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// An exchange began.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    /// An exchange ended.
    pub fn end(&self) {
        self.quiet_since.store(self.now(), Ordering::Release);
        self.heard_at.store(0, Ordering::Release);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Bytes arrived.
    pub fn heard(&self) {
        if self.in_flight.load(Ordering::Acquire) == 0 && self.heard_at.load(Ordering::Acquire) == 0
        {
            self.heard_at.store(self.now().max(1), Ordering::Release);
        }
    }

    /// A write was taken, or must wait.
    pub fn wrote(&self, taken: bool) {
        if taken {
            if self.stuck_since.load(Ordering::Relaxed) != 0 {
                self.stuck_since.store(0, Ordering::Relaxed);
            }
        } else if self.stuck_since.load(Ordering::Relaxed) == 0 {
            self.stuck_since.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// What the connection does now.
    pub fn quiet(&self) -> Quiet {
        let now = self.now();
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return match self.stuck_since.load(Ordering::Relaxed) {
                0 => Quiet::Busy,
                since => Quiet::Stuck(Duration::from_millis(now.saturating_sub(since))),
            };
        }
        match self.heard_at.load(Ordering::Acquire) {
            0 => Quiet::Silent(Duration::from_millis(
                now.saturating_sub(self.quiet_since.load(Ordering::Acquire)),
            )),
            heard => Quiet::Hearing(Duration::from_millis(now.saturating_sub(heard))),
        }
    }
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
    /// From the beginning of the attempt that brought the response to its head; `None` if none did.
    pub upstream_after: Option<Duration>,
    /// `hit`, or why it was not one (RFC 9211); empty if the cache was not asked.
    pub cache: &'static str,
    pub duration: Duration,
    /// Until the response's header section was ready.
    pub header_after: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub error: Option<Kind>,
    pub ending: Ending,
    pub reasons: Vec<Reason>,
    pub tenant: Option<String>,
}

impl Summary {
    /// What is known of an exchange when it begins.
    pub fn begun(
        id: RequestId,
        received_ms: u64,
        client: SocketAddr,
        protocol: Protocol,
        method: http::Method,
    ) -> Self {
        Self {
            id,
            received_ms,
            client,
            protocol,
            route: None,
            method,
            authority: String::new(),
            path: String::new(),
            status: 0,
            source: Source::Local,
            upstream: None,
            endpoint: None,
            attempts: 0,
            upstream_after: None,
            cache: "",
            duration: Duration::ZERO,
            header_after: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
            error: None,
            ending: Ending::ClientAborted,
            reasons: Vec::new(),
            tenant: None,
        }
    }
}
