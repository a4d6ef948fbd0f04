//! The metrics that a policy keeps, gathered on this thread and read back by name and labels.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        Self {
            handle: recorder.handle(),
            recorder,
        }
    }

    /// Gathers what is counted on this thread until the guard is dropped.
    pub(crate) fn begin(&self) -> ::metrics::LocalRecorderGuard<'_> {
        ::metrics::set_default_local_recorder(&self.recorder)
    }

    /// `wanted` is `name` or `name{label="value",…}`, without what the host puts before a policy's names. Of a histogram: its count.
    pub(crate) fn value(&self, policy: &str, wanted: &str) -> Option<f64> {
        let prefix = format!("policy_{}_", policy.replace('-', "_"));
        let wanted = series(wanted);
        let text = self.handle.render();
        let found = |wanted: &(&str, Vec<&str>)| {
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .find_map(|line| {
                    let (name, value) = line.strip_prefix(&prefix)?.rsplit_once(' ')?;
                    (series(name) == *wanted).then(|| value.parse().ok())?
                })
        };
        let count = format!("{}_count", wanted.0);
        found(&wanted).or_else(|| found(&(&count, wanted.1.clone())))
    }
}

/// A name, and its labels in order.
fn series(text: &str) -> (&str, Vec<&str>) {
    let (name, labels) = text.split_once('{').unwrap_or((text, ""));
    let labels = labels.trim_end_matches('}');
    let mut labels: Vec<&str> = labels
        .split(',')
        .map(str::trim)
        .filter(|label| !label.is_empty())
        .collect();
    labels.sort_unstable();
    (name.trim(), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_labels_in_any_order() {
        let metrics = Metrics::new();
        let _gathering = metrics.begin();
        ::metrics::counter!("policy_a_b_hits", "kind" => "x", "zone" => "y").increment(2);
        ::metrics::histogram!("policy_a_b_sizes").record(7.0);
        assert_eq!(
            metrics.value("a-b", "hits{zone=\"y\", kind=\"x\"}"),
            Some(2.0)
        );
        assert_eq!(metrics.value("a-b", "hits{kind=\"x\"}"), None);
        assert_eq!(metrics.value("a-b", "sizes"), Some(1.0));
        assert_eq!(metrics.value("a", "hits"), None);
    }
}
