//! What goes upstream with a request that the cache did not answer, and comes back with the response.
//!
//! `Ticket` → `receive` → (policies) → `Fill` → `finish`. A ticket or fill that is dropped stores nothing and lets those who wait
//! for the key go on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use http_cache::{
    CacheStatus, Forward, OnError, Override, Refusal, RequestDirectives, conditional_headers,
    freshen, invalidates, is_safe, on_error, storable, updates, without_connection_fields,
};

use super::fill::{Fill, Insert, Work, date};
use super::flight::Lead;
use super::key::Keys;
use super::store::{Moment, Stored};
use super::{Cache, CacheRequest, Directives, Served, serve};
use crate::body::Body;
use crate::exchange::Source;

/// A request on its way upstream, as far as the cache is concerned.
pub struct Ticket(Box<Inner>);

struct Inner {
    cache: Arc<Cache>,
    method: Method,
    headers: HeaderMap,
    /// Authority and path of what an unsafe request changes.
    written: Option<(String, String)>,
    body_in_key: bool,
    /// `None`: nothing of it is stored.
    keys: Option<Keys>,
    basis: Option<Basis>,
    why: Forward,
    collapsed: bool,
    lead: Option<Lead>,
    sent_at: SystemTime,
    /// When the request went out, as the store counts.
    asked: Moment,
}

/// The stored response that is being validated.
pub(super) struct Basis {
    stored: Arc<Stored>,
    /// It was served already; whatever becomes of this request, an error takes nothing from it.
    served: bool,
    /// The request carries the stored validators.
    asked: bool,
}

impl Basis {
    pub(super) fn new(stored: Arc<Stored>, served: bool) -> Self {
        Self {
            stored,
            served,
            asked: false,
        }
    }
}

/// What became of the upstream's response.
pub struct Received {
    pub response: Response<Body>,
    /// `Upstream`, or `Cache`/`StaleCache` where the stored response takes its place.
    pub source: Source,
    pub fill: Fill,
}

impl Ticket {
    /// For a request that is none of the cache's business, but may invalidate what is stored.
    pub(super) fn passing(
        cache: &Arc<Cache>,
        request: &CacheRequest<'_>,
        why: Forward,
        now: SystemTime,
    ) -> Self {
        Self(Box::new(Inner::new(cache, request, None, why, now)))
    }

    pub(super) fn leading(
        cache: &Arc<Cache>,
        request: &CacheRequest<'_>,
        keys: Keys,
        basis: Option<Basis>,
        why: Forward,
        lead: Option<Lead>,
        now: SystemTime,
    ) -> Self {
        let mut inner = Inner::new(cache, request, Some(keys), why, now);
        inner.headers = request.headers.clone();
        inner.lead = lead;
        inner.basis = basis;
        Self(Box::new(inner))
    }

    /// Why the request goes upstream.
    pub fn why(&self) -> Forward {
        self.0.why
    }

    /// Puts the stored validators into the request that goes upstream; call for every attempt.
    pub fn prepare(&mut self, upstream_request: &mut HeaderMap) {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
        //# b) the 412 (Precondition Failed) status code for all other request methods.
        if !matches!(self.0.method, Method::GET | Method::HEAD) {
            return;
        }
        if let Some(basis) = &mut self.0.basis {
            basis.asked = conditional_headers(&basis.stored.headers, upstream_request);
        }
    }

    /// No response came: the stored one, if it may be sent in place of the error. `stale_if_error` is what a policy said of that.
    pub fn on_error(&self, stale_if_error: Option<Duration>, now: SystemTime) -> Option<Served> {
        let basis = self.0.basis.as_ref()?;
        self.0
            .stands_in(basis, stale_if_error, now)
            .then(|| self.0.stale(basis, None, now))
    }

    /// A response came from upstream.
    pub fn receive(
        self,
        response: Response<Body>,
        stale_if_error: Option<Duration>,
        now: SystemTime,
    ) -> Received {
        let mut inner = *self.0;
        inner.invalidate(&response);
        match inner.basis.take() {
            Some(basis) => inner.validated(basis, response, stale_if_error, now),
            None => inner.received(response, None, now),
        }
    }

    /// Runs a validation that no client waits for: stores what comes, and reads the body to its end.
    pub async fn refresh(self, response: Response<Body>, now: SystemTime) {
        // No policy sees this response: what was said of the stored one holds.
        let basis = self.0.basis.as_ref();
        let directives = Directives {
            store: basis.and_then(|basis| basis.stored.policy),
            ..Directives::default()
        };
        let received = self.receive(response, None, now);
        let (response, _) = received.fill.finish(received.response, &directives);
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    }
}

impl Inner {
    fn new(
        cache: &Arc<Cache>,
        request: &CacheRequest<'_>,
        keys: Option<Keys>,
        why: Forward,
        now: SystemTime,
    ) -> Self {
        Self {
            cache: cache.clone(),
            method: request.method.clone(),
            headers: HeaderMap::new(),
            // Who puts the body into the key says that the POST only asks.
            written: (!is_safe(request.method) && request.body_digest.is_none()).then(|| {
                (
                    request.authority.to_owned(),
                    request.path_and_query.to_owned(),
                )
            }),
            body_in_key: request.body_digest.is_some(),
            keys,
            basis: None,
            why,
            collapsed: !request.may_wait,
            lead: None,
            sent_at: now,
            asked: cache.store.moment(),
        }
    }

