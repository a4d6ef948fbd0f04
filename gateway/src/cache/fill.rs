//! What is left to do with a response once the policies have seen it: store it while its body passes, or put fresh headers to the
//! stored one, and write `Cache-Status`.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_cache::{CacheStatus, Meta, Refusal, storable};

use super::flight::Lead;
use super::key::Keys;
use super::key::Tag;
use super::store::{Kept, Moment, Stored};
use super::tee::{Copied, copying};
use super::{Cache, Directives, serve};
use crate::body::Body;

/// What is left to do once the policies have seen the response.
pub struct Fill {
    pub(super) cache: Arc<Cache>,
    pub(super) status: CacheStatus,
    pub(super) work: Work,
    pub(super) now: SystemTime,
    /// Held until the response is stored or will not be.
    pub(super) _lead: Option<Lead>,
}

pub(super) enum Work {
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

pub(super) struct Insert {
    pub(super) keys: Keys,
    pub(super) method: Method,
    pub(super) request: HeaderMap,
    pub(super) body_in_key: bool,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) sent_at: SystemTime,
    pub(super) asked: Moment,
    /// It took the place of this one, unless `Vary` says otherwise.
    pub(super) instead_of: Option<Arc<Stored>>,
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
        // No word about tags: what it was called before.
        let tags: Box<[Tag]> = match directives.tags.is_empty() {
            true => old.tags.clone(),
            false => directives.tags.as_slice().into(),
        };
        let new = Stored {
            status: old.status,
            headers,
            body: old.body.clone(),
            meta,
            vary: old.vary.clone(),
            policy: directives.store,
            tags,
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
        let tags = directives.tags.as_slice().into();
        let (parts, body) = response.into_parts();
        let keys = insert.keys;
        let body = copying(body, limit, move |copied| {
            // Holds the lead until the copy is in the store: those who wait find it there.
            let fill = self;
            let store = &fill.cache.store;
            match copied {
                Copied::Whole(body) => {
                    let stored = Stored {
                        status: insert.status,
                        headers,
                        body,
                        meta,
                        vary,
                        policy,
                        tags,
                    };
                    let instead_of = insert.instead_of.as_ref();
                    if store.insert(keys, stored, instead_of, insert.asked) == Kept::TooLarge {
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

pub(super) fn date(now: SystemTime) -> HeaderValue {
    // Years from 1970 to 9999, which the clock of a running machine is in.
    HeaderValue::try_from(httpdate::fmt_http_date(now))
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}
