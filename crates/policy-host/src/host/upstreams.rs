//! `upstreams`: what the gateway knows of its upstreams. There are none while a policy is configured.

use crate::bindings::veilgate::policy::types::Error;
use crate::bindings::veilgate::policy::upstreams::{Endpoint, Host, Stats};
use crate::state::HostState;
use crate::upstream::{UpstreamError, UpstreamView};

impl HostState {
    fn view(&self) -> Result<&dyn UpstreamView, Error> {
        self.exchange.upstreams.as_deref().ok_or(Error::Unavailable)
    }
}

fn error(error: UpstreamError) -> Error {
    match error {
        UpstreamError::NotFound => Error::NotFound,
        UpstreamError::Denied => Error::Denied,
        UpstreamError::Unavailable => Error::Unavailable,
    }
}

impl Host for HostState {
    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.view().map_or_else(|_| Vec::new(), UpstreamView::names))
    }

    fn endpoints(&mut self, upstream: String) -> wasmtime::Result<Result<Vec<Endpoint>, Error>> {
        let found = self
            .view()
            .and_then(|view| view.endpoints(&upstream).map_err(error));
        Ok(found.map(|endpoints| {
            let known = endpoints.into_iter().map(|endpoint| Endpoint {
                id: endpoint.id,
                address: endpoint.address,
                healthy: endpoint.healthy,
                weight: endpoint.weight,
                in_flight: endpoint.in_flight,
                ewma_us: endpoint.ewma_us,
                zone: endpoint.zone,
            });
            known.collect()
        }))
    }

    fn stats_of(&mut self, upstream: String) -> wasmtime::Result<Result<Stats, Error>> {
        let found = self
            .view()
            .and_then(|view| view.stats_of(&upstream).map_err(error));
        Ok(found.map(|stats| Stats {
            healthy: stats.healthy,
            total: stats.total,
            in_flight: stats.in_flight,
            rate: stats.rate,
            error_rate: stats.error_rate,
            p50_us: stats.p50_us,
            p99_us: stats.p99_us,
        }))
    }

    fn eject(
        &mut self,
        upstream: String,
        endpoint: u32,
        for_ms: u64,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(self
            .view()
            .and_then(|view| view.eject(&upstream, endpoint, for_ms).map_err(error)))
    }
}
