//! `metrics`: a policy's own metrics. Mistakes in their use end the call, so that they are found by whoever tries the policy first.

use std::sync::Arc;

use crate::bindings::veilgate::policy::metrics::{Host, Kind};
use crate::bindings::veilgate::policy::types::Error;
use crate::error::HostRefusal;
use crate::primitives::{DefineError, MAX_METERS, Meter, MeterKind, MeterSpec, Series};
use crate::state::HostState;

use super::limits::define_error;

/// Observations of histograms by one call: the exporter keeps each of them until it is scraped or tends them.
pub(crate) const MAX_OBSERVATIONS_PER_CALL: u32 = 64;

fn misused() -> wasmtime::Error {
    HostRefusal("a metric that was not defined, of another kind, or with another number of labels")
        .into()
}

impl HostState {
    fn meter(&self, metric: u32, kind: MeterKind) -> wasmtime::Result<&Meter> {
        self.meters
            .get(metric as usize)
            .map(|meter| &**meter)
            .filter(|meter| meter.kind() == kind)
            .ok_or_else(misused)
    }

    fn update(
        &self,
        metric: u32,
        kind: MeterKind,
        labels: &[String],
        update: impl FnOnce(&Series),
    ) -> wasmtime::Result<()> {
        self.meter(metric, kind)?
            .with(labels, update)
            .ok_or_else(misused)
    }
}

impl Host for HostState {
    fn define(
        &mut self,
        kind: Kind,
        name: String,
        help: String,
        labels: Vec<String>,
    ) -> wasmtime::Result<Result<u32, Error>> {
        let spec = MeterSpec {
            kind: match kind {
                Kind::Counter => MeterKind::Counter,
                Kind::Gauge => MeterKind::Gauge,
                Kind::Histogram => MeterKind::Histogram,
            },
            name: &name,
            help: &help,
            labels: &labels,
        };
        let meters = self.shared.primitives.meters();
        let defined = meters
            .define(&self.shared.policy, &spec)
            .and_then(|meter| self.keep_meter(meter));
        Ok(defined.map_err(|error| {
            tracing::warn!(target: "policy", policy = %self.shared.policy, name, %error, "a metric was refused");
            define_error(&error)
        }))
    }

    fn add(&mut self, metric: u32, delta: u64, labels: Vec<String>) -> wasmtime::Result<()> {
        self.update(metric, MeterKind::Counter, &labels, |series| {
            if let Series::Counter(counter) = series {
                counter.increment(delta);
            }
        })
    }

    fn set(&mut self, metric: u32, value: f64, labels: Vec<String>) -> wasmtime::Result<()> {
        self.update(metric, MeterKind::Gauge, &labels, |series| {
            if let Series::Gauge(gauge) = series {
                gauge.set(value);
            }
        })
    }

    /// One that is no number would make the sum none either: it is left out.
    fn observe(&mut self, metric: u32, value: f64, labels: Vec<String>) -> wasmtime::Result<()> {
        let counted = value.is_finite() && self.observations_left > 0;
        self.observations_left = self.observations_left.saturating_sub(1);
        self.update(metric, MeterKind::Histogram, &labels, |series| {
            if let Series::Histogram(histogram) = series
                && counted
            {
                histogram.record(value);
            }
        })
    }
}

impl HostState {
    fn keep_meter(&mut self, meter: Arc<Meter>) -> Result<u32, DefineError> {
        let known = self
            .meters
            .iter()
            .position(|known| Arc::ptr_eq(known, &meter));
        let at = match known {
            Some(at) => at,
            None if self.meters.len() >= MAX_METERS => return Err(DefineError::TooMany),
            None => {
                self.meters.push(meter);
                self.meters.len() - 1
            }
        };
        Ok(at as u32)
    }
}
