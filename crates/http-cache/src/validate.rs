//! Validators: asking the origin whether a stored response still holds (RFC 9111, section 4.3), taking in its 304, and
//! answering a client's own question from the store.

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::freshness::date;

/// `If-None-Match` lists longer than this are not compared to the end: it answers 200 where 304 was possible.
const MAX_TAGS: usize = 256;

/// Replaces the client's conditions by those that ask about the stored response. False if it has no validator.
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
//# One such validator is the timestamp given in a Last-Modified header field [...] which can be used in an
//# If-Modified-Since header field [...] Another validator is the entity tag given in an ETag field
pub fn conditional_headers(stored: &HeaderMap, request: &mut HeaderMap) -> bool {
    let tag = stored.get(ETAG);
    let modified = stored.get(LAST_MODIFIED);
    if tag.is_none() && modified.is_none() {
        return false;
    }
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
    ] {
        request.remove(name);
    }
    if let Some(tag) = tag {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = modified {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    true
}

/// Is the 304 about this stored response?
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4
//# If the new response contains one or more strong validators, then each of those strong validators identifies a
//# selected representation for update. [...] If none of the stored responses contains at least one of the same strong
//# validators, then the cache MUST NOT use the new response to update any stored responses.
pub fn updates(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    match (not_modified.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(old)) => weak_eq(new.as_bytes(), old.as_bytes()),
        (Some(new), None) => is_weak(new.as_bytes()),
        (None, _) => match (not_modified.get(LAST_MODIFIED), stored.get(LAST_MODIFIED)) {
            (Some(new), Some(old)) => new == old,
            _ => true,
        },
    }
}

/// The stored headers with those of a 304 taken over.
//= https://www.rfc-editor.org/rfc/rfc9111#section-3.2
//# the cache MUST add each header field in the provided response to the stored response, replacing field values that
//# are already present, with the following exceptions: Header fields excepted from storage in Section 3.1, Header fields
//# that the cache's stored response depends upon, [...] and the Content-Length header field.
pub fn freshen(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    let fresh = without_connection_fields(not_modified);
    // An age belongs to the answer that carried it; what was stored under an older one is reset by the new one.
    stored.remove(AGE);
    for name in fresh.keys() {
        if [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name) {
            continue;
        }
        stored.remove(name);
        for value in fresh.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}

/// The headers that may be stored.
//= https://www.rfc-editor.org/rfc/rfc9111#section-3.1
//# The Connection header field and fields whose names are listed in it are required by Section 7.6.1 of [HTTP] to be
//# removed before forwarding the message. [...] Proxy-Authenticate, Proxy-Authentication-Info, and Proxy-Authorization
pub fn without_connection_fields(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for line in headers.get_all(CONNECTION) {
        for name in line.to_str().unwrap_or("").split(',') {
            if let Ok(name) = HeaderName::try_from(name.trim_matches([' ', '\t'])) {
                kept.remove(name);
            }
        }
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        kept.remove(name);
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authentication-info",
    ] {
        kept.remove(name);
    }
    kept
}

/// The client's `If-None-Match` or `If-Modified-Since` says that it holds what is stored: 304.
pub fn client_has_it(request: &HeaderMap, status: StatusCode, stored: &HeaderMap) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
    //# A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field
    if request.contains_key(IF_NONE_MATCH) {
        return any_tag_matches(request, stored.get(ETAG));
    }
    let Some(since) = date(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2
    //# If the stored response has no Last-Modified, [a cache] compares with its Date field value
    date(stored, &LAST_MODIFIED)
        .or_else(|| date(stored, &DATE))
        .is_some_and(|changed| changed <= since)
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
//# A recipient MUST use the weak comparison function when comparing entity tags for If-None-Match
fn any_tag_matches(request: &HeaderMap, stored: Option<&HeaderValue>) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|line| Tags {
            rest: line.as_bytes(),
        })
        .take(MAX_TAGS)
        .any(|tag| tag == b"*" || stored.is_some_and(|stored| weak_eq(tag, stored.as_bytes())))
}

/// Splits `"a", W/"b,c"` on commas outside quotes (an entity tag has no escapes).
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = self.rest.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let end = end.unwrap_or(self.rest.len());
        let tag = self.rest[..end].trim_ascii();
        self.rest = self.rest.get(end + 1..).unwrap_or(b"");
        Some(tag)
    }
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

fn weak_eq(a: &[u8], b: &[u8]) -> bool {
    let opaque = |tag: &'_ [u8]| -> usize { if is_weak(tag) { 2 } else { 0 } };
    a[opaque(a)..] == b[opaque(b)..]
}

/// What a 304 made from the store carries.
//= https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
//# The server generating a 304 response MUST generate any of the following header fields that would have been sent in
//# a 200 (OK) response to the same request: Content-Location, Date, ETag, and Vary; Cache-Control and Expires
pub fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [
        CONTENT_LOCATION,
        DATE,
        ETAG,
        VARY,
        CACHE_CONTROL,
        EXPIRES,
        LAST_MODIFIED,
    ] {
        for value in stored.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}
