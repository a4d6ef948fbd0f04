//! The response cache: a bounded store in memory around the decisions of `http-cache` (RFC 9111).
//!
//! The order of use: [`Cache::lookup`]; then either the answer is there, or a [`Ticket`] goes upstream with the request:
//! [`Ticket::prepare`] (validators), [`Ticket::receive`] (a 304 becomes the stored response), the policies' hooks, and
//! [`Fill::finish`], which stores while the body passes. `finish` writes `Cache-Status`.
//!
//! Invariants: what is stored is what the origin sent, before policies touched it; a body is stored only if it passed whole; memory
//! is bounded, with a bound for one object; at most one exchange fetches a key on behalf of others, and nobody waits for it twice.

mod fill;
mod flight;
mod key;
mod serve;
mod shard;
mod store;
mod tee;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method, Response};
use http_cache::{CacheStatus, Forward, Override, RequestDirectives, Verdict, bypasses, evaluate};

pub use self::fill::Fill;
use self::flight::Turn;
pub use self::flight::Wait;
use self::key::Keys;
pub use self::key::Tag;
use self::store::{Found, Store, Stored};
use self::ticket::Basis;
pub use self::ticket::{Received, Ticket};
use crate::body::Body;
use crate::config::CacheConfig;
use crate::exchange::Source;

/// This cache's name in `Cache-Status`.
pub const CACHE_NAME: &str = "veilgate";

/// The cache of a gateway.
pub struct Cache {
    store: Store,
}

/// What the cache needs to know of a request, after policies had their say.
#[derive(Debug, Clone, Copy)]
pub struct CacheRequest<'a> {
    pub method: &'a Method,
    pub authority: &'a str,
    pub path_and_query: &'a str,
    pub headers: &'a HeaderMap,
    /// Policies' additions to the key, in order.
    pub key_parts: &'a [String],
    /// A digest of the body that is part of the key: makes a POST cacheable.
    pub body_digest: Option<[u8; 32]>,
    /// A policy wants the cache left out.
    pub bypass: bool,
    /// It has not waited for another exchange's answer yet.
    pub may_wait: bool,
}

/// What policies said of storing the response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    pub store: Option<Override>,
    pub no_store: bool,
    /// By which the stored response can be purged.
    pub tags: Vec<Tag>,
}

/// What to do with a request.
pub enum Lookup {
    /// Answer with this.
    Serve(Served),
    /// Answer with this, and fetch a new one behind it ([`Ticket::refresh`]).
    ServeThenRevalidate(Served, Ticket),
    /// Another exchange is fetching it: wait, then look up again with `may_wait` off.
    Wait(Wait),
    /// The client wants a stored response only, and there is none it may have: 504.
    Unsatisfiable,
    /// Go upstream with this.
    Forward(Ticket),
}

/// A response out of the store, with `Age` and `Cache-Status`.
pub struct Served {
    pub response: Response<Body>,
    /// `Cache` or `StaleCache`.
    pub source: Source,
    pub status: CacheStatus,
}

impl Cache {
    pub fn new(config: &CacheConfig) -> Arc<Self> {
        Arc::new(Self {
            store: Store::new(config.max_bytes, config.max_object_bytes),
        })
    }

    /// Finds what may be done without the origin.
    pub fn lookup(self: &Arc<Self>, request: &CacheRequest<'_>, now: SystemTime) -> Lookup {
        if request.bypass {
            return Lookup::Forward(Ticket::passing(self, request, Forward::Bypass, now));
        }
        if let Some(why) = bypasses(
            request.method,
            request.headers,
            request.body_digest.is_some(),
        ) {
            return Lookup::Forward(Ticket::passing(self, request, why, now));
        }
        let keys = Keys::of(request);
        let asked = RequestDirectives::parse(request.headers);
        match self.store.find(&keys, request.headers) {
            Found::Variant(stored) => self.with_stored(request, keys, &asked, stored, now),
            Found::OtherVariants => {
                self.without_stored(request, keys, &asked, Forward::VaryMiss, now)
            }
            Found::Nothing => self.without_stored(request, keys, &asked, Forward::UriMiss, now),
        }
    }

