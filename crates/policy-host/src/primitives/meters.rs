//! Metrics that policies define: their names, and handles to their series, so that counting is a look-up and an addition.
//!
//! Invariants: what a policy can add to the exporter is bounded for the life of the process, however often it is swapped; no policy
//! can write to another's metrics or the gateway's; a client that can choose a label's value cannot make the series grow.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Label};
use parking_lot::{Mutex, RwLock};

use super::SpecError;
use super::key::{Hashed, KeyHash, KeyHasher};
use super::registry::DefineError;

/// Metrics of one instance: a page of a dashboard.
pub(crate) const MAX_METERS: usize = 32;
/// Definitions of one policy over the life of the process: its metrics may change with its versions, and the exporter forgets none.
const MAX_DEFINITIONS: usize = 128;
/// What a person would write.
const MAX_NAME_BYTES: usize = 64;
/// A sentence or two.
const MAX_HELP_BYTES: usize = 256;
/// Each multiplies the series.
pub(crate) const MAX_LABELS: usize = 4;
/// A longer value is cut: it names a class of things, not a thing.
const MAX_LABEL_BYTES: usize = 64;
/// Series of one metric; what comes on top is counted under `other`.
const MAX_SERIES: usize = 256;
const OTHER: &str = "other";
/// The exporter gives these endings to what a histogram is made of.
const RESERVED_ENDINGS: [&str; 3] = ["_bucket", "_sum", "_count"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MeterKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as a policy defines it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeterSpec<'a> {
    pub(crate) kind: MeterKind,
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    pub(crate) labels: &'a [String],
}

/// All metrics of all policies, by the name that the exporter shows.
#[derive(Default)]
pub(crate) struct Meters {
    by_name: Mutex<HashMap<String, Defined>>,
}

struct Defined {
    policy: Box<str>,
    kind: MeterKind,
    /// One for each list of label names that a version of the policy gave it.
    variants: Vec<Arc<Meter>>,
}

/// One metric, with its series.
pub(crate) struct Meter {
    name: String,
    kind: MeterKind,
    labels: Box<[String]>,
    hasher: KeyHasher,
    series: RwLock<HashMap<KeyHash, Series, Hashed>>,
}

pub(crate) enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Meters {
    /// Defining the same again gives the same metric.
    pub(crate) fn define(
        &self,
        policy: &str,
        spec: &MeterSpec<'_>,
    ) -> Result<Arc<Meter>, DefineError> {
        spec.check()?;
        let name = format!("policy_{}_{}", policy.replace('-', "_"), spec.name);
        let mut by_name = self.by_name.lock();
        let definitions: usize = by_name
            .values()
            .filter(|defined| *defined.policy == *policy)
            .map(|defined| defined.variants.len())
            .sum();
        let defined = by_name.entry(name.clone()).or_insert_with(|| Defined {
            policy: policy.into(),
            kind: spec.kind,
            variants: Vec::new(),
        });
        // `a-b` with `c` and `a` with `b_c` would be one metric to the exporter.
        if *defined.policy != *policy || defined.kind != spec.kind {
            return Err(DefineError::Conflict);
        }
        let same = |meter: &&Arc<Meter>| *meter.labels == *spec.labels;
        if let Some(meter) = defined.variants.iter().find(same) {
            return Ok(meter.clone());
        }
        if definitions >= MAX_DEFINITIONS {
            if defined.variants.is_empty() {
                by_name.remove(&name);
            }
            return Err(DefineError::TooMany);
        }
        let meter = Arc::new(Meter::new(name, spec));
        defined.variants.push(meter.clone());
        Ok(meter)
    }
}

