//! What runs beside the traffic: active health checks, and the sweep of idle connections.
//!
//! Both tasks hold the upstreams weakly and end with them, so that a configuration that was replaced leaves nothing behind.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, header};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::connect::Sender;
use super::endpoint::Endpoint;
use super::headers::{self, Form};
use super::{Upstream, Upstreams};
use crate::body::Body;
use crate::config::HealthConfig;

/// Idle connections are looked at this often: their time-out is exact to this much.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// A health check reads at most this much of an answer: it is the status that counts.
const MAX_CHECK_BODY_BYTES: u64 = 64 * 1024;

/// Starts the tasks. Needs a tokio runtime.
pub fn start(upstreams: &Arc<Upstreams>) {
    tokio::spawn(sweep(Arc::downgrade(upstreams)));
    for upstream in upstreams.iter() {
        let Some(rules) = upstream.health_rules() else {
            continue;
        };
        for endpoint in upstream.endpoints() {
            tokio::spawn(check(
                Arc::downgrade(upstream),
                Arc::downgrade(endpoint),
                rules.clone(),
            ));
        }
    }
}

async fn sweep(upstreams: Weak<Upstreams>) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(upstreams) = upstreams.upgrade() else {
            return;
        };
        for endpoint in upstreams.iter().flat_map(|upstream| upstream.endpoints()) {
            endpoint.pool.sweep();
        }
    }
}

async fn check(upstream: Weak<Upstream>, endpoint: Weak<Endpoint>, rules: HealthConfig) {
    let mut ticks = interval(rules.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(upstream), Some(endpoint)) = (upstream.upgrade(), endpoint.upgrade()) else {
            return;
        };
        let healthy = timeout(rules.timeout, answers(&endpoint, &rules))
            .await
            .unwrap_or(false);
        if endpoint.health.checked(healthy, &rules) {
            let (name, address) = (upstream.name(), endpoint.address());
            tracing::warn!(upstream = %name, endpoint = %address, healthy, "health check changed its mind");
        }
    }
}

/// A connection of its own: a check that rides on a pooled one says nothing about new connections.
async fn answers(endpoint: &Endpoint, rules: &HealthConfig) -> bool {
    let deadline = super::after(Instant::now(), rules.timeout);
    let Ok(sender) = endpoint.connector.open(Some(deadline)).await else {
        return false;
    };
    let Ok(mut request) = Request::get(rules.path.as_str())
        .header(header::USER_AGENT, "veilgate-health-check")
        .body(Body::empty())
    else {
        return false;
    };
    let response = match sender {
        Sender::H1(mut sender) => {
            headers::address(&mut request, Form::H1, &endpoint.authority);
            sender.send_request(request).await
        }
        Sender::H2(mut sender) => {
            let form = Form::H2 {
                tls: endpoint.connector.is_tls(),
            };
            headers::address(&mut request, form, &endpoint.authority);
            sender.send_request(request).await
        }
    };
    let Ok(response) = response else {
        return false;
    };
    let fine = response.status().is_success() || response.status().is_redirection();
    let body = Body::incoming(response.into_body());
    fine && body.collect_bounded(MAX_CHECK_BODY_BYTES).await.is_ok()
}
