//! The cache in front of the upstreams: asked on routes with a policy that was granted it, and only then.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_cache::Override;
use policy_host::{BodyKey, CacheDirectives};
use tokio::time::Instant;

use super::super::policy::Stage;
use super::super::{Answer, Gateway};
use super::build;
use crate::body::{Body, Gathered};
use crate::cache::{Cache, CacheRequest, Directives, Fill, Lookup, Served, Tag, Ticket};
use crate::error::{Kind, ProxyError, Side};
use crate::upstream::Wish;

/// What the cache said.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one match on the stack; a box would cost every hit an allocation"
)]
pub(super) enum Asked {
    Answer(Answer),
    /// Go upstream, with a ticket if the cache wants to see what comes back.
    Forward(Option<Ticket>),
}

/// What of the request's body is in its cache key.
pub(super) enum BodyInKey {
    Nothing,
    /// Its digest; and the body, for asking again behind a stale answer.
    Digest([u8; 32], Bytes),
    /// It is longer than the policies may have it: the cache is left out.
    TooLong,
}

/// Where a policy wants the body in the key, it is gathered, if it is short enough.
pub(super) async fn body_key(
    stage: &mut Stage<'_>,
    body: Body,
) -> Result<(Body, BodyInKey), ProxyError> {
    let asked = stage.gateway.cache.is_some() && stage.route.may_cache;
    let Some(part) = stage.context.cache.body_key.filter(|_| asked) else {
        return Ok((body, BodyInKey::Nothing));
    };
    let limit = stage.route.chain.cache_body_bytes() as u64;
    Ok(match stage.gather_request(body, limit).await? {
        Gathered::Whole(bytes) => {
            let digest = digest(part, &bytes);
            (Body::full(bytes.clone()), BodyInKey::Digest(digest, bytes))
        }
        Gathered::Longer(body) => (body, BodyInKey::TooLong),
    })
}

/// A body and the normal form of another are never taken for the same.
fn digest(part: BodyKey, body: &Bytes) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    match part {
        BodyKey::Body => hasher.update(b"body").update(body),
        BodyKey::Text(digest) => hasher.update(b"text").update(&digest.0),
    };
    *hasher.finalize().as_bytes()
}

pub(super) async fn ask(
    stage: &mut Stage<'_>,
    upstream: &str,
    key: &BodyInKey,
) -> Result<Asked, ProxyError> {
    let Some(cache) = stage
        .gateway
        .cache
        .clone()
        .filter(|_| stage.route.may_cache)
    else {
        return Ok(Asked::Forward(None));
    };
    let mut lookup = look(stage, &cache, key, true);
    if let Lookup::Wait(wait) = lookup {
        wait.done().await;
        lookup = look(stage, &cache, key, false);
    }
    match lookup {
        Lookup::Serve(served) => Ok(Asked::Answer(serve(stage, served))),
        Lookup::ServeThenRevalidate(served, ticket) => {
            revalidate(stage, upstream, key, ticket)?;
            Ok(Asked::Answer(serve(stage, served)))
        }
        Lookup::Forward(ticket) => {
            stage.account.summary.cache = ticket.why().as_str();
            Ok(Asked::Forward(Some(ticket)))
        }
        Lookup::Unsatisfiable => {
            let detail = "only-if-cached, and nothing that may be used is stored";
            Err(ProxyError::new(
                Kind::HttpResponseTimeout,
                Side::Client,
                detail,
            ))
        }
        // Nobody waits twice: without `may_wait` the cache does not offer it.
        Lookup::Wait(_) => Ok(Asked::Forward(None)),
    }
}

fn look(stage: &Stage<'_>, cache: &Arc<Cache>, key: &BodyInKey, may_wait: bool) -> Lookup {
    let (request, said) = (&stage.context.request, &stage.context.cache);
    let request = CacheRequest {
        method: &request.method,
        authority: &request.authority,
        path_and_query: &request.path_and_query,
        headers: &request.headers,
        key_parts: &said.key_parts,
        body_digest: match key {
            BodyInKey::Digest(digest, _) => Some(*digest),
            BodyInKey::Nothing | BodyInKey::TooLong => None,
        },
        bypass: said.bypass || matches!(key, BodyInKey::TooLong),
        may_wait,
    };
    cache.lookup(&request, SystemTime::now())
}

pub(super) fn serve(stage: &mut Stage<'_>, served: Served) -> Answer {
    stage.account.summary.cache = served.status.label();
    Answer {
        response: served.response,
        source: served.source,
        fill: None,
    }
}

/// The response is there: it is stored while its body passes, if the policies let it.
pub(in super::super) fn finish(
    stage: &mut Stage<'_>,
    fill: Fill,
    response: Response<Body>,
) -> Response<Body> {
    let said = directives(&stage.context.cache, response.status());
    let (response, status) = fill.finish(response, &said);
    stage.account.summary.cache = status.label();
    response
}

fn directives(said: &CacheDirectives, status: StatusCode) -> Directives {
    let store = said.store.map(|store| Override {
        ttl: Duration::from_millis(store.ttl_ms),
        stale_while_revalidate: Duration::from_millis(store.stale_while_revalidate_ms),
        stale_if_error: Duration::from_millis(store.stale_if_error_ms),
    });
    Directives {
        store,
        no_store: said.refuses(status),
        tags: said.tags.iter().map(|tag| Tag::of(tag)).collect(),
    }
}

/// Fetches a new version behind a stale answer. One attempt, which no policy sees; if it fails, the next request tries again.
fn revalidate(
    stage: &mut Stage<'_>,
    upstream: &str,
    key: &BodyInKey,
    mut ticket: Ticket,
) -> Result<(), ProxyError> {
    let body = match key {
        BodyInKey::Digest(_, bytes) => Body::full(bytes.clone()),
        BodyInKey::Nothing | BodyInKey::TooLong => Body::empty(),
    };
    let mut request = build(stage, stage.target()?, body, false)?;
    ticket.prepare(request.headers_mut());
    let choice = stage.context.route.as_ref();
    let upstream = choice
        .map_or(upstream, |choice| choice.upstream.as_str())
        .to_owned();
    let deadline = Instant::now() + stage.route.config.timeout;
    let gateway = stage.gateway.clone();
    tokio::spawn(async move {
        match fetch(&gateway, &upstream, request, deadline).await {
            Ok(response) => ticket.refresh(response, SystemTime::now()).await,
            Err(error) => tracing::debug!(%error, "a stale response could not be validated"),
        }
    });
    Ok(())
}

async fn fetch(
    gateway: &Gateway,
    upstream: &str,
    request: Request<Body>,
    deadline: Instant,
) -> Result<Response<Body>, ProxyError> {
    let upstream = gateway
        .upstreams
        .named(upstream)
        .ok_or_else(|| ProxyError::internal("the upstream is gone"))?;
    let picked = upstream.pick(Wish::default())?;
    picked
        .send(request, Some(deadline))
        .await
        .map_err(|failed| failed.error)
}
