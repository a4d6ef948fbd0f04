//! The policy stages: the request and the response lent to the route's chain, and its decisions read back.
//!
//! Calls of policies that never wait are done on warm instances, on this thread, without a pause; the others are awaited. What a policy may not do it cannot do, so nothing is checked again
//! here but what the pipeline itself needs.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Response};
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, ExchangeContext, Identity, LocalResponse, Outcome,
    RequestInfo, RequestParts, ResponseParts, Unavailable, Verdict,
};

use super::ending::Kept;
use super::held::{Held, Shared};
use super::normalize::Head;
use super::record::Account;
use super::{Answer, Gateway, Route, dispatch};
use crate::body::Body;
use crate::error::{Kind, ProxyError, Side};
use crate::exchange::{Client, Source};

/// One exchange on its route.
pub(super) struct Stage<'e> {
    pub gateway: &'e Arc<Gateway>,
    pub account: &'e mut Account,
    pub route: Arc<Route>,
    pub context: Held,
    /// Where the exchange is while others hold it, if a body is watched.
    shared: Option<Arc<Shared>>,
}

/// The exchange goes with the account, until the response's body is over.
impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let shared = self.shared.take();
        self.account
            .keep(Kept::of(&self.route, &mut self.context, shared));
    }
}

impl<'e> Stage<'e> {
    pub(super) fn begin(
        gateway: &'e Arc<Gateway>,
        client: &Client,
        account: &'e mut Account,
        route: Arc<Route>,
        head: Head,
        has_body: bool,
    ) -> Self {
        let request = RequestParts {
            method: head.method,
            path_and_query: head.target.as_str().to_owned(),
            authority: head.authority,
            headers: head.headers,
        };
        let identity = match &client.peer {
            Some(peer) => Identity {
                tenant: None,
                subject: Some(peer.to_string()),
                method: "mtls".into(),
            },
            None => Identity::default(),
        };
        let info = RequestInfo {
            id: account.summary.id.to_string(),
            client: client.addr,
            protocol: account.summary.protocol.name(),
            tls: client.tls,
            sni: client.sni.as_deref().map(str::to_owned),
            route: route.name.clone(),
            received_ms: account.summary.received_ms,
            identity,
        };
        let mut context = ExchangeContext::new(request, info, Some(gateway.upstreams.clone()));
        context.request_has_body = Some(has_body);
        Self {
            gateway,
            account,
            route,
            context: Held::new(context),
            shared: None,
        }
    }

    /// From here on others may hold the exchange, while this stage is `apart`.
    pub(super) fn share(&mut self) -> Arc<Shared> {
        self.shared.get_or_insert_default().clone()
    }

    /// Waits for something that may need the exchange: a body that is watched, and what waits for one.
    pub(super) async fn apart<T>(&mut self, work: impl Future<Output = T>) -> T {
        let Some(shared) = self.shared.clone() else {
            return work.await;
        };
        if let Some(context) = self.context.take() {
            shared.put_back(context);
        }
        let done = work.await;
        self.context = shared.turn().await.keep();
        done
    }

    /// Request hooks. An answer means that no upstream is asked.
    pub(super) async fn on_request(&mut self) -> Result<Option<Answer>, ProxyError> {
        if self.route.chain.is_empty() {
            return Ok(None);
        }
        let outcome = self.route.chain.on_request(&mut self.context).await;
        self.note_decisions();
        answer_of(outcome)
    }

    /// Response hooks, whatever the response's source. A policy may answer something else instead.
    pub(super) async fn on_response(&mut self, answer: Answer) -> Result<Answer, ProxyError> {
        if !self.route.chain.sees_response(&self.context) {
            return Ok(self.filled(answer));
        }
        let Answer {
            response,
            source,
            fill,
        } = answer;
        let (parts, body) = response.into_parts();
        let seen = ResponseParts {
            status: parts.status,
            headers: parts.headers,
            source: seen_as(source),
        };
        self.context.response = Some(seen);
        self.context.response_has_body = Some(!body.is_empty());
        let outcome = self.route.chain.on_response(&mut self.context).await;
        self.note_decisions();
        match (outcome, self.context.response.take()) {
            (Outcome::Continue, Some(seen)) => {
                let mut response = Response::new(body);
                *response.status_mut() = seen.status;
                *response.headers_mut() = seen.headers;
                Ok(self.filled(Answer {
                    response,
                    source,
                    fill,
                }))
            }
            (Outcome::Continue, None) => Err(ProxyError::internal(
                "the policies did not give the response back",
            )),
            (Outcome::Respond(local), _) => Ok(local_answer(local)),
            (Outcome::Defer, _) => Err(no_queue()),
            (Outcome::Unavailable(unavailable), _) => Err(unavailable_policy(&unavailable)),
        }
    }