impl MeterSpec<'_> {
    fn check(&self) -> Result<(), SpecError> {
        if !is_name(self.name) || RESERVED_ENDINGS.iter().any(|end| self.name.ends_with(end)) {
            return Err(SpecError(
                "the name must be 1 to 64 of a-z, A-Z, 0-9 and `_`, not begin with a digit, and not end with `_bucket`, `_sum` or `_count`",
            ));
        }
        if self.help.len() > MAX_HELP_BYTES {
            return Err(SpecError("`help` must be at most 256 bytes"));
        }
        if self.labels.len() > MAX_LABELS {
            return Err(SpecError("there must be at most 4 labels"));
        }
        let good = |(at, label): (usize, &String)| {
            is_name(label)
                && !label.starts_with("__")
                && !["le", "quantile"].contains(&label.as_str())
                && !self.labels[..at].contains(label)
        };
        if !self.labels.iter().enumerate().all(good) {
            return Err(SpecError(
                "a label's name must be 1 to 64 of a-z, A-Z, 0-9 and `_`, not begin with a digit or `__`, and be neither `le` nor `quantile` nor there twice",
            ));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= MAX_NAME_BYTES
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Meter {
    fn new(name: String, spec: &MeterSpec<'_>) -> Self {
        let help = spec.help.to_owned();
        match spec.kind {
            MeterKind::Counter => metrics::describe_counter!(name.clone(), help),
            MeterKind::Gauge => metrics::describe_gauge!(name.clone(), help),
            MeterKind::Histogram => metrics::describe_histogram!(name.clone(), help),
        }
        Self {
            name,
            kind: spec.kind,
            labels: spec.labels.into(),
            hasher: KeyHasher::default(),
            series: RwLock::default(),
        }
    }

    pub(crate) fn kind(&self) -> MeterKind {
        self.kind
    }

    /// None: not as many values as the metric has labels.
    pub(crate) fn with(&self, values: &[String], update: impl FnOnce(&Series)) -> Option<()> {
        if values.len() != self.labels.len() {
            return None;
        }
        let mut cut = [""; MAX_LABELS];
        for (cut, value) in cut.iter_mut().zip(values) {
            *cut = &value[..value.floor_char_boundary(MAX_LABEL_BYTES)];
        }
        let values = &cut[..values.len()];
        let key = self.hasher.hash_list(values);
        if let Some(series) = self.series.read().get(&key) {
            update(series);
            return Some(());
        }
        let mut all = self.series.write();
        let known = all.contains_key(&key);
        if !known && all.len() >= MAX_SERIES {
            let others = [OTHER; MAX_LABELS];
            let others = &others[..values.len()];
            let other = self.hasher.hash_list(others);
            update(all.entry(other).or_insert_with(|| self.register(others)));
        } else {
            update(all.entry(key).or_insert_with(|| self.register(values)));
        }
        Some(())
    }

    fn register(&self, values: &[&str]) -> Series {
        let labels: Vec<Label> = self
            .labels
            .iter()
            .zip(values)
            .map(|(name, value)| Label::new(name.clone(), (*value).to_owned()))
            .collect();
        let name = self.name.clone();
        match self.kind {
            MeterKind::Counter => Series::Counter(metrics::counter!(name, labels)),
            MeterKind::Gauge => Series::Gauge(metrics::gauge!(name, labels)),
            MeterKind::Histogram => Series::Histogram(metrics::histogram!(name, labels)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn define(
        meters: &Meters,
        policy: &str,
        kind: MeterKind,
        name: &str,
        labels: &[&str],
    ) -> Result<Arc<Meter>, DefineError> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        meters.define(
            policy,
            &MeterSpec {
                kind,
                name,
                help: "what it counts",
                labels: &labels,
            },
        )
    }

    #[test]
    fn the_same_definition_is_the_same_metric_and_names_have_one_owner() {
        let meters = Meters::default();
        let first = define(&meters, "a-b", MeterKind::Counter, "c", &["x"]).unwrap();
        let again = define(&meters, "a-b", MeterKind::Counter, "c", &["x"]).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(first.name, "policy_a_b_c");
        for (policy, kind, name) in [
            ("a-b", MeterKind::Gauge, "c"),
            ("a_b", MeterKind::Counter, "c"),
            ("a", MeterKind::Counter, "b_c"),
        ] {
            let refused = define(&meters, policy, kind, name, &["x"]).err();
            assert_eq!(refused, Some(DefineError::Conflict), "{policy} {name}");
        }
        assert!(define(&meters, "a-b", MeterKind::Counter, "c", &["x", "y"]).is_ok());
    }

    #[test]
    fn names_that_the_exporter_could_not_show_are_refused() {
        let meters = Meters::default();
        let long = "x".repeat(65);
        for name in ["", "1a", "a-b", "a b", "ä", "a_count", "a\n", &long] {
            let refused = define(&meters, "p", MeterKind::Counter, name, &[]).err();
            assert!(matches!(refused, Some(DefineError::Spec(_))), "{name}");
        }
        for labels in [
            &["le"][..],
            &["__x"],
            &["a", "a"],
            &[""],
            &["a", "b", "c", "d", "e"],
        ] {
            let refused = define(&meters, "p", MeterKind::Counter, "n", labels).err();
            assert!(matches!(refused, Some(DefineError::Spec(_))), "{labels:?}");
        }
    }

    #[test]
    fn definitions_are_bounded_over_all_versions_of_a_policy() {
        let meters = Meters::default();
        let made = (0..1000)
            .filter(|n| define(&meters, "p", MeterKind::Gauge, &format!("n{n}"), &[]).is_ok())
            .count();
        assert_eq!((made, meters.by_name.lock().len()), (128, 128));
        assert!(define(&meters, "q", MeterKind::Gauge, "n", &[]).is_ok());
        assert!(define(&meters, "p", MeterKind::Gauge, "n1", &[]).is_ok());
    }

    #[test]
    fn series_over_the_bound_and_long_values_come_together() {
        let meters = Meters::default();
        let meter = define(&meters, "p", MeterKind::Counter, "n", &["who", "what"]).unwrap();
        for n in 0..1000 {
            assert!(meter.with(&[n.to_string(), "x".into()], |_| {}).is_some());
        }
        assert_eq!(meter.series.read().len(), MAX_SERIES + 1);
        assert!(meter.with(&["one".into()], |_| {}).is_none());

        let cut = define(&meters, "p", MeterKind::Counter, "cut", &["who"]).unwrap();
        for end in ["a", "b"] {
            let value = format!("{}{end}", "ä".repeat(40));
            assert!(cut.with(&[value], |_| {}).is_some());
        }
        assert_eq!(cut.series.read().len(), 1);
    }
}
