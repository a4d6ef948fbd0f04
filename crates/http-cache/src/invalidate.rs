//! Which stored responses an unsafe request makes worthless: RFC 9111, section 4.4.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

/// A resource whose stored responses are to be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub authority: String,
    pub path_and_query: String,
}

/// A method is safe only if it is known to be.
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//# a cache MUST invalidate the target URI [...] when it receives a non-error response to an unsafe request method
//# (including methods whose safety is unknown).
pub fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// The target itself, and what `Location` and `Content-Location` name on the same authority.
pub fn invalidates(
    method: &Method,
    authority: &str,
    path_and_query: &str,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Target> {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
    //# A "non-error response" is one with a 2xx (Successful) or 3xx (Redirection) status code.
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let own = Target {
        authority: authority.to_owned(),
        path_and_query: path_and_query.to_owned(),
    };
    let mut targets = vec![own];
    for name in [LOCATION, CONTENT_LOCATION] {
        if let Some(target) = named(&name, authority, response)
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
//# However, a cache MUST NOT invalidate these URIs if the origin of the URI [...] differs from that of the target URI.
fn named(name: &HeaderName, authority: &str, response: &HeaderMap) -> Option<Target> {
    let text = response.get(name)?.to_str().ok()?;
    let uri = text.parse::<Uri>().ok()?;
    let same_origin = uri
        .authority()
        .is_none_or(|named| named.as_str().eq_ignore_ascii_case(authority));
    // A path relative to the request's is not resolved, and `//host/…` names another authority that `Uri` does not see:
    // dropping less is always allowed here.
    let path = uri.path_and_query()?.as_str();
    (same_origin && path.starts_with('/') && !path.starts_with("//")).then(|| Target {
        authority: authority.to_owned(),
        path_and_query: path.to_owned(),
    })
}
