//! Makes a response out of a stored one: `Age`, `Cache-Status`, 304 for a client that has it, no body for HEAD.

use std::time::Duration;

use http::header::{AGE, CONTENT_LENGTH, HeaderName};
use http::{HeaderValue, Method, Response, StatusCode};
use http_cache::{CacheStatus, client_has_it, not_modified_headers};

use super::store::Stored;
use super::{CACHE_NAME, CacheRequest, Served};
use crate::body::Body;
use crate::exchange::Source;

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Straight from the store.
pub fn stored(request: &CacheRequest<'_>, stored: &Stored, age: Duration, ttl: i64) -> Served {
    let mut response = response(request.method, request.headers, stored);
    set_age(&mut response, age);
    let status = CacheStatus::hit(ttl);
    set_status(&mut response, &status);
    Served {
        response,
        source: source(ttl),
        status,
    }
}

/// The stored response to `method`, without `Age`.
pub fn response(method: &Method, request: &http::HeaderMap, stored: &Stored) -> Response<Body> {
    let asks = matches!(*method, Method::GET | Method::HEAD);
    if asks && client_has_it(request, stored.status, &stored.headers) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = not_modified_headers(&stored.headers);
        return response;
    }
    let head = *method == Method::HEAD;
    let body = if head {
        Body::empty()
    } else {
        Body::full(stored.body.clone())
    };
    let mut response = Response::new(body);
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers.clone();
    if head && !response.headers().contains_key(CONTENT_LENGTH) {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
    }
    response
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4
//# When a stored response is used to satisfy a request without validation, a cache MUST generate an Age header field
pub fn set_age(response: &mut Response<Body>, age: Duration) {
    response
        .headers_mut()
        .insert(AGE, HeaderValue::from(age.as_secs()));
}

/// Caches nearer to the origin stand before us in the list.
pub fn set_status(response: &mut Response<Body>, status: &CacheStatus) {
    response
        .headers_mut()
        .append(CACHE_STATUS, status.to_header(CACHE_NAME));
}

pub fn source(ttl: i64) -> Source {
    if ttl > 0 {
        Source::Cache
    } else {
        Source::StaleCache
    }
}
