//! The recorder behind the `metrics` crate, and its text for `/metrics`. No listener of its own: the admin one serves it.
//!
//! Names: `gateway_<area>_<noun>_<unit>[_total]`; those of policies begin with `policy_<policy>_`.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From half a cache hit to a model that thinks for five minutes.
const SECONDS: [f64; 19] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 300.0,
];

/// From a short answer to a large upload.
const BYTES: [f64; 8] = [
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    1_048_576.0,
    16_777_216.0,
    268_435_456.0,
];

/// Counts of things in one batch.
const SIZES: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];

/// For histograms whose name says nothing: those that policies define, of whatever.
const ANYTHING: [f64; 16] = [
    0.001,
    0.01,
    0.1,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    1000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
];

/// Samples of histograms are gathered between scrapes; without this a gateway that nobody scrapes would keep them all.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("the metrics recorder could not be set up: {0}")]
    Build(#[from] metrics_exporter_prometheus::BuildError),
    #[error("the thread that tends the metrics could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Renders the metrics.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// Prometheus text, version 0.0.4.
    pub fn render(&self) -> String {
        self.0.render()
    }

    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
}

/// Installs the recorder for this process; call once, before anything registers a metric.
pub fn install_metrics() -> Result<MetricsHandle, MetricsError> {
    let handle = builder()?.install_recorder()?;
    describe();
    let upkept = handle.clone();
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP_EVERY);
                upkept.run_upkeep();
            }
        })?;
    Ok(MetricsHandle(handle))
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    Ok(PrometheusBuilder::new()
        .set_buckets(&ANYTHING)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES)?)
}

fn describe() {
    use Unit::{Bytes, Count, Seconds};
    describe_counter!(
        "gateway_http_requests_total",
        Count,
        "Exchanges that ended, by route, protocol, method and status"
    );
    describe_histogram!(
        "gateway_http_request_duration_seconds",
        Seconds,
        "From the request's head to the end of the response"
    );
    describe_histogram!(
        "gateway_http_response_head_seconds",
        Seconds,
        "From the request's head to the response's head"
    );
    describe_counter!(
        "gateway_http_request_bytes_total",
        Bytes,
        "Bytes of request bodies"
    );
    describe_counter!(
        "gateway_http_response_bytes_total",
        Bytes,
        "Bytes of response bodies"
    );
    describe_counter!(
        "gateway_http_errors_total",
        Count,
        "Exchanges that the gateway answered with an error, by RFC 9209 kind"
    );
    describe_counter!(
        "gateway_http_aborts_total",
        Count,
        "Responses that were not sent to their end, by who ended them"
    );
    describe_gauge!(
        "gateway_http_exchanges_in_flight",
        Count,
        "Exchanges being served"
    );
    describe_counter!(
        "gateway_cache_requests_total",
        Count,
        "Exchanges that asked the cache, by what it did (RFC 9211)"
    );
    describe_gauge!(
        "gateway_cache_size_bytes",
        Bytes,
        "Bytes of stored responses"
    );
    describe_gauge!("gateway_cache_objects", Count, "Stored responses");
    describe_gauge!(
        "gateway_policy_kv_entries",
        Count,
        "Entries of policies' key-value stores"
    );
    describe_gauge!(
        "gateway_policy_kv_bytes",
        Bytes,
        "Memory of policies' key-value stores"
    );
    describe_counter!(
        "gateway_policy_kv_evictions_total",
        Count,
        "Entries of policies' key-value stores that were dropped before their time, to make room"
    );
    describe_counter!(
        "gateway_limits_store_requests_total",
        Count,
        "Questions to the store of shared limits, by what became of them"
    );
    describe_histogram!(
        "gateway_limits_store_seconds",
        Seconds,
        "From a question to the store of shared limits to its answer"
    );
    describe_gauge!(
        "gateway_limits_store_up",
        Count,
        "1 if the store of shared limits answers"
    );
    describe_counter!(
        "gateway_policy_limits_degraded_total",
        Count,
        "Decisions on shared limits that were made without their store"
    );
    describe_counter!(
        "gateway_cache_evictions_total",
        Count,
        "Stored responses dropped to make room"
    );
    describe_counter!(
        "gateway_cache_purged_total",
        Count,
        "Stored responses dropped by their tag"
    );
    describe_counter!(
        "gateway_upstream_retries_total",
        Count,
        "Attempts after the first"
    );
    describe_counter!(
        "gateway_upstream_connections_opened_total",
        Count,
        "Connections opened, by upstream and endpoint"
    );
    describe_counter!(
        "gateway_access_log_dropped_total",
        Count,
        "Access log lines dropped because writing them was too slow"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets_and_counters_their_labels() {
        let recorder = builder().expect("the buckets are fine").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("gateway_http_request_duration_seconds").record(0.003);
            metrics::counter!("gateway_http_errors_total", "kind" => "dns_error").increment(2);
        });
        let text = MetricsHandle(handle).render();
        assert!(
            text.contains("gateway_http_request_duration_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("gateway_http_request_duration_seconds_bucket{le=\"0.0025\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("gateway_http_errors_total{kind=\"dns_error\"} 2"),
            "{text}"
        );
        assert!(text.contains("# HELP gateway_http_errors_total"), "{text}");
    }
}
