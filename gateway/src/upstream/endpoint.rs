//! One address of an upstream: its connections, its health, its statistics, the requests in flight to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::balance::Seat;
use super::connect::Connector;
use super::fault;
use super::health::Health;
use super::pool::Pool;
use super::stats::{Outcome, Stats};
use crate::error::ProxyError;

/// An endpoint that never answered yet is taken to need this long, so that requests in flight count from the first one on.
const UNKNOWN_LATENCY_US: f64 = 1_000.0;

/// One address of an upstream.
pub struct Endpoint {
    pub id: u32,
    pub weight: u32,
    pub zone: String,
    pub connector: Connector,
    /// `host:port` as a header value, the authority of last resort.
    pub authority: HeaderValue,
    pub pool: Pool,
    pub health: Health,
    pub born: Instant,
    pub max_in_flight: usize,
    pub in_flight: AtomicU32,
    pub stats: Mutex<Stats>,
}

impl Endpoint {
    pub fn address(&self) -> &str {
        &self.connector.address
    }

    /// The time of this endpoint's own clock.
    pub fn now(&self) -> Duration {
        self.born.elapsed()
    }

    pub fn seat(&self, tried: &[u32]) -> Seat {
        let now = self.now();
        let busy = f64::from(self.in_flight.load(Ordering::Relaxed)) + 1.0;
        let latency = self.stats.lock().ewma_us(now).max(UNKNOWN_LATENCY_US);
        Seat {
            id: self.id,
            weight: self.weight,
            standing: self.health.standing(now),
            tried: tried.contains(&self.id),
            cost: latency * busy / f64::from(self.weight),
        }
    }

    /// Counts a request in, or refuses it at the limit.
    pub fn enter(self: &Arc<Self>) -> Result<InFlight, ProxyError> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // The guard takes the count back, on refusal too.
        let guard = InFlight {
            endpoint: self.clone(),
            begun: Instant::now(),
        };
        if before as usize >= self.max_in_flight {
            return Err(fault::limit_reached(self.address(), self.max_in_flight));
        }
        Ok(guard)
    }
}

/// A request in flight; counted out when dropped.
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    begun: Instant,
}

impl InFlight {
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The head of a response came, or an error in its place.
    pub fn settle(&self, outcome: Outcome) {
        let endpoint = &self.endpoint;
        let now = endpoint.now();
        endpoint
            .stats
            .lock()
            .record(now, self.begun.elapsed(), outcome);
        match outcome {
            Outcome::Answered => endpoint.health.succeeded(),
            Outcome::Failed => self.blame(),
        }
    }

    /// An answer whose status says that the application failed, not that the endpoint is gone.
    pub fn settle_server_error(&self) {
        let endpoint = &self.endpoint;
        let now = endpoint.now();
        endpoint
            .stats
            .lock()
            .record(now, self.begun.elapsed(), Outcome::Failed);
    }

    /// The response broke off, or went silent.
    pub fn broke_off(&self) {
        let now = self.endpoint.now();
        self.endpoint.stats.lock().record_broken_body(now);
        self.blame();
    }

    fn blame(&self) {
        let endpoint = &self.endpoint;
        if endpoint.health.failed(endpoint.now()) {
            tracing::warn!(
                endpoint = endpoint.address(),
                "endpoint left alone for a while after repeated failures"
            );
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
