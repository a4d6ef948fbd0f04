//! Who answers: the cache, an upstream (one attempt after the other), or a handler of the gateway's own.
//!
//! Which upstream is decided at every attempt: the route's default, unless a policy chose. Attempts are bounded by the upstream's
//! `retries` and the route's timeout, and a request is sent again only where that cannot do it twice.

mod retry;

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use policy_host::{Attempt, AttemptChoice, AttemptOutcome, RouteChoice, Verdict};
use tokio::time::Instant;

use self::retry::Payload;
use super::Answer;
use super::policy::{Stage, local_answer, unavailable_policy};
use crate::body::Body;
use crate::config::Handler;
use crate::error::{Kind, ProxyError, Side};
use crate::exchange::Source;
use crate::upstream::{Picked, Wish};

pub(super) async fn run(stage: &mut Stage<'_>, body: Body) -> Result<Answer, ProxyError> {
    let route = stage.route.clone();
    match (&route.config.handler, stage.context.route.is_some()) {
        (Handler::Fhe, false) => to_fhe(stage, body).await,
        (Handler::Upstream(default), _) => to_upstream(stage, default, body).await,
        (Handler::Fhe, true) => to_upstream(stage, "", body).await,
    }
}

async fn to_fhe(stage: &mut Stage<'_>, body: Body) -> Result<Answer, ProxyError> {
    let Some(service) = stage.gateway.fhe.clone() else {
        let detail = "the route's handler is fhe, and this gateway has no FHE engine";
        return Err(ProxyError::new(
            Kind::ProxyConfigurationError,
            Side::Gateway,
            detail,
        ));
    };
    let request = build(stage, stage.target()?, body, true)?;
    let deadline = Instant::from_std(stage.account.started()) + stage.route.config.timeout;
    match tokio::time::timeout_at(deadline, service.call(request)).await {
        Ok(served) => Ok(Answer {
            response: served?,
            source: Source::Fhe,
        }),
        Err(_) => Err(ProxyError::new(
            Kind::HttpResponseTimeout,
            Side::Gateway,
            "the evaluation took longer than the route's timeout",
        )),
    }
}

async fn to_upstream(
    stage: &mut Stage<'_>,
    default: &str,
    body: Body,
) -> Result<Answer, ProxyError> {
    let target = stage.target()?;
    let deadline = Instant::from_std(stage.account.started()) + stage.route.config.timeout;
    let mut payload = Payload::new(body);
    let mut tried: Vec<u32> = Vec::new();
    let mut chosen = stage.context.route.clone().unwrap_or_else(|| RouteChoice {
        upstream: default.to_owned(),
        endpoint: None,
        hash_key: None,
        timeout_ms: None,
    });
    let hooked = stage.has_attempt_hooks();
    for number in 1.. {
        let mut attempt = Attempt {
            number,
            upstream: chosen.upstream.clone(),
            endpoint: chosen.endpoint,
        };
        if hooked {
            match stage.before_attempt(&attempt) {
                AttemptChoice::Default => {}
                AttemptChoice::Route(route) => {
                    attempt.upstream.clone_from(&route.upstream);
                    attempt.endpoint = route.endpoint;
                    chosen = route;
                }
                AttemptChoice::Respond(local) => return Ok(local_answer(local)),
                AttemptChoice::GiveUp => return Err(given_up(&chosen.upstream)),
                AttemptChoice::Unavailable(unavailable) => {
                    return Err(unavailable_policy(&unavailable));
                }
            }
        }
        let begun = Instant::now();
        let outcome = one(stage, &chosen, &target, &mut payload, &mut tried, deadline).await;
        let verdict = if hooked {
            stage.after_attempt(&attempt, &told(&outcome, begun))
        } else {
            Verdict::Accept
        };
        if let Verdict::Unavailable(unavailable) = &verdict {
            return Err(unavailable_policy(unavailable));
        }
        let retries = stage
            .gateway
            .upstreams
            .named(&chosen.upstream)
            .map_or(0, |upstream| upstream.retries());
        let again = number <= retries
            && Instant::now() < deadline
            && retry::may_repeat(
                &verdict,
                outcome.as_ref().err(),
                &stage.context.request.method,
                &payload,
            );
        if !again {
            return outcome.map(|response| Answer {
                response,
                source: Source::Upstream,
            });
        }
    }
    Err(given_up(&chosen.upstream))
}

/// One attempt: an endpoint is picked, and the request sent to it.
async fn one(
    stage: &mut Stage<'_>,
    chosen: &RouteChoice,
    target: &PathAndQuery,
    payload: &mut Payload,
    tried: &mut Vec<u32>,
    deadline: Instant,
) -> Result<Response<Body>, ProxyError> {
    let Some(upstream) = stage.gateway.upstreams.named(&chosen.upstream).cloned() else {
        let detail = format!("there is no upstream {:?}", chosen.upstream);
        return Err(ProxyError::new(
            Kind::DestinationNotFound,
            Side::Gateway,
            detail,
        ));
    };
    stage.account.summary.upstream = Some(upstream.name().clone());
    let picked = upstream.pick(Wish {
        endpoint: chosen.endpoint,
        hash_key: chosen.hash_key,
        tried,
    })?;
    stage.account.summary.attempts += 1;
    stage.account.summary.endpoint = Some(picked.address().to_owned());
    tried.push(picked.id());
    let last = !payload.can_repeat() || upstream.retries() == 0;
    let request = build(stage, target.clone(), payload.take()?, last)?;
    let own = chosen
        .timeout_ms
        .map(|ms| Instant::now() + std::time::Duration::from_millis(ms));
    send(
        &picked,
        request,
        own.map_or(deadline, |own| own.min(deadline)),
        payload,
    )
    .await
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

/// The request as it goes out: what the policies made of it.
fn build(
    stage: &mut Stage<'_>,
    target: PathAndQuery,
    body: Body,
    last: bool,
) -> Result<Request<Body>, ProxyError> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target);
    let authority = stage.context.request.authority.as_str();
    if !authority.is_empty() {
        uri.scheme = Some(http::uri::Scheme::HTTP);
        uri.authority = authority.parse().ok();
        if uri.authority.is_none() {
            uri.scheme = None;
        }
    }
    let uri = Uri::from_parts(uri)
        .map_err(|error| ProxyError::internal("a target that cannot be sent").because(error))?;
    let mut request = Request::new(body);
    *request.method_mut() = stage.context.request.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = stage.take_headers(last);
    Ok(request)
}

/// An attempt as policies are told of it.
fn told(outcome: &Result<Response<Body>, ProxyError>, begun: Instant) -> AttemptOutcome {
    AttemptOutcome {
        status: outcome
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16()),
        error: outcome
            .as_ref()
            .err()
            .map(|error| error.kind.name().to_owned()),
        latency_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

fn given_up(upstream: &str) -> ProxyError {
    let detail = format!("a policy gave up on upstream {upstream:?}");
    ProxyError::new(Kind::DestinationUnavailable, Side::Gateway, detail)
}
