//! One exchange of a test file, sent through the policy as the gateway would: request, attempts, response. What is seen of it is what
//! a test looks at.

mod bodies;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, CacheDirectives, Completed, ExchangeContext,
    LocalResponse, Outcome, RequestInfo, RequestParts, ResponseParts, RouteChoice, Source, Verdict,
};

use super::bed::Bed;
use super::services::Done;
use super::step::{AttemptPart, Decision, Step};

/// How an exchange went.
pub(crate) struct Seen {
    pub decision: Decision,
    pub request: RequestParts,
    pub request_body: Bytes,
    /// What the policy chose, at the request or at an attempt.
    pub route: Option<RouteChoice>,
    /// Of the last attempt; without one, what would have been used.
    pub upstream: String,
    pub attempts: u32,
    pub verdicts: Vec<&'static str>,
    pub response: ResponseParts,
    pub response_body: Bytes,
    pub reasons: Vec<String>,
    pub cache: CacheDirectives,
    pub attrs: Vec<(String, String)>,
    pub done: Done,
}

/// What the client gets, so far.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<Bytes>,
    source: Source,
}

impl Reply {
    fn local(response: LocalResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            body: vec![response.body],
            source: Source::Local,
        }
    }

    /// The gateway's own error.
    fn error(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Vec::new(),
            source: Source::Local,
        }
    }
}

