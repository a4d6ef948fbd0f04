//! Attempts to reach an upstream, one after the other.
//!
//! Which upstream is decided at every attempt: the route's default, unless a policy chose. Attempts are bounded by the upstream's
//! `retries` and the route's timeout, and a request is sent again only where that cannot do it twice (`retry.rs`). An attempt that
//! a policy was asked about before is always told to it after, so that permits are settled.

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Request, Response};
use policy_host::{Attempt, AttemptChoice, AttemptOutcome, LocalResponse, RouteChoice, Verdict};
use tokio::time::Instant;

use super::super::Answer;
use super::super::policy::{Stage, local_answer, unavailable_policy};
use super::build;
use super::retry::{self, Payload};
use crate::body::Body;
use crate::cache::Ticket;
use crate::error::{Kind, ProxyError, Side};
use crate::exchange::Source;
use crate::upstream::{Picked, Wish};

/// What stays the same, and what is learnt, over the attempts of one exchange.
struct Trying<'t> {
    target: PathAndQuery,
    payload: Payload,
    ticket: Option<&'t mut Ticket>,
    /// Endpoints of earlier attempts.
    tried: Vec<u32>,
    deadline: Instant,
}

pub(super) async fn run(
    stage: &mut Stage<'_>,
    default: &str,
    body: Body,
    ticket: Option<&mut Ticket>,
) -> Result<Answer, ProxyError> {
    let mut trying = Trying {
        target: stage.target()?,
        payload: Payload::new(body),
        ticket,
        tried: Vec::new(),
        deadline: Instant::from_std(stage.account.started()) + stage.route.config.timeout,
    };
    let mut choice = stage.context.route.clone().unwrap_or_else(|| RouteChoice {
        upstream: default.to_owned(),
        endpoint: None,
        hash_key: None,
        timeout_ms: None,
    });
    let hooked = stage.has_attempt_hooks();
    let mut number = 1;
    loop {
        stage.account.summary.upstream_after = None;
        let mut attempt = Attempt {
            number,
            upstream: choice.upstream.clone(),
            endpoint: choice.endpoint,
        };
        if hooked && let Some(local) = before(stage, &mut attempt, &mut choice).await? {
            return Ok(local_answer(local));
        }
        let begun = Instant::now();
        let outcome = one(stage, &choice, &mut trying).await;
        let took = begun.elapsed();
        stage.account.summary.upstream_after = outcome.is_ok().then_some(took);
        let verdict = if hooked {
            stage.after_attempt(&attempt, &told(&outcome, took)).await
        } else {
            Verdict::Accept
        };
        if let Verdict::Unavailable(unavailable) = &verdict {
            return Err(unavailable_policy(unavailable));
        }
        let retries = stage
            .gateway
            .upstreams
            .named(&choice.upstream)
            .map_or(0, |upstream| upstream.retries());
        let again = number <= retries
            && Instant::now() < trying.deadline
            && retry::may_repeat(
                &verdict,
                outcome.as_ref().err(),
                &stage.context.request.method,
                &trying.payload,
            );
        if !again {
            return outcome.map(|response| Answer::new(response, Source::Upstream));
        }
        number += 1;
    }
}

/// Asks the policies; they may choose another upstream, or answer themselves.
async fn before(
    stage: &mut Stage<'_>,
    attempt: &mut Attempt,
    choice: &mut RouteChoice,
) -> Result<Option<LocalResponse>, ProxyError> {
    match stage.before_attempt(attempt).await {
        AttemptChoice::Default => Ok(None),
        AttemptChoice::Route(route) => {
            attempt.upstream.clone_from(&route.upstream);
            attempt.endpoint = route.endpoint;
            *choice = route;
            Ok(None)
        }
        AttemptChoice::Respond(local) => Ok(Some(local)),
        AttemptChoice::GiveUp => {
            let detail = format!("a policy gave up on upstream {:?}", attempt.upstream);
            Err(ProxyError::new(
                Kind::DestinationUnavailable,
                Side::Gateway,
                detail,
            ))
        }
        AttemptChoice::Unavailable(unavailable) => Err(unavailable_policy(&unavailable)),
    }
}

/// One attempt: an endpoint is picked, and the request sent to it.
async fn one(
    stage: &mut Stage<'_>,
    choice: &RouteChoice,
    trying: &mut Trying<'_>,
) -> Result<Response<Body>, ProxyError> {
    let Some(upstream) = stage.gateway.upstreams.named(&choice.upstream).cloned() else {
        let detail = format!("there is no upstream {:?}", choice.upstream);
        return Err(ProxyError::new(
            Kind::DestinationNotFound,
            Side::Gateway,
            detail,
        ));
    };
    stage.account.summary.upstream = Some(upstream.name().clone());
    let wish = Wish {
        endpoint: choice.endpoint,
        hash_key: choice.hash_key,
        tried: &trying.tried,
    };
    let picked = upstream.pick(wish)?;
    stage.account.summary.attempts += 1;
    stage.account.summary.endpoint = Some(picked.address().to_owned());
    trying.tried.push(picked.id());
    let last = !trying.payload.can_repeat() || upstream.retries() == 0;
    let mut request = build(stage, trying.target.clone(), trying.payload.take()?, last)?;
    if let Some(ticket) = trying.ticket.as_deref_mut() {
        ticket.prepare(request.headers_mut());
    }
    let own = choice
        .timeout_ms
        .map(|ms| Instant::now() + Duration::from_millis(ms));
    let deadline = own.map_or(trying.deadline, |own| own.min(trying.deadline));
    let sending = send(&picked, request, deadline, &mut trying.payload);
    stage.apart(sending).await
}

async fn send(
    picked: &Picked,
    request: Request<Body>,
    deadline: Instant,
    payload: &mut Payload,
) -> Result<Response<Body>, ProxyError> {
    match picked.send(request, Some(deadline)).await {
        Ok(response) => Ok(response),
        Err(failed) => {
            if let Some(unsent) = failed.unsent {
                payload.put_back(unsent.into_body());
            }
            Err(failed.error)
        }
    }
}

/// An attempt as policies are told of it.
fn told(outcome: &Result<Response<Body>, ProxyError>, took: Duration) -> AttemptOutcome {
    AttemptOutcome {
        status: outcome
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16()),
        error: outcome
            .as_ref()
            .err()
            .map(|error| error.kind.name().to_owned()),
        latency_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    }
}
