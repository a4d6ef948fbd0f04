//! Upstreams: named services, each with endpoints, their connections and what is known of them.
//!
//! The order of use: [`Upstreams::named`], [`Upstream::pick`] (an endpoint, for this attempt), [`Picked::send`]. Retrying is the
//! caller's decision; each error says whether it makes sense ([`crate::error::Retry`]), and a request of which nothing was sent
//! comes back ([`Failed::unsent`]).
//!
//! Invariants: bodies stream both ways, never gathered here; every wait has a limit; a response's connection is reused only after
//! its body was read to the end.

mod attempt;
mod balance;
mod connect;
mod endpoint;
pub mod fault;
pub mod headers;
mod health;
mod pool;
mod probe;
mod stats;
#[cfg(test)]
mod tests;
mod tls;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::attempt::Failed;
use self::attempt::Patience;
use self::balance::{Rotation, Seat};
use self::connect::{Connector, Speech};
use self::endpoint::Endpoint;
use self::health::{Health, Standing};
use self::pool::Pool;
use self::stats::Stats;
pub use self::tls::UpstreamTlsError;
pub(crate) use self::tls::system_roots;
use crate::body::Body;
use crate::config::{Balance, EndpointConfig, HealthConfig, UpstreamConfig};
use crate::error::{Kind, ProxyError, Retry, Side};

/// Idle connections kept for each endpoint: enough for a busy gateway, few enough not to exhaust a small server.
const MAX_IDLE_PER_ENDPOINT: usize = 256;

/// All upstreams of one configuration.
pub struct Upstreams {
    by_name: BTreeMap<Arc<str>, Arc<Upstream>>,
}

/// A named service.
pub struct Upstream {
    name: Arc<str>,
    endpoints: Vec<Arc<Endpoint>>,
    balance: Balance,
    rotation: Mutex<Rotation>,
    first_byte_timeout: Duration,
    between_bytes_timeout: Duration,
    retries: u32,
    health: Option<HealthConfig>,
}

/// What an attempt wants of the balancer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// This endpoint and no other.
    pub endpoint: Option<u32>,
    /// For consistent hashing, if the upstream is balanced so.
    pub hash_key: Option<u64>,
    /// Endpoints that earlier attempts of this exchange used: others come first.
    pub tried: &'a [u32],
}

/// An endpoint for one attempt.
pub struct Picked {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
}

impl Upstreams {
    /// Builds the upstreams and starts their health checks. Needs a tokio runtime.
    pub fn start(configs: &[UpstreamConfig]) -> Result<Arc<Self>, UpstreamTlsError> {
        let mut by_name = BTreeMap::new();
        for config in configs {
            let upstream = Arc::new(Upstream::build(config)?);
            by_name.insert(upstream.name.clone(), upstream);
        }
        let this = Arc::new(Self { by_name });
        probe::start(&this);
        Ok(this)
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.by_name.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.by_name.values()
    }
}