fn reply_with(body: Vec<Bytes>, source: Source) -> Reply {
    Reply {
        body,
        source,
        ..Reply::error(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Sends the step's exchange once; `number` makes its id.
pub(crate) async fn run(bed: &Bed, step: &Step, number: u64) -> Seen {
    let info = RequestInfo {
        id: format!("test-{number}"),
        received_ms: bed.now_ms(),
        ..step.info.clone()
    };
    let mut context = ExchangeContext::new(step.request.clone(), info, Some(bed.upstreams.clone()));
    context.request_has_body = Some(!step.request_body.iter().all(Bytes::is_empty));
    let began_ms = bed.now_ms();
    bed.services.begin(&step.calls, step.outbox);
    let mut trip = Trip {
        bed,
        step,
        context,
        request_body: step.request_body.clone(),
        route: None,
        upstream: step.upstream.clone(),
        attempts: 0,
        verdicts: Vec::new(),
    };
    if step.tick {
        bed.step("tick", bed.policy.on_tick()).await;
        return trip.seen(Decision::Continue, Reply::error(StatusCode::OK));
    }
    let (decision, (reply, hooked)) = trip.until_response().await;
    let (decision, reply) = match decision {
        // The gateway's errors do not pass the response hooks.
        Decision::Continue | Decision::Respond | Decision::GiveUp if hooked => {
            trip.response(decision, reply).await
        }
        _ => (decision, reply),
    };
    trip.complete(&reply, bed.now_ms() - began_ms).await;
    trip.seen(decision, reply)
}

struct Trip<'t> {
    bed: &'t Bed,
    step: &'t Step,
    context: ExchangeContext,
    /// As it goes to the upstream.
    request_body: Vec<Bytes>,
    route: Option<RouteChoice>,
    upstream: String,
    attempts: u32,
    verdicts: Vec<&'static str>,
}

/// A reply, and whether the response hooks get to see it.
type Replied = (Decision, (Reply, bool));

fn refused(decision: Decision) -> Replied {
    (
        decision,
        (Reply::error(StatusCode::SERVICE_UNAVAILABLE), false),
    )
}

/// The gateway breaks a message off.
fn broken_off(decision: Decision, status: StatusCode) -> Replied {
    (decision, (Reply::error(status), false))
}

fn answered(response: LocalResponse) -> Replied {
    (Decision::Respond, (Reply::local(response), true))
}

impl Trip<'_> {
    async fn until_response(&mut self) -> Replied {
        let bed = self.bed;
        let call = bed.chain.on_request(&mut self.context);
        match bed.step("request", call).await {
            Outcome::Continue => {}
            Outcome::Respond(response) => return answered(response),
            Outcome::Defer => return refused(Decision::Defer),
            Outcome::Unavailable(_) => return refused(Decision::Unavailable),
        }
        if let Some(replied) = self.request_body().await {
            return replied;
        }
        self.choose(self.context.route.clone());
        let mut last = None;
        for (number, part) in (1..).zip(&self.step.attempts) {
            match self.attempt(number, part).await {
                Tried::Ended(replied) => return replied,
                Tried::Last => return self.forwarded(Some(part)),
                Tried::Again => last = Some(part),
            }
        }
        self.forwarded(last)
    }

    fn choose(&mut self, route: Option<RouteChoice>) {
        if let Some(route) = route {
            self.upstream.clone_from(&route.upstream);
            self.route = Some(route);
        }
    }

    async fn attempt(&mut self, number: u32, part: &AttemptPart) -> Tried {
        let mut attempt = Attempt {
            number,
            upstream: self.upstream.clone(),
            endpoint: self.route.as_ref().and_then(|route| route.endpoint),
        };
        let bed = self.bed;
        let call = bed.chain.before_attempt(&mut self.context, &attempt);
        match bed.step("attempt", call).await {
            AttemptChoice::Default => {}
            AttemptChoice::Route(route) => {
                attempt.upstream.clone_from(&route.upstream);
                attempt.endpoint = route.endpoint;
                self.choose(Some(route));
            }
            AttemptChoice::Respond(response) => return Tried::Ended(answered(response)),
            AttemptChoice::GiveUp => return Tried::Ended(self.gave_up()),
            AttemptChoice::Unavailable(_) => return Tried::Ended(refused(Decision::Unavailable)),
        }
        self.attempts += 1;
        self.bed.clock.advance_ms(part.latency_ms);
        let outcome = AttemptOutcome {
            status: part.error.is_none().then(|| self.status(part).as_u16()),
            error: part.error.clone(),
            latency_us: part.latency_ms.saturating_mul(1000),
        };
        let call = bed
            .chain
            .after_attempt(&mut self.context, &attempt, &outcome);
        let verdict = bed.step("outcome", call).await;
        let (word, tried) = match verdict {
            Verdict::Accept if part.error.is_some() => ("accept", Tried::Again),
            Verdict::Accept => ("accept", Tried::Last),
            Verdict::Retry => ("retry", Tried::Again),
            Verdict::GiveUp => ("give-up", Tried::Last),
            Verdict::Unavailable(_) => return Tried::Ended(refused(Decision::Unavailable)),
        };
        self.verdicts.push(word);
        tried
    }

    fn status(&self, part: &AttemptPart) -> StatusCode {
        part.status
            .or(self.step.response.status)
            .unwrap_or(StatusCode::OK)
    }

    /// What the file says was stored stands in for the upstream, if it is a stale response.
    fn gave_up(&self) -> Replied {
        if self.step.response.source == Source::StaleCache {
            (Decision::GiveUp, (self.written(StatusCode::OK), true))
        } else {
            refused(Decision::GiveUp)
        }
    }

    /// What came back after this, the last attempt.
    fn forwarded(&self, last: Option<&AttemptPart>) -> Replied {
        let failed = last.is_some_and(|part| part.error.is_some());
        if failed && self.step.response.source != Source::StaleCache {
            return (
                Decision::Continue,
                (Reply::error(StatusCode::BAD_GATEWAY), false),
            );
        }
        let status = last.and_then(|part| part.status).unwrap_or(StatusCode::OK);
        (Decision::Continue, (self.written(status), true))
    }

    /// The response as the file has it.
    fn written(&self, default: StatusCode) -> Reply {
        let part = &self.step.response;
        Reply {
            status: part.status.unwrap_or(default),
            headers: part.headers.clone(),
            body: part.body.clone(),
            source: part.source,
        }
    }

    /// Response hooks, and those on its body.
    async fn response(&mut self, decision: Decision, reply: Reply) -> (Decision, Reply) {
        self.context.response = Some(ResponseParts {
            status: reply.status,
            headers: reply.headers,
            source: reply.source,
        });
        let bed = self.bed;
        let call = bed.chain.on_response(&mut self.context);
        let outcome = bed.step("response", call).await;
        let kept = self.context.response.take();
        match outcome {
            Outcome::Respond(response) => {
                let reply = Reply::local(response);
                self.response_body(Decision::Respond, reply).await
            }
            Outcome::Unavailable(_) => (
                Decision::Unavailable,
                Reply::error(StatusCode::SERVICE_UNAVAILABLE),
            ),
            Outcome::Defer => (
                Decision::Defer,
                Reply::error(StatusCode::SERVICE_UNAVAILABLE),
            ),
            Outcome::Continue => {
                let mut reply = reply_with(reply.body, reply.source);
                if let Some(kept) = kept {
                    (reply.status, reply.headers) = (kept.status, kept.headers);
                }
                self.response_body(decision, reply).await
            }
        }
    }

    async fn complete(&mut self, reply: &Reply, took_ms: u64) {
        let took_us = took_ms.saturating_mul(1000);
        let cached = matches!(reply.source, Source::Cache | Source::StaleCache);
        let bytes = |body: &[Bytes]| body.iter().map(|chunk| chunk.len() as u64).sum();
        let completed = Completed {
            status: reply.status.as_u16(),
            duration_us: took_us,
            upstream_us: (self.attempts > 0).then_some(took_us),
            upstream: (self.attempts > 0).then(|| self.upstream.clone()),
            attempts: self.attempts,
            request_bytes: bytes(&self.step.request_body),
            response_bytes: bytes(&reply.body),
            cache_status: if cached {
                "hit".to_owned()
            } else {
                String::new()
            },
            client_aborted: false,
        };
        let call = self.bed.chain.on_complete(&mut self.context, &completed);
        self.bed.step("complete", call).await;
    }

    fn seen(self, decision: Decision, mut reply: Reply) -> Seen {
        let done = self.bed.services.take_done();
        let exchange = self.context.into_exchange();
        exchange.response_headers.put_on(&mut reply.headers);
        Seen {
            decision,
            request: exchange.request,
            request_body: whole(&self.request_body),
            route: self.route,
            upstream: self.upstream,
            attempts: self.attempts,
            verdicts: self.verdicts,
            response: ResponseParts {
                status: reply.status,
                headers: reply.headers,
                source: reply.source,
            },
            response_body: whole(&reply.body),
            reasons: exchange
                .reasons
                .into_iter()
                .map(|reason| reason.text)
                .collect(),
            cache: exchange.cache,
            attrs: exchange
                .attrs
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            done,
        }
    }
}

enum Tried {
    /// There is nothing to wait for.
    Ended(Replied),
    /// Its response is used.
    Last,
    /// The next one is made, if the file has it.
    Again,
}

fn whole(chunks: &[Bytes]) -> Bytes {
    match chunks {
        [] => Bytes::new(),
        [one] => one.clone(),
        several => several.concat().into(),
    }
}