    /// Lets the cache store what the policies let pass.
    fn filled(&mut self, mut answer: Answer) -> Answer {
        if let Some(fill) = answer.fill.take() {
            answer.response = dispatch::finish(self, fill, answer.response);
        }
        answer
    }

    pub(super) async fn before_attempt(&mut self, attempt: &Attempt) -> AttemptChoice {
        let choice = self
            .route
            .chain
            .before_attempt(&mut self.context, attempt)
            .await;
        self.note_decisions();
        choice
    }

    pub(super) async fn after_attempt(
        &mut self,
        attempt: &Attempt,
        outcome: &AttemptOutcome,
    ) -> Verdict {
        let verdict = self
            .route
            .chain
            .after_attempt(&mut self.context, attempt, outcome)
            .await;
        self.note_decisions();
        verdict
    }

    pub(super) fn has_attempt_hooks(&self) -> bool {
        self.route
            .chain
            .policies()
            .iter()
            .any(|policy| policy.has_attempt_hook() || policy.has_outcome_hook())
    }

    /// The request's target as the policies left it.
    pub(super) fn target(&self) -> Result<PathAndQuery, ProxyError> {
        PathAndQuery::try_from(self.context.request.path_and_query.as_str()).map_err(|error| {
            ProxyError::internal("a policy left a path that cannot be sent").because(error)
        })
    }

    /// The header fields to send; they are kept only where somebody may still look at them.
    pub(super) fn take_headers(&mut self, for_the_last_time: bool) -> HeaderMap {
        if for_the_last_time && !self.route.chain.looks_back(&self.context) {
            std::mem::take(&mut self.context.request.headers)
        } else {
            self.context.request.headers.clone()
        }
    }

    /// What a policy that watched a body answered in its place. Only as long as no head was sent.
    pub(super) fn answer_of_watcher(&self) -> Option<Answer> {
        let answer = self.shared.as_ref()?.take_answer()?;
        Some(local_answer(answer))
    }

    pub(super) fn note_decisions(&mut self) {
        let reasons = &mut self.account.summary.reasons;
        reasons.append(&mut self.context.reasons);
        if !self.context.response_headers.is_empty() {
            let decided = std::mem::take(&mut self.context.response_headers);
            self.account.response_headers.replace_with(decided);
        }
    }
}

/// What a phase of the request came to. None: it goes on.
pub(super) fn answer_of(outcome: Outcome) -> Result<Option<Answer>, ProxyError> {
    match outcome {
        Outcome::Continue => Ok(None),
        Outcome::Respond(local) => Ok(Some(local_answer(local))),
        Outcome::Defer => Err(no_queue()),
        Outcome::Unavailable(unavailable) => Err(unavailable_policy(&unavailable)),
    }
}

/// A policy's own answer.
pub(super) fn local_answer(local: LocalResponse) -> Answer {
    let mut response = Response::new(Body::full(local.body));
    *response.status_mut() = local.status;
    *response.headers_mut() = local.headers;
    Answer::new(response, Source::Local)
}

/// 503: a policy that guards the route could not decide.
pub(super) fn unavailable_policy(unavailable: &Unavailable) -> ProxyError {
    ProxyError::new(
        Kind::HttpRequestDenied,
        Side::Gateway,
        unavailable.to_string(),
    )
}

fn no_queue() -> ProxyError {
    let detail =
        "a policy deferred the request, and this gateway has no queue for deferred requests";
    ProxyError::new(Kind::NotDeferred, Side::Gateway, detail)
}

pub(super) fn seen_as(source: Source) -> policy_host::Source {
    match source {
        Source::Upstream => policy_host::Source::Upstream,
        Source::Cache => policy_host::Source::Cache,
        Source::StaleCache => policy_host::Source::StaleCache,
        Source::Fhe => policy_host::Source::Fhe,
        Source::Local => policy_host::Source::Local,
    }
}

/// Where the response comes from once the policies saw its body: one of them may have put its own in its place.
pub(super) fn source_after(seen: policy_host::Source, before: Source) -> Source {
    match seen {
        policy_host::Source::Local => Source::Local,
        _ => before,
    }
}
