//! What a policy may know of the gateway's upstreams. The gateway implements `UpstreamView`; this crate only passes it on.

#[derive(Debug, Clone, PartialEq)]
pub struct EndpointView {
    pub id: u32,
    pub address: String,
    pub healthy: bool,
    pub weight: u32,
    pub in_flight: u32,
    pub ewma_us: u64,
    pub zone: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpstreamStats {
    pub healthy: u32,
    pub total: u32,
    pub in_flight: u32,
    /// Requests per second, lately.
    pub rate: f64,
    /// 0 to 1, lately.
    pub error_rate: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    #[error("no such upstream or endpoint")]
    NotFound,
    #[error("not allowed")]
    Denied,
    #[error("not known at the moment")]
    Unavailable,
}

/// The calls are made on the request path: they must not wait.
pub trait UpstreamView: Send + Sync {
    fn names(&self) -> Vec<String>;
    fn endpoints(&self, upstream: &str) -> Result<Vec<EndpointView>, UpstreamError>;
    fn stats_of(&self, upstream: &str) -> Result<UpstreamStats, UpstreamError>;
    fn eject(&self, upstream: &str, endpoint: u32, for_ms: u64) -> Result<(), UpstreamError>;
}
