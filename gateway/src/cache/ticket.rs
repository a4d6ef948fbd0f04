//! What goes upstream with a request that the cache did not answer, and comes back with the response.
//!
//! `Ticket` → `receive` → (policies) → `Fill` → `finish`. A ticket or fill that is dropped stores nothing and lets those who wait
//! for the key go on.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use http_cache::{
    CacheStatus, Forward, Meta, OnError, Override, Refusal, conditional_headers, freshen,
    invalidates, storable, updates, without_connection_fields,
};

use super::flight::Lead;
use super::key::Keys;
use super::store::Stored;
use super::tee::{Copied, copying};
use super::{Cache, CacheRequest, Directives, Served, serve};
use crate::body::Body;
use crate::exchange::Source;

/// A request on its way upstream, as far as the cache is concerned.
pub struct Ticket {
    cache: Arc<Cache>,
    method: Method,
    headers: HeaderMap,
    authority: String,
    path_and_query: String,
    body_in_key: bool,
    /// `None`: nothing of it is stored.
    keys: Option<Keys>,
    basis: Option<Basis>,
    why: Forward,
    collapsed: bool,
    lead: Option<Lead>,
    sent_at: SystemTime,
    /// The writes that were known when the request went out.
    writes_seen: u64,
}

/// The stored response that is being validated.
struct Basis {
    stored: Arc<Stored>,
    on_error: OnError,
    /// The request carries the stored validators.
    asked: bool,
}

/// What became of the upstream's response.
pub struct Received {
    pub response: Response<Body>,
    /// `Upstream`, or `Cache`/`StaleCache` where the stored response takes its place.
    pub source: Source,
    pub fill: Fill,
}

/// What is left to do once the policies have seen the response.
pub struct Fill {
    cache: Arc<Cache>,
    status: CacheStatus,
    work: Work,
    now: SystemTime,
    _lead: Option<Lead>,
}

enum Work {
    Nothing,
    /// A new response, as the origin sent it.
    Insert(Box<Insert>),
    /// A validated one.
    Refresh {
        keys: Keys,
        old: Arc<Stored>,
        headers: Box<HeaderMap>,
        sent_at: SystemTime,
    },
}

struct Insert {
    keys: Keys,
    method: Method,
    request: HeaderMap,
    body_in_key: bool,
    status: StatusCode,
    headers: HeaderMap,
    sent_at: SystemTime,
    writes_seen: u64,
    /// It took the place of this one, unless `Vary` says otherwise.
    instead_of: Option<Arc<Stored>>,
}

impl Ticket {
    /// For a request that is none of the cache's business, but may invalidate what is stored.
    pub(super) fn passing(
        cache: &Arc<Cache>,
        request: &CacheRequest<'_>,
        why: Forward,
        now: SystemTime,
    ) -> Self {
        Self::new(cache, request, None, why, now)
    }

