//! What all exchanges share: built once by `app.rs`, read by every stage.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response};

use super::ending::MAX_ENDINGS;
use super::{RecordSink, Routes};
use crate::admin::ProgramDesk;
use crate::body::Body;
use crate::cache::Cache;
use crate::config::LimitsConfig;
use crate::drain::Tally;
use crate::error::ProxyError;
use crate::exchange::Protocol;
use crate::telemetry::{AccessLog, ExchangeMetrics};
use crate::upstream::Upstreams;

/// What a gateway is made of.
pub struct Parts {
    /// In `Via`, `Cache-Status` and the log.
    pub name: String,
    pub limits: Arc<LimitsConfig>,
    pub routes: Routes,
    pub upstreams: Arc<Upstreams>,
    pub cache: Option<Arc<Cache>>,
    pub fhe: Option<Arc<dyn Service>>,
    pub records: Option<Arc<dyn RecordSink>>,
    /// How long a durable route waits for its record.
    pub durable_timeout: Duration,
    pub access_log: Option<AccessLog>,
}

/// A handler inside the gateway.
pub trait Service: Send + Sync {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, ProxyError>> + Send + '_>>;

    /// Whether Authorization holds secrets of this service: then it goes to nobody else.
    fn owns_authorization(&self) -> bool {
        false
    }

    /// For the operator, if the handler computes programs that come and go.
    fn programs(&self) -> Option<&dyn ProgramDesk> {
        None
    }
}

/// The shared state of all exchanges.
pub struct Gateway {
    pub name: String,
    pub limits: Arc<LimitsConfig>,
    /// Swapped as a whole; an exchange keeps the route that it was matched with.
    routes: ArcSwap<Routes>,
    pub upstreams: Arc<Upstreams>,
    pub cache: Option<Arc<Cache>>,
    pub fhe: Option<Arc<dyn Service>>,
    pub records: Option<Arc<dyn RecordSink>>,
    pub durable_timeout: Duration,
    pub access_log: Option<AccessLog>,
    pub metrics: ExchangeMetrics,
    pub exchanges: Tally,
    /// Exchanges that are over, and of which policies are being told.
    pub endings: Tally,
    via: [HeaderValue; 3],
    ready: AtomicBool,
}

impl Gateway {
    pub fn new(parts: Parts) -> Arc<Self> {
        let via = [Protocol::H1, Protocol::H2, Protocol::H3].map(|protocol| {
            let text = format!("{} {}", protocol.via(), parts.name);
            // The config lets only names through that can stand in a header.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("1.1 veilgate"))
        });
        Arc::new(Self {
            exchanges: Tally::new(parts.limits.max_exchanges),
            endings: Tally::new(MAX_ENDINGS),
            name: parts.name,
            limits: parts.limits,
            routes: ArcSwap::from_pointee(parts.routes),
            upstreams: parts.upstreams,
            cache: parts.cache,
            fhe: parts.fhe,
            records: parts.records,
            durable_timeout: parts.durable_timeout,
            access_log: parts.access_log,
            metrics: ExchangeMetrics::new(),
            via,
            ready: AtomicBool::new(false),
        })
    }

    /// Those in force for what arrives now.
    pub fn routes(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.routes.load()
    }

    pub fn set_routes(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
    }

    pub(super) fn via(&self, protocol: Protocol) -> HeaderValue {
        let [h1, h2, h3] = &self.via;
        match protocol {
            Protocol::H1 => h1,
            Protocol::H2 => h2,
            Protocol::H3 => h3,
        }
        .clone()
    }

    /// Whether traffic should be sent here: true once all listeners listen, false from the first moment of a stop.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}
