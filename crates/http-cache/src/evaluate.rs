//! What may be done with a stored response for this request, now: RFC 9111, section 4, and RFC 5861.

use std::time::{Duration, SystemTime};

use http::header::RANGE;
use http::{HeaderMap, Method};

use crate::directives::{MaxStale, RequestDirectives};
use crate::freshness::Meta;
use crate::status::Forward;

/// What to do with the stored response that matches the request's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it; nothing goes upstream. `ttl` is what is left of its freshness, negative if the client took it stale.
    Serve { age: Duration, ttl: i64 },
    /// Send it, and validate it behind the client's back.
    ServeThenRevalidate { age: Duration, ttl: i64 },
    /// Validate it first; [`on_error`] says what a failure then allows.
    Revalidate { why: Forward },
    /// The client wants no request upstream (`only-if-cached`) and nothing may be sent: 504.
    Unsatisfiable,
}

/// What a failed validation (no answer, or 500, 502, 503, 504) lets the cache do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Fail,
    /// The stored response may be sent in place of the error.
    ServeStale,
}

/// Requests that no stored response is looked up for, and why.
pub fn bypasses(method: &Method, headers: &HeaderMap, body_in_key: bool) -> Option<Forward> {
    let fits = *method == Method::GET
        || *method == Method::HEAD
        || (*method == Method::POST && body_in_key);
    if !fits {
        return Some(Forward::Method);
    }
    // Nothing is kept in parts and the whole is not cut: the origin answers ranges.
    headers.contains_key(RANGE).then_some(Forward::Bypass)
}

pub fn evaluate(now: SystemTime, asked: &RequestDirectives, stored: &Meta) -> Verdict {
    let age = stored.age(now);
    let lifetime = stored.lifetime().duration;
    let ttl = signed_seconds(lifetime) - signed_seconds(age);
    let verdict = decide(asked, stored, age, lifetime, ttl);
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.7
    //# it SHOULD either respond using a stored response consistent with the other constraints of the request or respond
    //# with a 504 (Gateway Timeout) status code.
    match verdict {
        Verdict::Revalidate { .. } if asked.only_if_cached => Verdict::Unsatisfiable,
        Verdict::ServeThenRevalidate { age, ttl } if asked.only_if_cached => {
            Verdict::Serve { age, ttl }
        }
        other => other,
    }
}

fn decide(
    asked: &RequestDirectives,
    stored: &Meta,
    age: Duration,
    lifetime: Duration,
    ttl: i64,
) -> Verdict {
    let revalidate = |why| Verdict::Revalidate { why };
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4
    //# the stored response does not contain the no-cache directive [...] unless it is successfully validated
    if stored.always_validate() {
        return revalidate(Forward::Stale);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.4
    //# The no-cache request directive indicates that the client prefers a stored response not be used to satisfy the
    //# request without successful validation on the origin server.
    if asked.no_cache {
        return revalidate(Forward::Request);
    }
    if asked.max_age.is_some_and(|limit| age > limit) {
        return revalidate(Forward::Request);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2
    //# response_is_fresh = (freshness_lifetime > current_age)
    if lifetime > age {
        let left = lifetime - age;
        return match asked.min_fresh {
            Some(wanted) if left < wanted => revalidate(Forward::Request),
            _ => Verdict::Serve { age, ttl },
        };
    }
    if asked.min_fresh.is_some() {
        return revalidate(Forward::Stale);
    }
    stale(asked, stored, age, lifetime, ttl).unwrap_or(revalidate(Forward::Stale))
}

/// A stale response that may be sent all the same.
fn stale(
    asked: &RequestDirectives,
    stored: &Meta,
    age: Duration,
    lifetime: Duration,
    ttl: i64,
) -> Option<Verdict> {
    let staleness = age.saturating_sub(lifetime);
    //= https://www.rfc-editor.org/rfc/rfc5861#section-3
    //# caches MAY serve the response in which it appears after it becomes stale, up to the indicated number of seconds.
    if staleness < stored.stale.while_revalidate {
        return Some(Verdict::ServeThenRevalidate { age, ttl });
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.2
    //# the client is willing to accept a response that has exceeded its freshness lifetime by no more than the
    //# specified number of seconds. If no value is assigned [...] of any age.
    let accepted = match asked.max_stale {
        Some(MaxStale::Any) => true,
        Some(MaxStale::UpTo(limit)) => staleness <= limit,
        None => false,
    };
    (accepted && stored.stale.on_request).then_some(Verdict::Serve { age, ttl })
}

/// Whether the stored response may stand in for an error, now. `policy` is what a policy says of this exchange: it narrows what the
/// origin named, names what the origin left open, and cannot lift what the origin forbids.
//= https://www.rfc-editor.org/rfc/rfc5861#section-4
//# when an error is encountered, a cached stale response MAY be used to satisfy the request, regardless of other
//# freshness information.
pub fn on_error(
    now: SystemTime,
    asked: &RequestDirectives,
    stored: &Meta,
    policy: Option<Duration>,
) -> OnError {
    let staleness = stored.age(now).saturating_sub(stored.lifetime().duration);
    let stale = &stored.stale;
    let named = match policy {
        Some(policy) if stale.origin_named_if_error => stale.if_error.min(policy),
        Some(policy) if stale.on_request => policy,
        _ => stale.if_error,
    };
    let window = match asked.stale_if_error {
        Some(wanted) if stale.on_request => named.max(wanted),
        _ => named,
    };
    if staleness < window {
        OnError::ServeStale
    } else {
        OnError::Fail
    }
}

fn signed_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 2)
}