    pub(super) fn leading(
        cache: &Arc<Cache>,
        request: &CacheRequest<'_>,
        keys: Keys,
        basis: Option<(Arc<Stored>, OnError)>,
        why: Forward,
        lead: Option<Lead>,
        now: SystemTime,
    ) -> Self {
        let basis = basis.map(|(stored, on_error)| Basis {
            stored,
            on_error,
            asked: false,
        });
        Self {
            basis,
            lead,
            headers: request.headers.clone(),
            ..Self::new(cache, request, Some(keys), why, now)
        }
    }

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
            authority: request.authority.to_owned(),
            path_and_query: request.path_and_query.to_owned(),
            body_in_key: request.body_digest.is_some(),
            keys,
            basis: None,
            why,
            collapsed: !request.may_wait,
            lead: None,
            sent_at: now,
            writes_seen: cache.store.writes(),
        }
    }

    /// Why the request goes upstream.
    pub fn why(&self) -> Forward {
        self.why
    }

    /// Puts the stored validators into the request that goes upstream; call for every attempt.
    pub fn prepare(&mut self, upstream_request: &mut HeaderMap) {
        if let Some(basis) = &mut self.basis {
            basis.asked = conditional_headers(&basis.stored.headers, upstream_request);
        }
    }

    /// No response came: the stored one, if it may be sent in place of the error.
    pub fn on_error(&self, now: SystemTime) -> Option<Served> {
        let basis = self
            .basis
            .as_ref()
            .filter(|basis| basis.on_error == OnError::ServeStale)?;
        Some(self.stale(basis, None, now))
    }

    /// A response came from upstream.
    pub fn receive(mut self, response: Response<Body>, now: SystemTime) -> Received {
        for target in invalidates(
            &self.method,
            &self.authority,
            &self.path_and_query,
            response.status(),
            response.headers(),
        ) {
            self.cache
                .invalidate(&target.authority, &target.path_and_query);
        }
        if let Some(basis) = self.basis.take() {
            return self.validated(basis, response, now);
        }
        self.received(response, None, now)
    }

    /// Runs a validation that no client waits for: stores what comes, and reads the body to its end.
    pub async fn refresh(self, response: Response<Body>, now: SystemTime) {
        // No policy sees this response: what was said of the stored one holds.
        let remembered = self.basis.as_ref().and_then(|basis| basis.stored.policy);
        let received = self.receive(response, now);
        let directives = Directives {
            store: remembered,
            no_store: false,
        };
        let (response, _) = received.fill.finish(received.response, &directives);
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    }

    fn validated(self, basis: Basis, response: Response<Body>, now: SystemTime) -> Received {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && basis.asked {
            return self.not_modified(&basis, &response, now);
        }
        if matches!(status.as_u16(), 500 | 502..=504) && basis.on_error == OnError::ServeStale {
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
                    writes_seen: self.writes_seen,
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

impl Fill {
    /// Stores the response while its body passes, if the origin and the policies let it, and writes `Cache-Status`. The body must
    /// be the upstream's: drop the fill of a response that a policy replaced.
    pub fn finish(
        mut self,
        response: Response<Body>,
        directives: &Directives,
    ) -> (Response<Body>, CacheStatus) {
        let mut response = match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Nothing => response,
            Work::Refresh {
                keys,
                old,
                headers,
                sent_at,
            } => {
                self.refresh(&keys, &old, *headers, sent_at, directives);
                response
            }
            Work::Insert(insert) => return self.insert(*insert, response, directives),
        };
        serve::set_status(&mut response, &self.status);
        (response, self.status)
    }

    fn refresh(
        &mut self,
        keys: &Keys,
        old: &Arc<Stored>,
        headers: HeaderMap,
        sent_at: SystemTime,
        directives: &Directives,
    ) {
        if directives.no_store || forbidden_now(&headers) {
            return self.cache.store.forget(keys, old);
        }
        let meta = Meta::new(
            old.status,
            &headers,
            directives.store.as_ref(),
            sent_at,
            self.now,
        );
        self.status.ttl = Some(ttl(&meta, self.now));
        let new = Stored {
            status: old.status,
            headers,
            body: old.body.clone(),
            meta,
            vary: old.vary.clone(),
            policy: directives.store,
        };
        self.status.stored = self.cache.store.refresh(keys, old, new);
    }

    fn insert(
        mut self,
        insert: Insert,
        response: Response<Body>,
        directives: &Directives,
    ) -> (Response<Body>, CacheStatus) {
        let vary = if directives.no_store {
            Err(Refusal::ResponseNoStore)
        } else {
            insert.may_store(directives)
        };
        let limit = self.cache.store.max_object_bytes();
        let known = response.body().exact_len().unwrap_or(0);
        let (mut response, vary) = match vary {
            Ok(vary) if known <= limit => (response, vary),
            refused => {
                self.status.detail = Some(refused.err().map_or("too-large", Refusal::as_str));
                self.cache.store.note_unstorable(&insert.keys, self.now);
                let mut response = response;
                serve::set_status(&mut response, &self.status);
                return (response, self.status);
            }
        };
        let mut headers = insert.headers;
        headers.entry(DATE).or_insert_with(|| date(self.now));
        let meta = Meta::new(
            insert.status,
            &headers,
            directives.store.as_ref(),
            insert.sent_at,
            self.now,
        );
        headers.remove(AGE);
        self.status.stored = true;
        self.status.ttl = Some(ttl(&meta, self.now));
        serve::set_status(&mut response, &self.status);
        let status = self.status;
        let policy = directives.store;
        let (parts, body) = response.into_parts();
        let keys = insert.keys;
        let body = copying(body, limit, move |copied| {
            // Holds the lead until the copy is in the store: those who wait find it there.
            let fill = self;
            let store = &fill.cache.store;
            match copied {
                // What was fetched before a write may be what the write replaced.
                Copied::Whole(_) if store.written_since(&keys.uri, insert.writes_seen) => {}
                Copied::Whole(body) => {
                    if let Some(old) = &insert.instead_of {
                        store.forget(&keys, old);
                    }
                    let stored = Stored {
                        status: insert.status,
                        headers,
                        body,
                        meta,
                        vary,
                        policy,
                    };
                    if !store.insert(keys, stored) {
                        store.note_unstorable(&keys, fill.now);
                    }
                }
                Copied::TooLarge => store.note_unstorable(&keys, fill.now),
                Copied::Partial => {}
            }
        });
        (Response::from_parts(parts, body), status)
    }
}

impl Insert {
    fn may_store(&self, directives: &Directives) -> Result<http_cache::VaryKey, Refusal> {
        storable(
            &self.method,
            &self.request,
            self.body_in_key,
            self.status,
            &self.headers,
            directives.store.as_ref(),
        )
    }
}

/// A 304 may say that what is stored should never be used again.
fn forbidden_now(headers: &HeaderMap) -> bool {
    let said = http_cache::ResponseDirectives::parse(headers);
    said.private || (said.no_store && !said.must_understand)
}

fn ttl(meta: &Meta, now: SystemTime) -> i64 {
    let seconds =
        |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 2);
    seconds(meta.lifetime().duration) - seconds(meta.age(now))
}

fn date(now: SystemTime) -> HeaderValue {
    // Years from 1970 to 9999, which the clock of a running machine is in.
    HeaderValue::try_from(httpdate::fmt_http_date(now))
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
