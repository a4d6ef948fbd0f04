//! What the admin listener tells of the gateway: `/status`, and the gauges that are read when metrics are scraped.

use std::sync::Arc;
use std::time::Instant;

use outbox::Outbox;
use policy_host::UpstreamView;
use serde_json::{Value, json};
use sync::SyncHandle;

use crate::admin::{Outlook, ProgramDesk, Reloading};
use crate::drain::Tally;
use crate::pipeline::Gateway;
use crate::policies::Policies;
use crate::reload::{self, Reloader, Trigger};

/// The parts to be told of.
pub(super) struct View {
    pub gateway: Arc<Gateway>,
    pub connections: Tally,
    pub outbox: Option<Outbox>,
    pub sync: Option<SyncHandle>,
    /// Whether the store of shared limits is there; `None` if there is to be none.
    pub limits_store: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    pub policies: Arc<Policies>,
    pub reloader: Arc<Reloader>,
    pub started: Instant,
}

impl View {
    fn upstreams(&self) -> Value {
        let upstream = |upstream: &Arc<crate::upstream::Upstream>| {
            let stats = upstream.stats();
            let endpoints: Vec<Value> = upstream
                .endpoint_views()
                .into_iter()
                .map(|endpoint| {
                    json!({
                        "id": endpoint.id, "address": endpoint.address, "healthy": endpoint.healthy,
                        "weight": endpoint.weight, "in_flight": endpoint.in_flight, "ewma_us": endpoint.ewma_us,
                        "zone": endpoint.zone,
                    })
                })
                .collect();
            json!({
                "name": &**upstream.name(), "healthy": stats.healthy, "total": stats.total, "in_flight": stats.in_flight,
                "rate": stats.rate, "error_rate": stats.error_rate, "p50_us": stats.p50_us, "p99_us": stats.p99_us,
                "endpoints": endpoints,
            })
        };
        self.gateway.upstreams.iter().map(upstream).collect()
    }

    fn policies(&self) -> Value {
        let policy = |stats: policy_host::PolicyStats| {
            let faults: serde_json::Map<String, Value> = stats
                .faults
                .iter()
                .map(|(kind, count)| (kind.label().to_owned(), json!(count)))
                .collect();
            json!({ "name": stats.policy, "calls": stats.calls, "faults": faults, "set_aside": stats.set_aside,
                "module": self.reloader.status_of(&stats.policy) })
        };
        self.policies.stats().into_iter().map(policy).collect()
    }

    fn breakers(&self) -> Value {
        let breaker = |breaker: policy_host::BreakerSnapshot| {
            let keys: Vec<Value> = breaker
                .keys
                .into_iter()
                .map(|key| {
                    json!({
                        "key": key.key, "state": format!("{:?}", key.state), "calls": key.calls, "failures": key.failures,
                        "open_for_ms": key.open_for_ms, "times_opened": key.times_opened,
                    })
                })
                .collect();
            json!({ "policy": breaker.scope, "name": breaker.name, "keys": keys })
        };
        self.policies
            .primitives
            .snapshot(self.policies.clock.monotonic_ns())
            .into_iter()
            .map(breaker)
            .collect()
    }
}

impl View {
    fn stores(&self) {
        for store in self.policies.primitives.store_sizes() {
            let policy = store.scope.unwrap_or_else(|| "*".to_owned());
            let labels = [("policy", policy), ("store", store.name)];
            metrics::gauge!("gateway_policy_kv_entries", &labels).set(store.entries as f64);
            metrics::gauge!("gateway_policy_kv_bytes", &labels).set(store.bytes as f64);
            metrics::counter!("gateway_policy_kv_evictions_total", &labels).absolute(store.evicted);
        }
    }
}

impl Outlook for View {
    fn is_ready(&self) -> bool {
        self.gateway.is_ready()
    }

    fn status(&self) -> Value {
        json!({
            "name": self.gateway.name,
            "version": env!("CARGO_PKG_VERSION"),
            "ready": self.is_ready(),
            "uptime_s": self.started.elapsed().as_secs(),
            "connections": self.connections.len(),
            "exchanges": self.gateway.exchanges.len(),
            "routes": self.gateway.routes().all().iter().map(|route| &*route.name).collect::<Vec<_>>(),
            "upstreams": self.upstreams(),
            "policies": self.policies(),
            "breakers": self.breakers(),
            "outbox": self.outbox.as_ref().map(Outbox::status),
            "limits_store": self.limits_store.as_ref().map(|is_up| json!({ "up": is_up() })),
            "sync": self.sync.as_ref().map(SyncHandle::status),
        })
    }

    fn reload(&self) -> Reloading {
        let reloader = self.reloader.clone();
        let reloading = tokio::task::spawn_blocking(move || reloader.reload(Trigger::Demand));
        Box::pin(async move {
            match reloading.await {
                Ok(all) => reload::report(&all),
                Err(error) => (false, json!({ "error": error.to_string() })),
            }
        })
    }

    fn purge(&self, tag: &str) -> Option<usize> {
        self.gateway.cache.as_ref().map(|cache| cache.purge(tag))
    }

    fn programs(&self) -> Option<&dyn ProgramDesk> {
        self.gateway.fhe.as_ref()?.programs()
    }

    fn before_scrape(&self) {
        metrics::gauge!("gateway_connections").set(self.connections.len() as f64);
        metrics::gauge!("gateway_ready").set(f64::from(u8::from(self.is_ready())));
        for stats in self.policies.stats() {
            metrics::counter!("gateway_policy_calls_total", "policy" => stats.policy.clone())
                .absolute(stats.calls);
            metrics::gauge!("gateway_policy_set_aside", "policy" => stats.policy)
                .set(f64::from(u8::from(stats.set_aside)));
        }
        self.stores();
        for name in self.gateway.upstreams.names() {
            let Ok(stats) = self.gateway.upstreams.stats_of(&name) else {
                continue;
            };
            metrics::gauge!("gateway_upstream_endpoints_healthy", "upstream" => name.clone())
                .set(f64::from(stats.healthy));
            metrics::gauge!("gateway_upstream_in_flight", "upstream" => name)
                .set(f64::from(stats.in_flight));
        }
    }
}
