//! May this response be stored? RFC 9111, section 3. A refusal says which rule.

use http::header::{AUTHORIZATION, CONTENT_RANGE, EXPIRES, RANGE, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::directives::{RequestDirectives, ResponseDirectives};
use crate::freshness::{Override, heuristically_cacheable};
use crate::vary::{VaryKey, VaryRefusal};

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Method,
    /// `Range` in the request, or a partial answer.
    Partial,
    StatusNotFinal,
    StatusNotUnderstood,
    RequestNoStore,
    ResponseNoStore,
    Private,
    Authorization,
    SetCookie,
    /// Neither the origin nor a policy says how long, and the status may not be guessed at.
    NoFreshness,
    /// `Vary: *`, or more names than are kept.
    Vary,
}

impl Refusal {
    /// A constant text for logs and `Cache-Status`'s `detail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Partial => "partial",
            Self::StatusNotFinal => "status-not-final",
            Self::StatusNotUnderstood => "status-not-understood",
            Self::RequestNoStore => "request-no-store",
            Self::ResponseNoStore => "response-no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::NoFreshness => "no-freshness",
            Self::Vary => "vary",
        }
    }
}

impl From<VaryRefusal> for Refusal {
    fn from(_: VaryRefusal) -> Self {
        Self::Vary
    }
}

/// Decides whether a shared cache may store this response to this request; if so, under which secondary key.
/// `body_in_key`: the caller's key holds a digest of the request's body, so that a POST is as good as a GET to it.
pub fn storable(
    method: &Method,
    request: &HeaderMap,
    body_in_key: bool,
    status: StatusCode,
    response: &HeaderMap,
    policy: Option<&Override>,
) -> Result<VaryKey, Refusal> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3
    //# A cache MUST NOT store a response to a request unless: the request method is understood by the cache
    let method_fits = *method == Method::GET || (*method == Method::POST && body_in_key);
    if !method_fits {
        return Err(Refusal::Method);
    }
    if request.contains_key(RANGE) || response.contains_key(CONTENT_RANGE) {
        return Err(Refusal::Partial);
    }
    check_status(status)?;
    let asked = RequestDirectives::parse(request);
    let said = ResponseDirectives::parse(response);
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.5
    //# a cache MUST NOT store any part of either this request or any response to it
    if asked.no_store {
        return Err(Refusal::RequestNoStore);
    }
    check_directives(request, response, status, &said)?;
    if !has_lifetime(status, response, &said, policy) {
        return Err(Refusal::NoFreshness);
    }
    Ok(VaryKey::of(response, request)?)
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//# the response status code is final (see Section 15 of [HTTP]); if the response status code is 206 or 304, or the
//# must-understand cache directive (see Section 5.2.2.3) is present: the cache understands the response status code
fn check_status(status: StatusCode) -> Result<(), Refusal> {
    match status.as_u16() {
        100..=199 => Err(Refusal::StatusNotFinal),
        206 => Err(Refusal::Partial),
        304 => Err(Refusal::StatusNotUnderstood),
        _ => Ok(()),
    }
}

fn check_directives(
    request: &HeaderMap,
    response: &HeaderMap,
    status: StatusCode,
    said: &ResponseDirectives,
) -> Result<(), Refusal> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.3
    //# The must-understand response directive limits caching of the response to a cache that understands and conforms
    //# to the requirements for that response's status code. [...] a cache that implements must-understand [...]
    //# SHOULD ignore the no-store directive if [the] status code's caching requirements [are] understood
    if said.must_understand && !understood(status) {
        return Err(Refusal::StatusNotUnderstood);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3
    //# the no-store cache directive is not present in the response
    if said.no_store && !said.must_understand {
        return Err(Refusal::ResponseNoStore);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3
    //# if the cache is shared: the private response directive is either not present or allows a shared cache to store
    if said.private {
        return Err(Refusal::Private);
    }
    //= https://www.rfc-editor.org/rfc/rfc9111#section-3.5
    //# A shared cache MUST NOT use a cached response to a request with an Authorization header field [...] unless the
    //# response contains a Cache-Control field with a response directive [...] that allows it to be stored by a shared
    //# cache [...] must-revalidate, public, and s-maxage.
    let shareable = said.must_revalidate || said.public || said.s_maxage.is_some();
    if request.contains_key(AUTHORIZATION) && !shareable {
        return Err(Refusal::Authorization);
    }
    if response.contains_key(SET_COOKIE) && !names_lifetime(response, said) {
        return Err(Refusal::SetCookie);
    }
    Ok(())
}

/// The statuses whose caching rules this cache obeys: those that mean something to a cache beyond "store it".
fn understood(status: StatusCode) -> bool {
    heuristically_cacheable(status)
        || matches!(
            status.as_u16(),
            302 | 303 | 307 | 400 | 403 | 500 | 502 | 503 | 504
        )
}

fn names_lifetime(response: &HeaderMap, said: &ResponseDirectives) -> bool {
    said.max_age.is_some() || said.s_maxage.is_some() || response.contains_key(EXPIRES)
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-3
//# the response contains at least one of the following: a public response directive; [...] an Expires header field; a
//# max-age response directive; [...] an s-maxage response directive; a cache extension that allows it to be cached; or
//# a status code that is defined as heuristically cacheable
fn has_lifetime(
    status: StatusCode,
    response: &HeaderMap,
    said: &ResponseDirectives,
    policy: Option<&Override>,
) -> bool {
    said.public
        || names_lifetime(response, said)
        || policy.is_some()
        || heuristically_cacheable(status)
}
