//! The last stage: one account of every exchange, closed exactly once, whatever happened to it.
//!
//! An `Account` is opened before anything else is done and closed when the response's body ended, failed or was given up, or when
//! the account itself is dropped on the way there (the client left, a stage panicked). The metrics, the access log and the record
//! are made of it then. The record of a durable route is the exception: it is written when the response's head is ready, so it has
//! the status but not the final byte counts, and the head waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edge_types::{RECEIPT_HEADER, Receipt};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use parking_lot::Mutex;
use policy_host::llm::UsageScanner;
use policy_host::{Completed, SetFields};

use super::ending::Kept;
use super::{Answer, Gateway, Route};
use crate::body::{Body, BodyEnd, ByteCount};
use crate::config::RecordMode;
use crate::drain::Ticket;
use crate::error::{Kind, ProxyError, RecordFault, RequestFault, Side};
use crate::exchange::{Client, Ending, Protocol, RequestId, Summary};
use crate::telemetry::{ExchangeLine, InFlight};

/// The status that an exchange is recorded with when its client left before there was one.
const CLIENT_LEFT: u16 = 499;

const RECORD: HeaderName = HeaderName::from_static(RECEIPT_HEADER);

/// A durable append in progress.
pub type Append<'a> = Pin<Box<dyn Future<Output = Result<Receipt, ProxyError>> + Send + 'a>>;

/// Where records go: the outbox.
pub trait RecordSink: Send + Sync {
    /// Whether an append could succeed now; asked before a durable route reaches its upstream.
    fn ready(&self) -> Result<(), ProxyError>;
    /// Resolves once the record is on disk.
    fn append_durable(&self, record: Vec<u8>) -> Append<'_>;
    /// Never waits; a record that cannot be taken is dropped, and `false`.
    fn append_lazy(&self, record: Vec<u8>) -> bool;
}

/// What is still to be done about the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Nothing: the route has none, or it is done, or was refused.
    Nothing,
    /// When the account is closed.
    AtEnd,
    /// Before the response's head leaves.
    BeforeHead,
}

/// The account of one exchange.
pub(super) struct Account {
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    started: Instant,
    pub summary: Box<Summary>,
    /// Fields that policies want on the response, whatever it will be; `respond::complete` sets them.
    pub response_headers: SetFields,
    request_bytes: ByteCount,
    response_bytes: ByteCount,
    duty: Duty,
    closed: bool,
    /// What policies see of the exchange, for those that are told of its end.
    kept: Option<Kept>,
    /// The tokens of an LLM's response, while it passes.
    pub usage: Option<Arc<Mutex<UsageScanner>>>,
    ticket: Option<Ticket>,
    _in_flight: InFlight,
}

impl Account {
    pub(super) fn open(
        gateway: Arc<Gateway>,
        client: Arc<Client>,
        request: Request<Body>,
    ) -> (Self, Request<Body>) {
        client.activity.begin();
        let request_bytes = ByteCount::default();
        let summary = Box::new(Summary::begun(
            RequestId(rand::random()),
            wall_ms(),
            client.addr,
            Protocol::of(request.version()),
            request.method().clone(),
        ));
        let account = Self {
            ticket: gateway.exchanges.enter(),
            _in_flight: gateway.metrics.begin(),
            gateway,
            client,
            started: Instant::now(),
            summary,
            response_headers: SetFields::default(),
            response_bytes: ByteCount::default(),
            duty: Duty::Nothing,
            closed: false,
            kept: None,
            usage: None,
            request_bytes,
        };
        let request = request.map(|body| body.counted(&account.request_bytes));
        (account, request)
    }

    pub(super) fn keep(&mut self, kept: Option<Kept>) {
        self.kept = kept;
    }

