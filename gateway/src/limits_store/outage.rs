//! What is told of the store: one line when an outage begins and one when it ends, and the metrics.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;
use policy_host::WithoutStore;
use tokio::time::Instant;

/// A key that is not ours is told of this often.
const FOREIGN_EVERY: Duration = Duration::from_secs(60);

/// What became of one step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Answered,
    Failed,
    Foreign,
    /// It was not even asked.
    Away,
}

pub(super) struct Outages {
    address: String,
    without: &'static str,
    since: Mutex<Option<Instant>>,
    foreign_told: Mutex<Option<Instant>>,
    steps: [Counter; 4],
    took: Histogram,
    up: Gauge,
}

impl Outages {
    pub(super) fn new(address: String, without: WithoutStore) -> Self {
        let steps = |result: &'static str| counter!("gateway_limits_store_requests_total", "result" => result);
        Self {
            address,
            without: match without {
                WithoutStore::Local => "each gateway counts for itself",
                WithoutStore::Allow => "everything passes that shared limits would decide",
                WithoutStore::Deny => "everything is refused that shared limits would decide",
            },
            since: Mutex::default(),
            foreign_told: Mutex::default(),
            steps: [steps("ok"), steps("error"), steps("foreign"), steps("away")],
            took: histogram!("gateway_limits_store_seconds"),
            up: gauge!("gateway_limits_store_up"),
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.steps[outcome as usize].increment(1);
    }

    pub(super) fn took(&self, time: Duration) {
        self.took.record(time.as_secs_f64());
    }

    /// Says it once until `ends`.
    pub(super) fn begins(&self, reason: &str) {
        let mut since = self.since.lock();
        self.up.set(0.0);
        if since.is_none() {
            *since = Some(Instant::now());
            tracing::warn!(store = %self.address, reason, "the store of shared limits is away; until it is back, {}", self.without);
        }
    }

    pub(super) fn ends(&self) {
        let since = self.since.lock().take();
        self.up.set(1.0);
        match since {
            Some(since) => {
                tracing::info!(store = %self.address, away_s = since.elapsed().as_secs_f64(),
                "the store of shared limits is back")
            }
            None => tracing::info!(store = %self.address, "limits are shared"),
        }
    }

    pub(super) fn foreign(&self, what: &str) {
        let mut told = self.foreign_told.lock();
        if told.is_none_or(|told| told.elapsed() >= FOREIGN_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(store = %self.address, what, "this is not what a limit keeps; does something else write under the prefix? \
                Delete it, or choose another `prefix`");
        }
    }
}
