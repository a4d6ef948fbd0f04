//! What policies see of the upstreams, and the one thing they may change: to leave an endpoint alone for a while.

use std::sync::atomic::Ordering;
use std::time::Duration;

use policy_host::{EndpointView, UpstreamError, UpstreamStats, UpstreamView};

use super::health::Standing;
use super::stats::Window;
use super::{Upstream, Upstreams};

impl Upstream {
    /// Every endpoint as it is now.
    pub fn endpoint_views(&self) -> Vec<EndpointView> {
        let view = |endpoint: &super::endpoint::Endpoint| {
            let now = endpoint.now();
            EndpointView {
                id: endpoint.id,
                address: endpoint.address().to_owned(),
                healthy: endpoint.health.standing(now) == Standing::Usable,
                weight: endpoint.weight,
                in_flight: endpoint.in_flight.load(Ordering::Relaxed),
                ewma_us: endpoint.stats.lock().ewma_us(now) as u64,
                zone: endpoint.zone.clone(),
            }
        };
        self.endpoints()
            .iter()
            .map(|endpoint| view(endpoint))
            .collect()
    }

    /// All endpoints together, over the last ten to twenty seconds.
    pub fn stats(&self) -> UpstreamStats {
        let mut sum = Window::empty();
        let (mut healthy, mut in_flight) = (0, 0);
        for endpoint in self.endpoints() {
            let now = endpoint.now();
            sum.add(&endpoint.stats.lock().recent(now));
            healthy += u32::from(endpoint.health.standing(now) == Standing::Usable);
            in_flight += endpoint.in_flight.load(Ordering::Relaxed);
        }
        UpstreamStats {
            healthy,
            total: u32::try_from(self.endpoints().len()).unwrap_or(u32::MAX),
            in_flight,
            rate: sum.rate(),
            error_rate: sum.error_rate(),
            p50_us: sum.percentile_us(0.5),
            p99_us: sum.percentile_us(0.99),
        }
    }
}

impl UpstreamView for Upstreams {
    fn names(&self) -> Vec<String> {
        self.iter()
            .map(|upstream| upstream.name().to_string())
            .collect()
    }

    fn endpoints(&self, upstream: &str) -> Result<Vec<EndpointView>, UpstreamError> {
        let upstream = self.named(upstream).ok_or(UpstreamError::NotFound)?;
        Ok(upstream.endpoint_views())
    }

    fn stats_of(&self, upstream: &str) -> Result<UpstreamStats, UpstreamError> {
        let upstream = self.named(upstream).ok_or(UpstreamError::NotFound)?;
        Ok(upstream.stats())
    }

    fn eject(&self, upstream: &str, endpoint: u32, for_ms: u64) -> Result<(), UpstreamError> {
        let upstream = self.named(upstream).ok_or(UpstreamError::NotFound)?;
        let endpoint = upstream.endpoint(endpoint).ok_or(UpstreamError::NotFound)?;
        endpoint
            .health
            .force(endpoint.now(), Duration::from_millis(for_ms));
        Ok(())
    }
}
