//! One exchange as a JSON object: the line of the access log, and the body of the record in the outbox.

use policy_host::Reason;
use serde::{Serialize, Serializer};

use crate::exchange::Summary;

/// The version of the object's shape: a reader that knows it can ignore fields it does not know.
const VERSION: u8 = 1;

/// What is told of an exchange that ended.
#[derive(Debug, Serialize)]
pub struct ExchangeLine<'a> {
    v: u8,
    id: String,
    t_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    proto: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    attempts: u32,
    cache: &'static str,
    dur_us: u64,
    head_us: u64,
    req_bytes: u64,
    resp_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    end: &'static str,
    #[serde(serialize_with = "in_words")]
    reasons: &'a [Reason],
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

impl<'a> ExchangeLine<'a> {
    /// For the access log: with the client's address, which stays on this machine.
    pub fn for_access_log(summary: &'a Summary) -> Self {
        Self {
            client: Some(summary.client.to_string()),
            ..Self::for_record(summary)
        }
    }

    /// For the outbox.
    pub fn for_record(summary: &'a Summary) -> Self {
        Self {
            v: VERSION,
            id: summary.id.to_string(),
            t_ms: summary.received_ms,
            route: summary.route.as_deref(),
            method: summary.method.as_str(),
            host: &summary.authority,
            path: &summary.path,
            status: summary.status,
            proto: summary.protocol.name(),
            source: summary.source.name(),
            upstream: summary.upstream.as_deref(),
            endpoint: summary.endpoint.as_deref(),
            attempts: summary.attempts,
            cache: summary.cache,
            dur_us: micros(summary.duration),
            head_us: micros(summary.header_after),
            req_bytes: summary.request_bytes,
            resp_bytes: summary.response_bytes,
            error: summary.error.map(|kind| kind.name()),
            end: summary.ending.name(),
            reasons: &summary.reasons,
            tenant: summary.tenant.as_deref(),
            client: None,
        }
    }

    /// The object without a line end.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// Put into words here, for the one who reads them: most exchanges are not logged.
fn in_words<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(Reason::to_string))
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
