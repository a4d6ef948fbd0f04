//! What policies ask of the gateway apart from an exchange: requests of their own to its upstreams, and records for the centre.
//!
//! A policy's request takes an endpoint and a connection as an exchange's would, once, without retries; no policy is asked about it,
//! and it is no exchange: it is counted with the policy, and not recorded.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use policy_host::{
    Later, OutboundCall, OutboundCalls, OutboundReply, PolicyRecord, PolicyRecords, ServiceError,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::error::{Kind, ProxyError, RecordFault};
use crate::pipeline::RecordSink;
use crate::upstream::{Upstreams, Wish};

/// The version of a policy record's shape: a reader that knows it can ignore fields it does not know.
const VERSION: u8 = 1;

pub struct UpstreamCalls(pub Arc<Upstreams>);

impl OutboundCalls for UpstreamCalls {
    fn send(&self, call: OutboundCall) -> Later<OutboundReply> {
        let upstreams = self.0.clone();
        Box::pin(async move {
            let deadline = Instant::now() + call.timeout;
            tokio::time::timeout_at(deadline, send(&upstreams, call, deadline))
                .await
                .unwrap_or(Err(ServiceError::Timeout))
        })
    }
}

async fn send(
    upstreams: &Upstreams,
    call: OutboundCall,
    deadline: Instant,
) -> Result<OutboundReply, ServiceError> {
    let upstream = upstreams
        .named(&call.upstream)
        .ok_or(ServiceError::NotFound)?;
    let picked = upstream
        .pick(Wish::default())
        .map_err(|error| fault_of(&error))?;
    let mut request = Request::new(Body::full(call.body));
    *request.method_mut() = call.method;
    // Without an authority the endpoint's own address stands in.
    *request.uri_mut() = Uri::from(call.path_and_query);
    *request.headers_mut() = call.headers;
    let sent = picked.send(request, Some(deadline)).await;
    let response = sent.map_err(|failed| fault_of(&failed.error))?;
    let (parts, body) = response.into_parts();
    let limit = u64::try_from(call.max_reply_bytes).unwrap_or(u64::MAX);
    let body = body.collect_bounded(limit).await;
    Ok(OutboundReply {
        status: parts.status,
        headers: parts.headers,
        body: body.map_err(|error| match error {
            BodyError::TooLarge { .. } => ServiceError::Limit,
            _ => ServiceError::Unavailable,
        })?,
    })
}

fn fault_of(error: &ProxyError) -> ServiceError {
    tracing::debug!(%error, "a policy's request failed");
    match error.kind {
        Kind::ConnectionTimeout | Kind::HttpResponseTimeout => ServiceError::Timeout,
        _ => ServiceError::Unavailable,
    }
}

/// A policy's record as the centre gets it; docs/specs/outbox.md has the format.
#[derive(Serialize)]
struct Envelope<'a> {
    v: u8,
    policy: &'a str,
    kind: &'a str,
    t_ms: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    /// The body, where it is JSON; written anew, so that a record is one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    /// The body, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

pub struct OutboxForPolicies {
    pub sink: Arc<dyn RecordSink>,
    /// How long an append may take.
    pub timeout: Duration,
}

impl PolicyRecords for OutboxForPolicies {
    fn append(&self, record: PolicyRecord) -> Later<u64> {
        let (sink, timeout) = (self.sink.clone(), self.timeout);
        Box::pin(async move {
            sink.ready().map_err(|error| refusal(&error))?;
            let line = envelope(&record).map_err(|_| ServiceError::Unavailable)?;
            match tokio::time::timeout(timeout, sink.append_durable(line)).await {
                Ok(Ok(receipt)) => Ok(receipt.seq.0),
                Ok(Err(error)) => Err(refusal(&error)),
                Err(_) => Err(ServiceError::Timeout),
            }
        })
    }
}

fn refusal(error: &ProxyError) -> ServiceError {
    match error.kind {
        Kind::RecordNotDurable(RecordFault::Full) => ServiceError::Limit,
        _ => ServiceError::Unavailable,
    }
}

fn envelope(record: &PolicyRecord) -> serde_json::Result<Vec<u8>> {
    let json: Option<Value> = serde_json::from_slice(&record.body).ok();
    let hex = json.is_none().then(|| {
        let digits = record.body.iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    });
    serde_json::to_vec(&Envelope {
        v: VERSION,
        policy: &record.policy,
        kind: &record.kind,
        t_ms: record.t_ms,
        id: &record.exchange,
        body: json,
        hex,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: &[u8], exchange: &str) -> String {
        let record = PolicyRecord {
            policy: "p".into(),
            kind: "audit".to_owned(),
            exchange: exchange.to_owned(),
            t_ms: 5,
            body: body.to_vec(),
        };
        String::from_utf8(envelope(&record).unwrap()).unwrap()
    }

    #[test]
    fn a_policys_record_keeps_json_on_one_line_and_other_bytes_as_hex() {
        assert_eq!(
            written(b"{ \"a\":\n[1]}", "x"),
            r#"{"v":1,"policy":"p","kind":"audit","t_ms":5,"id":"x","body":{"a":[1]}}"#
        );
        assert_eq!(
            written(b"\0a}", ""),
            r#"{"v":1,"policy":"p","kind":"audit","t_ms":5,"hex":"00617d"}"#
        );
    }
}
