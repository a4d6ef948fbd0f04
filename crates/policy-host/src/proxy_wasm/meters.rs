//! Metrics of one policy, by the numbers that its VMs use. The exporter's names and bounds are those of every policy's metrics; the
//! values that a filter can read back are kept here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::primitives::{MAX_METERS, Meter, MeterKind, MeterSpec, Series};
use crate::state::Shared;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Default)]
pub(super) struct Meters {
    all: RwLock<Vec<Counted>>,
}

struct Counted {
    name: Box<str>,
    kind: Kind,
    value: AtomicU64,
    meter: Arc<Meter>,
}

impl Meters {
    /// The same name and kind is the same metric. None: refused.
    pub(super) fn define(&self, shared: &Shared, kind: Kind, name: &str) -> Option<u32> {
        let mut all = self.all.write();
        if let Some(at) = all.iter().position(|known| *known.name == *name) {
            return (all[at].kind == kind).then_some(at as u32);
        }
        if all.len() >= MAX_METERS {
            return None;
        }
        let shown = shown(name);
        let spec = MeterSpec {
            kind: match kind {
                Kind::Counter => MeterKind::Counter,
                Kind::Gauge => MeterKind::Gauge,
                Kind::Histogram => MeterKind::Histogram,
            },
            name: &shown,
            help: name.get(..256).unwrap_or(name),
            labels: &[],
        };
        let meters = shared.primitives.meters();
        let meter = meters.define(&shared.policy, &spec).ok()?;
        all.push(Counted {
            name: name.into(),
            kind,
            value: AtomicU64::new(0),
            meter,
        });
        Some(all.len() as u32 - 1)
    }

    /// A gauge is set, a histogram observes, a counter counts so much on. False: there is no such metric.
    pub(super) fn record(&self, id: u32, value: u64) -> bool {
        self.with(id, |metric| match metric.kind {
            Kind::Counter => metric.add(value as i64),
            Kind::Gauge => metric.set(value),
            Kind::Histogram => metric.show(value),
        })
    }

    /// A counter never goes down: a negative step is left out.
    pub(super) fn increment(&self, id: u32, delta: i64) -> bool {
        self.with(id, |metric| match metric.kind {
            Kind::Counter if delta < 0 => {}
            Kind::Counter => metric.add(delta),
            Kind::Gauge => {
                let step = |now: u64| Some(now.saturating_add_signed(delta));
                let before = metric
                    .value
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
                let before = before.unwrap_or_else(|now| now);
                metric.show(before.saturating_add_signed(delta));
            }
            Kind::Histogram => {}
        })
    }

    pub(super) fn value(&self, id: u32) -> Option<u64> {
        let all = self.all.read();
        Some(all.get(id as usize)?.value.load(Ordering::Relaxed))
    }

    fn with(&self, id: u32, update: impl FnOnce(&Counted)) -> bool {
        let all = self.all.read();
        let Some(metric) = all.get(id as usize) else {
            return false;
        };
        update(metric);
        true
    }
}

impl Counted {
    fn add(&self, delta: i64) {
        let delta = delta.unsigned_abs();
        self.value.fetch_add(delta, Ordering::Relaxed);
        self.show(delta);
    }

    fn set(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
        self.show(value);
    }

    fn show(&self, value: u64) {
        self.meter.with(&[], |series| match series {
            Series::Counter(counter) => counter.increment(value),
            Series::Gauge(gauge) => gauge.set(value as f64),
            Series::Histogram(histogram) => histogram.record(value as f64),
        });
    }
}

/// What the exporter can show is no longer than this, with what may be added to it.
const MAX_SHOWN: usize = 62;

/// Names here have dots and more in them, and endings that the exporter gives to what a histogram is made of.
fn shown(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(MAX_SHOWN)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if shown.starts_with(|c: char| c.is_ascii_digit()) {
        shown.insert(0, '_');
    }
    if ["_bucket", "_sum", "_count"]
        .iter()
        .any(|end| shown.ends_with(end))
    {
        shown.push('_');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn any_name_is_one_that_the_exporter_shows() {
        assert_eq!(shown("my.count"), "my_count_");
        assert_eq!(shown("2xx-total"), "_2xx_total");
        assert_eq!(shown("größe"), "gr__e");
        assert_eq!(shown(&"x".repeat(200)).len(), 62);
    }
}
