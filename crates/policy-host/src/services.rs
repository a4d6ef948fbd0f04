//! What the gateway does for policies beyond the exchange at hand. Each is a trait that the gateway implements; without it the
//! capability answers as if there were nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use crate::limit_store::SharedLimits;

/// The services of one gateway.
#[derive(Clone, Default)]
pub struct Services {
    pub cache: Option<Arc<dyn CacheControl>>,
    pub calls: Option<Arc<dyn OutboundCalls>>,
    pub records: Option<Arc<dyn PolicyRecords>>,
    /// For policies whose limits are shared with other gateways.
    pub limits: Option<SharedLimits>,
}

/// The cache store, beyond the exchange at hand.
pub trait CacheControl: Send + Sync {
    /// Removes what is stored under this tag; how many responses that were. Never waits.
    fn purge_tag(&self, tag: &str) -> u32;
}

/// What a service comes to, later. Dropping it gives up.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, ServiceError>> + Send>>;

/// Why a service did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceError {
    /// There is no such thing.
    NotFound,
    /// The answer, or what waits, is over a limit.
    Limit,
    Timeout,
    Unavailable,
}

/// One request of a policy's own; checked.
#[derive(Debug, Clone)]
pub struct OutboundCall {
    pub upstream: String,
    pub method: Method,
    pub path_and_query: PathAndQuery,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Until the whole reply is there.
    pub timeout: Duration,
    /// A longer reply is `ServiceError::Limit`.
    pub max_reply_bytes: usize,
}

#[derive(Debug, Clone)]
pub struct OutboundReply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Requests to the gateway's upstreams, apart from any exchange.
pub trait OutboundCalls: Send + Sync {
    fn send(&self, call: OutboundCall) -> Later<OutboundReply>;
}

/// What a policy tells the centre.
#[derive(Debug, Clone)]
pub struct PolicyRecord {
    pub policy: Arc<str>,
    pub kind: String,
    /// Of the exchange at hand; empty if there is none.
    pub exchange: String,
    pub t_ms: u64,
    pub body: Vec<u8>,
}

/// The outbox.
pub trait PolicyRecords: Send + Sync {
    /// Its sequence number, once it is on disk.
    fn append(&self, record: PolicyRecord) -> Later<u64>;
}
