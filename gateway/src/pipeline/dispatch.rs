//! Who answers: the cache, an upstream (one attempt after the other), or a handler of the gateway's own.

mod attempts;
mod cached;
mod retry;

use std::time::{Duration, SystemTime};

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Uri};
use tokio::time::Instant;

use self::cached::Asked;
pub(super) use self::cached::finish;
use super::Answer;
use super::policy::Stage;
use crate::body::Body;
use crate::config::Handler;
use crate::error::{Kind, ProxyError, Side};
use crate::exchange::Source;

pub(super) async fn run(stage: &mut Stage<'_>, body: Body) -> Result<Answer, ProxyError> {
    let route = stage.route.clone();
    match (&route.config.handler, stage.context.route.is_some()) {
        (Handler::Fhe, false) => to_fhe(stage, body).await,
        (Handler::Upstream(default), _) => through_cache(stage, default, body).await,
        // A policy chose an upstream instead of the engine.
        (Handler::Fhe, true) => {
            let service = stage.gateway.fhe.as_ref();
            if service.is_some_and(|service| service.owns_authorization()) {
                let headers = &mut stage.context.request.headers;
                headers.remove(http::header::AUTHORIZATION);
            }
            through_cache(stage, "", body).await
        }
    }
}

async fn through_cache(
    stage: &mut Stage<'_>,
    default: &str,
    body: Body,
) -> Result<Answer, ProxyError> {
    let (body, key) = cached::body_key(stage, body).await?;
    let mut ticket = match cached::ask(stage, default, &key).await? {
        Asked::Answer(answer) => return Ok(answer),
        Asked::Forward(ticket) => ticket,
    };
    let result = attempts::run(stage, default, body, ticket.as_mut()).await;
    let stale_if_error = stage
        .context
        .cache
        .stale_if_error_ms
        .map(Duration::from_millis);
    match (result, ticket) {
        (Ok(answer), Some(ticket)) if answer.source == Source::Upstream => {
            let received = ticket.receive(answer.response, stale_if_error, SystemTime::now());
            Ok(Answer {
                response: received.response,
                source: received.source,
                fill: Some(received.fill),
            })
        }
        (Err(error), Some(ticket)) if may_be_replaced(&error) => {
            match ticket.on_error(stale_if_error, SystemTime::now()) {
                Some(served) => Ok(cached::serve(stage, served)),
                None => Err(error),
            }
        }
        (result, _) => result,
    }
}

/// A stored response stands in for what the upstream failed to give; not for what the client did wrong, nor for the answer of a
/// policy that guards something and failed.
fn may_be_replaced(error: &ProxyError) -> bool {
    error.side != Side::Client && error.kind != Kind::HttpRequestDenied
}

async fn to_fhe(stage: &mut Stage<'_>, body: Body) -> Result<Answer, ProxyError> {
    let Some(service) = stage.gateway.fhe.clone() else {
        let detail =
            "the route's handler is fhe, and this gateway was built without its FHE engine";
        return Err(ProxyError::new(
            Kind::ProxyConfigurationError,
            Side::Gateway,
            detail,
        ));
    };
    let mut request = build(stage, stage.target()?, body, true)?;
    name_tenant(stage, &mut request);
    let deadline = Instant::from_std(stage.account.started()) + stage.route.config.timeout;
    tell_deadline(&mut request, deadline);
    let serving = tokio::time::timeout_at(deadline, service.call(request));
    match stage.apart(serving).await {
        Ok(served) => {
            let served = served?;
            account_tenant(stage, &served);
            Ok(Answer::new(served, Source::Fhe))
        }
        Err(_) => {
            let detail = "the evaluation took longer than the route's timeout";
            Err(ProxyError::new(
                Kind::HttpResponseTimeout,
                Side::Gateway,
                detail,
            ))
        }
    }
}

/// The request as it goes out: what the policies made of it. `last`: nobody looks at its fields afterwards.
fn build(
    stage: &mut Stage<'_>,
    target: PathAndQuery,
    body: Body,
    last: bool,
) -> Result<Request<Body>, ProxyError> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target);
    // An absolute URI needs both; without an authority (HTTP/1.0) the endpoint's own address stands in.
    if let Ok(authority) = stage.context.request.authority.parse() {
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(authority);
    }
    let uri = Uri::from_parts(uri)
        .map_err(|error| ProxyError::internal("a target that cannot be sent").because(error))?;
    let mut request = Request::new(body);
    *request.method_mut() = stage.context.request.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = stage.take_headers(last);
    Ok(request)
}

/// Keys belong to whom the client's certificate names, or its token: the service knows the tokens.
#[cfg(feature = "fhe")]
fn name_tenant(stage: &mut Stage<'_>, request: &mut Request<Body>) {
    if let Some(subject) = stage.context.info.identity.subject.as_deref() {
        let tenant = crate::fhe::Tenant::of_subject(subject);
        request.extensions_mut().insert(tenant);
    }
}

/// Whose request the service found it to be.
#[cfg(feature = "fhe")]
fn account_tenant(stage: &mut Stage<'_>, served: &http::Response<Body>) {
    if let Some(tenant) = served.extensions().get::<crate::fhe::Tenant>() {
        stage.account.summary.tenant = Some(tenant.to_string());
    }
}

/// The engine computes nothing that would come too late.
#[cfg(feature = "fhe")]
fn tell_deadline(request: &mut Request<Body>, deadline: Instant) {
    let deadline = crate::fhe::RouteDeadline(deadline.into_std());
    request.extensions_mut().insert(deadline);
}

#[cfg(not(feature = "fhe"))]
fn tell_deadline(_: &mut Request<Body>, _: Instant) {}

#[cfg(not(feature = "fhe"))]
fn name_tenant(_: &mut Stage<'_>, _: &mut Request<Body>) {}

#[cfg(not(feature = "fhe"))]
fn account_tenant(_: &mut Stage<'_>, _: &http::Response<Body>) {}