impl Upstream {
    fn build(config: &UpstreamConfig) -> Result<Self, UpstreamTlsError> {
        let connector = tls::connector_for(config)?;
        let endpoint = |(endpoint, id): (&EndpointConfig, u32)| {
            let speech = match (&connector, endpoint.tls) {
                (Some(connector), true) => Speech::Tls {
                    connector: connector.clone(),
                    server_name: config
                        .tls
                        .server_name
                        .clone()
                        .unwrap_or_else(|| endpoint.host.clone()),
                },
                (None, true) | (_, false) => Speech::H1,
            };
            Arc::new(build_endpoint(config, endpoint, id, speech))
        };
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            endpoints: config.endpoints.iter().zip(0..).map(endpoint).collect(),
            balance: config.balance,
            rotation: Mutex::new(Rotation::default()),
            first_byte_timeout: config.first_byte_timeout,
            between_bytes_timeout: config.between_bytes_timeout,
            retries: config.retries,
            health: config.health.clone(),
        })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Further attempts allowed after the first.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Any endpoint may be used.
    pub fn is_available(&self) -> bool {
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.health.standing(endpoint.now()) != Standing::Excluded)
    }

    /// Chooses the endpoint for an attempt.
    pub fn pick(self: &Arc<Self>, wish: Wish<'_>) -> Result<Picked, ProxyError> {
        let endpoint = match wish.endpoint {
            Some(id) => self.pinned(id)?,
            None => self.balanced(wish)?,
        };
        Ok(Picked {
            upstream: self.clone(),
            endpoint: endpoint.clone(),
        })
    }

    fn pinned(&self, id: u32) -> Result<&Arc<Endpoint>, ProxyError> {
        let Some(endpoint) = self.endpoint(id) else {
            let detail = format!("upstream {} has no endpoint {id}", self.name);
            return Err(ProxyError::new(
                Kind::DestinationNotFound,
                Side::Gateway,
                detail,
            ));
        };
        match endpoint.health.standing(endpoint.now()) {
            Standing::Usable | Standing::Suspect => Ok(endpoint),
            Standing::Excluded => Err(self.unavailable()),
        }
    }

    fn balanced(&self, wish: Wish<'_>) -> Result<&Arc<Endpoint>, ProxyError> {
        // One endpoint is the common case, and needs no balancing.
        if let [only] = self.endpoints.as_slice() {
            return self.pinned(only.id);
        }
        let seats: Vec<Seat> = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.seat(wish.tried))
            .collect();
        let picked = balance::pick(
            &seats,
            self.balance,
            wish.hash_key,
            &mut self.rotation.lock(),
            rand::random(),
        );
        picked
            .and_then(|index| self.endpoints.get(index))
            .ok_or_else(|| self.unavailable())
    }

    fn unavailable(&self) -> ProxyError {
        let detail = format!("no endpoint of upstream {} may be used now", self.name);
        ProxyError::upstream(Kind::DestinationUnavailable, Retry::Safe, detail)
    }

    fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    fn endpoint(&self, id: u32) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(usize::try_from(id).ok()?)
    }

    fn health_rules(&self) -> Option<&HealthConfig> {
        self.health.as_ref()
    }
}

impl Picked {
    pub fn id(&self) -> u32 {
        self.endpoint.id
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.endpoint.address()
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Sends `request` and waits for the head of the response, until `deadline` at the latest. Hop-by-hop fields are taken off
    /// both; the request's authority is that of its URI, else its `Host`, else the endpoint's address.
    pub async fn send(
        &self,
        request: Request<Body>,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Failed> {
        let patience = Patience {
            first_byte: self.upstream.first_byte_timeout,
            between_bytes: self.upstream.between_bytes_timeout,
            deadline,
        };
        attempt::run(&self.endpoint, request, patience).await
    }
}

/// `from + wait`; a configured wait that no clock can count is as good as a day.
fn after(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait)
        .unwrap_or_else(|| from + Duration::from_secs(24 * 3600))
}

fn build_endpoint(
    config: &UpstreamConfig,
    endpoint: &EndpointConfig,
    id: u32,
    speech: Speech,
) -> Endpoint {
    let address = endpoint.authority();
    let opened = metrics::counter!(
        "gateway_upstream_connections_opened_total",
        "upstream" => config.name.clone(),
        "endpoint" => address.clone(),
    );
    let max_idle = config.max_connections.min(MAX_IDLE_PER_ENDPOINT);
    Endpoint {
        id,
        weight: endpoint.weight.max(1),
        zone: endpoint.zone.clone(),
        // The config checked the host; should it not be a header value all the same, the request's own Host is needed.
        authority: HeaderValue::try_from(address.as_str()).unwrap_or(HeaderValue::from_static("")),
        pool: Pool::new(&speech, config.idle_timeout, max_idle, opened),
        connector: Connector {
            host: endpoint.host.clone(),
            port: endpoint.port,
            address,
            speech,
            connect_timeout: config.connect_timeout,
        },
        health: Health::default(),
        born: Instant::now(),
        max_in_flight: config.max_connections,
        in_flight: AtomicU32::new(0),
        stats: Mutex::new(Stats::new()),
    }
}