    fn without_stored(
        self: &Arc<Self>,
        request: &CacheRequest<'_>,
        keys: Keys,
        asked: &RequestDirectives,
        why: Forward,
        now: SystemTime,
    ) -> Lookup {
        if asked.only_if_cached {
            return Lookup::Unsatisfiable;
        }
        let patient = request.may_wait && !asked.no_cache && !asked.no_store;
        self.lead_or_wait(request, keys, None, why, patient, now)
    }

    fn with_stored(
        self: &Arc<Self>,
        request: &CacheRequest<'_>,
        keys: Keys,
        asked: &RequestDirectives,
        stored: Arc<Stored>,
        now: SystemTime,
    ) -> Lookup {
        match evaluate(now, asked, &stored.meta) {
            Verdict::Serve { age, ttl } => Lookup::Serve(serve::stored(request, &stored, age, ttl)),
            Verdict::ServeThenRevalidate { age, ttl } => {
                let served = serve::stored(request, &stored, age, ttl);
                match self.store.turn(&keys, true, now) {
                    Turn::Lead(lead) => {
                        let basis = Some(Basis::new(stored, true));
                        let ticket = Ticket::leading(
                            self,
                            request,
                            keys,
                            basis,
                            Forward::Stale,
                            Some(lead),
                            now,
                        );
                        Lookup::ServeThenRevalidate(served, ticket)
                    }
                    // Somebody fetches it already.
                    Turn::Wait(_) | Turn::Alone | Turn::Pass => Lookup::Serve(served),
                }
            }
            Verdict::Revalidate { why } => {
                let patient =
                    request.may_wait && why == Forward::Stale && !stored.meta.always_validate();
                self.lead_or_wait(
                    request,
                    keys,
                    Some(Basis::new(stored, false)),
                    why,
                    patient,
                    now,
                )
            }
            Verdict::Unsatisfiable => Lookup::Unsatisfiable,
        }
    }

    /// The first to miss a key fetches it; those who come meanwhile wait for it, once.
    fn lead_or_wait(
        self: &Arc<Self>,
        request: &CacheRequest<'_>,
        keys: Keys,
        basis: Option<Basis>,
        why: Forward,
        patient: bool,
        now: SystemTime,
    ) -> Lookup {
        // A HEAD stores nothing that others could use.
        let may_lead = *request.method != Method::HEAD;
        let lead = match self.store.turn(&keys, may_lead, now) {
            Turn::Wait(wait) if patient => return Lookup::Wait(wait),
            // What is being validated must be told of the answer.
            Turn::Pass if basis.is_none() => {
                return Lookup::Forward(Ticket::passing(self, request, why, now));
            }
            Turn::Lead(lead) => Some(lead),
            Turn::Wait(_) | Turn::Alone | Turn::Pass => None,
        };
        Lookup::Forward(Ticket::leading(self, request, keys, basis, why, lead, now))
    }

    /// Drops all that is stored of a resource.
    pub fn invalidate(&self, authority: &str, path_and_query: &str) -> usize {
        self.store
            .invalidate(&Keys::uri_of(authority, path_and_query))
    }

    /// Drops all that policies stored under this tag; how many responses that were.
    pub fn purge(&self, tag: &str) -> usize {
        self.store.purge(&Tag::of(tag))
    }

    /// Bytes that stored responses take.
    pub fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    /// Stored responses.
    pub fn objects(&self) -> usize {
        self.store.objects()
    }
}

impl policy_host::CacheControl for Cache {
    fn purge_tag(&self, tag: &str) -> u32 {
        u32::try_from(self.purge(tag)).unwrap_or(u32::MAX)
    }
}
