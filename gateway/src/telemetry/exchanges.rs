//! The metrics of exchanges: counted once for each, from its summary.
//!
//! Labels are bounded: routes and upstreams are the configuration's, methods and statuses are levelled. Handles are kept, so that
//! an exchange costs one look-up and a few atomic additions.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::RwLock;

use crate::exchange::{Ending, Protocol, Summary};

/// Label of an exchange that matched no route.
const NO_ROUTE: &str = "-";

/// Combinations of labels for which handles are kept. Past it handles are looked up in the recorder each time: slower, never wrong.
const MAX_KEPT: usize = 16_384;

/// The handles of all exchanges' metrics. Make one after the recorder is installed, and share it.
pub struct ExchangeMetrics {
    kept: RwLock<HashMap<Key, Arc<Handles>>>,
    in_flight: Gauge,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    route: Option<Arc<str>>,
    protocol: Protocol,
    method: &'static str,
    status: u16,
}

struct Handles {
    requests: Counter,
    duration: Histogram,
    head: Histogram,
    request_bytes: Counter,
    response_bytes: Counter,
}

impl ExchangeMetrics {
    pub fn new() -> Self {
        Self {
            kept: RwLock::default(),
            in_flight: gauge!("gateway_http_exchanges_in_flight"),
        }
    }

    /// An exchange began; the guard counts it out.
    pub fn begin(&self) -> InFlight {
        self.in_flight.increment(1.0);
        InFlight(self.in_flight.clone())
    }

    /// An exchange ended.
    pub fn record(&self, summary: &Summary) {
        let handles = self.handles(summary);
        handles.requests.increment(1);
        handles.duration.record(summary.duration.as_secs_f64());
        handles.head.record(summary.header_after.as_secs_f64());
        handles.request_bytes.increment(summary.request_bytes);
        handles.response_bytes.increment(summary.response_bytes);
        if !summary.cache.is_empty() {
            counter!("gateway_cache_requests_total", "result" => summary.cache).increment(1);
        }
        if let Some(kind) = summary.error {
            counter!("gateway_http_errors_total", "kind" => kind.name()).increment(1);
        }
        if summary.ending != Ending::Complete {
            counter!("gateway_http_aborts_total", "end" => summary.ending.name()).increment(1);
        }
        if summary.attempts > 1 {
            counter!("gateway_upstream_retries_total").increment(u64::from(summary.attempts - 1));
        }
    }

    fn handles(&self, summary: &Summary) -> Arc<Handles> {
        let key = Key {
            route: summary.route.clone(),
            protocol: summary.protocol,
            method: method_label(&summary.method),
            status: status_label(summary.status),
        };
        if let Some(handles) = self.kept.read().get(&key) {
            return handles.clone();
        }
        let handles = Arc::new(Handles::register(&key));
        let mut kept = self.kept.write();
        if kept.len() < MAX_KEPT {
            kept.insert(key, handles.clone());
        }
        handles
    }
}

impl Default for ExchangeMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// An exchange that is being served.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Handles {
    fn register(key: &Key) -> Self {
        let route = key.route.as_deref().unwrap_or(NO_ROUTE).to_owned();
        let proto = key.protocol.name();
        let status = key.status.to_string();
        Self {
            requests: counter!(
                "gateway_http_requests_total",
                "route" => route.clone(), "proto" => proto, "method" => key.method, "status" => status
            ),
            duration: histogram!("gateway_http_request_duration_seconds", "route" => route.clone(), "proto" => proto),
            head: histogram!("gateway_http_response_head_seconds", "route" => route.clone(), "proto" => proto),
            request_bytes: counter!("gateway_http_request_bytes_total", "route" => route.clone()),
            response_bytes: counter!("gateway_http_response_bytes_total", "route" => route),
        }
    }
}

/// A client can invent methods; a label must not follow.
fn method_label(method: &http::Method) -> &'static str {
    use http::Method;
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}

/// Codes outside the registered classes (an upstream can send up to 999) share one label.
fn status_label(status: u16) -> u16 {
    if (100..600).contains(&status) {
        status
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_follow_what_peers_invent() {
        let invented = http::Method::from_bytes(b"BREW").expect("a token");
        assert_eq!(method_label(&invented), "other");
        assert_eq!(method_label(&http::Method::PATCH), "PATCH");
        assert_eq!(
            (status_label(418), status_label(999), status_label(7)),
            (418, 0, 0)
        );
    }
}
