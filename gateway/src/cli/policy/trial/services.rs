//! What stands in for the gateway's services: upstreams that answer a policy's own calls as the test file says, and an outbox whose
//! records can be looked at. Nothing leaves the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use policy_host::{
    Later, ManualClock, OutboundCall, OutboundCalls, OutboundReply, PolicyRecord, PolicyRecords,
    ServiceError, Services,
};

use super::values::{BodyExpectation, FieldExpectations};

/// Calls that are told of where nothing answers them: the first show what is missing.
const MAX_UNANSWERED: usize = 16;

/// How an upstream answers calls.
#[derive(Debug, Clone)]
pub(crate) struct CallRule {
    pub upstream: String,
    /// Which calls it is for; what is not said is any.
    pub method: Option<String>,
    pub path: Option<String>,
    pub headers: FieldExpectations,
    pub body: Option<BodyExpectation>,
    pub answer: Result<OutboundReply, ServiceError>,
    /// The clock moves on by so much before the answer is there.
    pub delay_ms: u64,
    /// So many calls must be made of it, and no more are answered by it. None: any number.
    pub times: Option<u64>,
}

impl CallRule {
    fn is_for(&self, call: &OutboundCall) -> bool {
        let word = |wanted: &Option<String>, got: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == got)
        };
        self.upstream == call.upstream
            && word(&self.method, call.method.as_str())
            && word(&self.path, call.path_and_query.as_str())
            && self
                .headers
                .iter()
                .all(|(name, expected)| expected.holds(&call.headers, name))
            && self.body.as_ref().is_none_or(|body| body.holds(&call.body))
    }
}

/// The services of one test file.
#[derive(Clone)]
pub(crate) struct StandIns(Arc<Inner>);

struct Inner {
    clock: Arc<ManualClock>,
    /// Those of the file.
    common: Vec<CallRule>,
    now: Mutex<Now>,
}

/// What concerns the exchange under way.
#[derive(Default)]
struct Now {
    /// Its own rules, and how often each was used.
    rules: Vec<(CallRule, u64)>,
    outbox: Option<ServiceError>,
    done: Done,
    next_sequence: u64,
}

/// What the policy did with the services in one exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// Calls, those that nothing answered included.
    pub calls: u64,
    pub unanswered: Vec<String>,
    /// How often each of the exchange's own rules was used.
    pub used: Vec<u64>,
    /// Kind and body of what it appended to the outbox.
    pub records: Vec<(String, Bytes)>,
}

impl StandIns {
    pub(crate) fn new(clock: Arc<ManualClock>, common: Vec<CallRule>) -> Self {
        Self(Arc::new(Inner {
            clock,
            common,
            now: Mutex::default(),
        }))
    }

    pub(crate) fn services(&self) -> Services {
        Services {
            calls: Some(Arc::new(self.clone())),
            records: Some(Arc::new(self.clone())),
            ..Services::default()
        }
    }

    /// An exchange begins, in which these rules come before the file's.
    pub(crate) fn begin(&self, rules: &[CallRule], outbox: Option<ServiceError>) {
        let mut now = self.0.now.lock();
        now.rules = rules.iter().map(|rule| (rule.clone(), 0)).collect();
        now.outbox = outbox;
        now.done = Done::default();
    }

    pub(crate) fn take_done(&self) -> Done {
        let mut now = self.0.now.lock();
        let mut done = std::mem::take(&mut now.done);
        done.used = now.rules.iter().map(|(_, used)| *used).collect();
        done
    }

    fn rule_for(&self, call: &OutboundCall) -> Option<CallRule> {
        let mut now = self.0.now.lock();
        now.done.calls += 1;
        let own = now
            .rules
            .iter_mut()
            .find(|(rule, used)| rule.times.is_none_or(|times| *used < times) && rule.is_for(call));
        if let Some((rule, used)) = own {
            *used += 1;
            return Some(rule.clone());
        }
        let common = self.0.common.iter().find(|rule| rule.is_for(call));
        if common.is_none() && now.done.unanswered.len() < MAX_UNANSWERED {
            let (method, path) = (&call.method, &call.path_and_query);
            let told = format!("{method} {path} of upstream {:?}", call.upstream);
            now.done.unanswered.push(told);
        }
        common.cloned()
    }
}

impl OutboundCalls for StandIns {
    /// Counted here, whether anybody waits for the answer or not.
    fn send(&self, call: OutboundCall) -> Later<OutboundReply> {
        let rule = self.rule_for(&call);
        let clock = self.0.clock.clone();
        Box::pin(async move {
            let rule = rule.ok_or(ServiceError::Unavailable)?;
            let delay = Duration::from_millis(rule.delay_ms);
            let waited = delay.min(call.timeout);
            clock.advance_ms(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
            if delay > call.timeout {
                return Err(ServiceError::Timeout);
            }
            let reply = rule.answer?;
            if reply.body.len() > call.max_reply_bytes {
                return Err(ServiceError::Limit);
            }
            Ok(reply)
        })
    }
}

impl PolicyRecords for StandIns {
    fn append(&self, record: PolicyRecord) -> Later<u64> {
        let mut now = self.0.now.lock();
        let appended = match now.outbox {
            Some(error) => Err(error),
            None => {
                let entry = (record.kind, Bytes::from(record.body));
                now.done.records.push(entry);
                now.next_sequence += 1;
                Ok(now.next_sequence)
            }
        };
        Box::pin(std::future::ready(appended))
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;

    fn rule(path: Option<&str>, status: u16, times: Option<u64>) -> CallRule {
        let status = StatusCode::from_u16(status).expect("a status");
        CallRule {
            upstream: "u".to_owned(),
            method: None,
            path: path.map(str::to_owned),
            headers: FieldExpectations::new(),
            body: None,
            answer: Ok(OutboundReply {
                status,
                headers: HeaderMap::new(),
                body: Bytes::new(),
            }),
            delay_ms: 20,
            times,
        }
    }

    async fn status(stand_ins: &StandIns, path: &'static str, timeout_ms: u64) -> Option<u16> {
        let call = OutboundCall {
            upstream: "u".to_owned(),
            method: Method::GET,
            path_and_query: PathAndQuery::from_static(path),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: Duration::from_millis(timeout_ms),
            max_reply_bytes: 100,
        };
        let reply = stand_ins.send(call).await;
        reply.ok().map(|reply| reply.status.as_u16())
    }

    #[tokio::test]
    async fn an_exchange_s_own_rules_come_first_and_are_used_up() {
        let clock = Arc::new(ManualClock::starting_at_ms(0));
        let stand_ins = StandIns::new(clock.clone(), vec![rule(None, 200, None)]);
        stand_ins.begin(
            &[
                rule(Some("/a"), 503, Some(1)),
                rule(Some("/a"), 201, Some(2)),
            ],
            None,
        );
        assert_eq!(status(&stand_ins, "/a", 100).await, Some(503));
        assert_eq!(status(&stand_ins, "/a", 100).await, Some(201));
        assert_eq!(status(&stand_ins, "/b", 100).await, Some(200));
        // As late as the caller waits, and no later.
        let before = policy_host::Clock::wall_ms(&*clock);
        assert_eq!(status(&stand_ins, "/b", 10).await, None);
        assert_eq!(policy_host::Clock::wall_ms(&*clock) - before, 10);
        let done = stand_ins.take_done();
        assert_eq!((done.calls, done.used), (4, vec![1, 1]));
        assert!(done.unanswered.is_empty());
        stand_ins.begin(&[], None);
        assert_eq!(stand_ins.take_done().calls, 0);
    }
}