    /// What policies want on the response. An answer that may yet be replaced, if it cannot be recorded, leaves them for the next.
    pub(super) fn decided_fields(&mut self) -> SetFields {
        match self.duty {
            Duty::BeforeHead => self.response_headers.clone(),
            Duty::Nothing | Duty::AtEnd => std::mem::take(&mut self.response_headers),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn id_header(&self) -> HeaderValue {
        // 32 hex digits are always a header value.
        HeaderValue::try_from(self.summary.id.to_string()).unwrap_or(HeaderValue::from_static(""))
    }

    pub(super) fn addressed(&mut self, authority: &str, path: &str) {
        authority.clone_into(&mut self.summary.authority);
        path.clone_into(&mut self.summary.path);
    }

    /// The route is known, and with it what becomes of the record and how long the body may be.
    pub(super) fn matched(&mut self, route: &Route, body: Body) -> Result<Body, ProxyError> {
        self.summary.route = Some(route.name.clone());
        self.duty = match route.config.record {
            RecordMode::None => Duty::Nothing,
            RecordMode::Lazy => Duty::AtEnd,
            RecordMode::Durable => Duty::BeforeHead,
        };
        if self.ticket.is_none() {
            let detail = format!("{} exchanges in flight", self.gateway.limits.max_exchanges);
            return Err(ProxyError::new(
                Kind::ConnectionLimitReached,
                Side::Gateway,
                detail,
            ));
        }
        let limit = route.config.max_body_bytes;
        if let Some(announced) = body.exact_len().filter(|length| *length > limit) {
            let detail = format!("{announced} bytes announced, {limit} allowed");
            return Err(ProxyError::request(RequestFault::BodyTooLarge, detail));
        }
        if let (Duty::BeforeHead, Some(records)) = (self.duty, &self.gateway.records) {
            // What cannot be recorded is not done: the upstream is not even asked.
            records.ready()?;
        }
        if body.is_empty() {
            return Ok(body);
        }
        Ok(body
            .bounded(limit)
            .between_bytes(self.gateway.limits.body_timeout))
    }

    /// Hands the answer on. The account goes with its body, and is closed when that is over.
    pub(super) fn follow(mut self, answer: Answer) -> Response<Body> {
        self.summary.header_after = self.started.elapsed();
        self.summary.source = answer.source;
        let count = self.response_bytes.clone();
        answer.response.map(|body| {
            body.counted(&count).on_end(move |end| {
                let ending = match end {
                    BodyEnd::Complete => Ending::Complete,
                    BodyEnd::Failed(_) => Ending::ResponseFailed,
                    BodyEnd::Dropped => Ending::ClientAborted,
                };
                self.close(ending);
            })
        })
    }

    fn close(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let summary = &mut self.summary;
        summary.duration = self.started.elapsed();
        summary.request_bytes = self.request_bytes.bytes();
        summary.response_bytes = self.response_bytes.bytes();
        summary.ending = ending;
        if summary.status == 0 {
            summary.status = CLIENT_LEFT;
        }
        self.client.activity.end();
        self.gateway.metrics.record(summary);
        if let Some(kept) = self.kept.take() {
            kept.end(&self.gateway, || completed(summary), self.usage.take());
        }
        if std::mem::replace(&mut self.duty, Duty::Nothing) != Duty::Nothing {
            append_lazy(&self.gateway, summary);
        }
        if let Some(log) = &self.gateway.access_log {
            // Nobody looks at the account after this: the line is moved, not copied.
            let blank = Summary::begun(
                RequestId(0),
                0,
                summary.client,
                summary.protocol,
                Method::GET,
            );
            log.write(std::mem::replace(&mut **summary, blank));
        }
    }
}

/// An exchange that ended, as policies are told of it.
fn completed(summary: &Summary) -> Completed {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Completed {
        status: summary.status,
        duration_us: us(summary.duration),
        upstream_us: summary.upstream_after.map(us),
        upstream: summary.upstream.as_deref().map(str::to_owned),
        attempts: summary.attempts,
        request_bytes: summary.request_bytes,
        response_bytes: summary.response_bytes,
        cache_status: summary.cache.to_owned(),
        client_aborted: summary.ending == Ending::ClientAborted,
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close(Ending::ClientAborted);
    }
}

/// Writes the record of a durable route and names it on the response; others pass at once.
pub(super) async fn before_head(
    account: &mut Account,
    mut answer: Answer,
) -> Result<Answer, ProxyError> {
    if account.duty != Duty::BeforeHead {
        return Ok(answer);
    }
    let Some(records) = account.gateway.records.clone() else {
        return Ok(answer);
    };
    account.summary.source = answer.source;
    account.summary.duration = account.started.elapsed();
    account.summary.header_after = account.summary.duration;
    account.summary.request_bytes = account.request_bytes.bytes();
    account.summary.ending = Ending::Complete;
    let line = record_of(&account.summary)?;
    // From here on the record is the outbox's business: a client that leaves now must not have it written twice.
    account.duty = Duty::Nothing;
    let append = tokio::time::timeout(
        account.gateway.durable_timeout,
        records.append_durable(line),
    );
    let receipt = append.await.unwrap_or_else(|_| {
        let detail = format!(
            "the record was not on disk within {:?}",
            account.gateway.durable_timeout
        );
        Err(ProxyError::new(
            Kind::RecordNotDurable(RecordFault::Unavailable),
            Side::Gateway,
            detail,
        ))
    })?;
    let header = HeaderValue::try_from(receipt.to_header()).map_err(|error| {
        ProxyError::internal("a receipt that is not a header value").because(error)
    })?;
    answer.response.headers_mut().insert(RECORD, header);
    Ok(answer)
}

fn record_of(summary: &Summary) -> Result<Vec<u8>, ProxyError> {
    ExchangeLine::for_record(summary)
        .to_json()
        .map_err(|error| {
            ProxyError::internal("a record that cannot be written as JSON").because(error)
        })
}

fn append_lazy(gateway: &Gateway, summary: &Summary) {
    let Some(records) = &gateway.records else {
        return;
    };
    let kept = record_of(summary).is_ok_and(|line| records.append_lazy(line));
    if !kept {
        metrics::counter!("gateway_records_dropped_total").increment(1);
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
