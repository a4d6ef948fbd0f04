//! What stands in for the gateway: its upstreams as the test file describes them.

use policy_host::{EndpointView, UpstreamError, UpstreamStats, UpstreamView};

use super::file::UpstreamPart;

pub(super) struct Upstreams(pub Vec<UpstreamPart>);

impl Upstreams {
    fn named(&self, name: &str) -> Result<&UpstreamPart, UpstreamError> {
        let found = self.0.iter().find(|upstream| upstream.name == name);
        found.ok_or(UpstreamError::NotFound)
    }
}

impl UpstreamView for Upstreams {
    fn names(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|upstream| upstream.name.clone())
            .collect()
    }

    fn endpoints(&self, upstream: &str) -> Result<Vec<EndpointView>, UpstreamError> {
        Ok(self.named(upstream)?.endpoints.clone())
    }

    fn stats_of(&self, upstream: &str) -> Result<UpstreamStats, UpstreamError> {
        Ok(self.named(upstream)?.stats)
    }

    /// It changes nothing: what a policy sees of its upstreams is what the test file says.
    fn eject(&self, upstream: &str, endpoint: u32, _: u64) -> Result<(), UpstreamError> {
        let known = self
            .named(upstream)?
            .endpoints
            .iter()
            .any(|known| known.id == endpoint);
        known.then_some(()).ok_or(UpstreamError::NotFound)
    }
}
