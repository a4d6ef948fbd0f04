//! The policy's own metrics, at the gateway's `/metrics` as `policy_<policy>_<name>`. Granted to all.
//!
//! Define them in `Policy::configure` and keep them. Up to 32, with up to 4 labels each; label values are cut at 64 bytes, and what is
//! over 256 combinations of them is counted under `other`: a label names a class of things, never a client. The names of counters end
//! in `_total`, those of histograms in `_seconds` or `_bytes`, which the gateway has buckets for (others get buckets by decades).

use crate::ConfigError;
use crate::bindings::veilgate::policy::metrics::{self, Kind};
use crate::limits::refused;

/// Only goes up.
#[derive(Debug, Clone, Copy)]
pub struct Counter(u32);

/// Goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(u32);

/// Counts values by size. Up to 64 observations in one hook are counted.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(u32);

impl Counter {
    /// The name: a-z, A-Z, 0-9 and `_`. Defining the same again gives the same metric.
    pub fn define(name: &str, help: &str, labels: &[&str]) -> Result<Self, ConfigError> {
        define(Kind::Counter, name, help, labels).map(Self)
    }

    /// As many label values as were defined names.
    pub fn add(&self, delta: u64, labels: &[&str]) {
        metrics::add(self.0, delta, &owned(labels));
    }
}

impl Gauge {
    /// See [`Counter::define`].
    pub fn define(name: &str, help: &str, labels: &[&str]) -> Result<Self, ConfigError> {
        define(Kind::Gauge, name, help, labels).map(Self)
    }

    /// As many label values as were defined names.
    pub fn set(&self, value: f64, labels: &[&str]) {
        metrics::set(self.0, value, &owned(labels));
    }
}

impl Histogram {
    /// See [`Counter::define`].
    pub fn define(name: &str, help: &str, labels: &[&str]) -> Result<Self, ConfigError> {
        define(Kind::Histogram, name, help, labels).map(Self)
    }

    /// As many label values as were defined names. What is not a finite number is left out.
    pub fn observe(&self, value: f64, labels: &[&str]) {
        metrics::observe(self.0, value, &owned(labels));
    }
}

fn define(kind: Kind, name: &str, help: &str, labels: &[&str]) -> Result<u32, ConfigError> {
    metrics::define(kind, name, help, &owned(labels)).map_err(|error| refused(name, error))
}

fn owned(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}