    fn invalidate(&self, response: &Response<Body>) {
        let Some((authority, path)) = &self.written else {
            return;
        };
        let (status, headers) = (response.status(), response.headers());
        for target in invalidates(&self.method, authority, path, status, headers) {
            self.cache
                .invalidate(&target.authority, &target.path_and_query);
        }
    }

    fn stands_in(&self, basis: &Basis, stale_if_error: Option<Duration>, now: SystemTime) -> bool {
        let said = RequestDirectives::parse(&self.headers);
        basis.served
            || on_error(now, &said, &basis.stored.meta, stale_if_error) == OnError::ServeStale
    }

    fn validated(
        self,
        basis: Basis,
        response: Response<Body>,
        stale_if_error: Option<Duration>,
        now: SystemTime,
    ) -> Received {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && basis.asked {
            return self.not_modified(&basis, &response, now);
        }
        if matches!(status.as_u16(), 500 | 502..=504) && self.stands_in(&basis, stale_if_error, now)
        {
            let served = self.stale(&basis, Some(status), now);
            let fill = self.fill(served.status, Work::Nothing, now);
            return Received {
                response: served.response,
                source: served.source,
                fill,
            };
        }
        self.received(response, Some(basis.stored), now)
    }

    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.3
    //# A 304 (Not Modified) response status code indicates that the stored response can be updated and reused
    fn not_modified(self, basis: &Basis, response: &Response<Body>, now: SystemTime) -> Received {
        let old = &basis.stored;
        let mut headers = old.headers.clone();
        let work = match self.keys {
            Some(keys) if updates(&old.headers, response.headers()) => {
                freshen(&mut headers, response.headers());
                // The stored date would make the validated response as old as the first one.
                if !response.headers().contains_key(DATE) {
                    headers.insert(DATE, date(now));
                }
                Work::Refresh {
                    keys,
                    old: old.clone(),
                    headers: Box::new(headers.clone()),
                    sent_at: self.sent_at,
                }
            }
            // Not modified, but of another version: it serves this once and is not trusted again.
            Some(keys) => {
                self.cache.store.forget(&keys, old);
                Work::Nothing
            }
            None => Work::Nothing,
        };
        let fresh = Stored {
            status: old.status,
            headers,
            body: old.body.clone(),
            meta: old.meta.clone(),
            vary: old.vary.clone(),
            policy: old.policy,
            tags: Box::default(),
        };
        let answer = serve::response(&self.method, &self.headers, &fresh);
        let status = CacheStatus {
            fwd_status: Some(StatusCode::NOT_MODIFIED),
            ..self.status()
        };
        Received {
            response: answer,
            source: Source::Cache,
            fill: self.fill(status, work, now),
        }
    }

    fn received(
        self,
        response: Response<Body>,
        instead_of: Option<Arc<Stored>>,
        now: SystemTime,
    ) -> Received {
        let mut status = self.status();
        let work = match self.keys {
            None => Work::Nothing,
            Some(keys) => match self.may_store(&response) {
                Err(refusal) => {
                    status.detail = Some(refusal.as_str());
                    // Only the one others wait for: what a client's own words forbid says nothing of the key.
                    if self.lead.is_some() {
                        self.cache.store.note_unstorable(&keys, now);
                    }
                    Work::Nothing
                }
                Ok(()) => Work::Insert(Box::new(Insert {
                    keys,
                    method: self.method.clone(),
                    request: self.headers.clone(),
                    body_in_key: self.body_in_key,
                    status: response.status(),
                    headers: without_connection_fields(response.headers()),
                    sent_at: self.sent_at,
                    asked: self.asked,
                    instead_of,
                })),
            },
        };
        Received {
            response,
            source: Source::Upstream,
            fill: self.fill(status, work, now),
        }
    }

    /// Whether it could be stored if a policy said so: what a policy cannot change is settled before headers are copied.
    fn may_store(&self, response: &Response<Body>) -> Result<(), Refusal> {
        let any = Override::default();
        let (status, headers) = (response.status(), response.headers());
        storable(
            &self.method,
            &self.headers,
            self.body_in_key,
            status,
            headers,
            Some(&any),
        )
        .map(|_| ())
    }

    fn stale(&self, basis: &Basis, fwd_status: Option<StatusCode>, now: SystemTime) -> Served {
        let age = basis.stored.meta.age(now);
        let mut response = serve::response(&self.method, &self.headers, &basis.stored);
        serve::set_age(&mut response, age);
        let status = CacheStatus {
            fwd_status,
            detail: Some("stale-if-error"),
            ..self.status()
        };
        if fwd_status.is_none() {
            serve::set_status(&mut response, &status);
        }
        Served {
            response,
            source: Source::StaleCache,
            status,
        }
    }

    fn status(&self) -> CacheStatus {
        CacheStatus {
            collapsed: self.collapsed,
            ..CacheStatus::forwarded(self.why)
        }
    }

    fn fill(self, status: CacheStatus, work: Work, now: SystemTime) -> Fill {
        Fill {
            cache: self.cache,
            status,
            work,
            now,
            _lead: self.lead,
        }
    }
}
