//! A guest's decisions into the gateway's words. Whatever breaks a limit or the rules of HTTP is refused whole: half of an answer is
//! nobody's decision.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::fields;
use crate::bindings::exports::veilgate::policy::attempt_hook;
use crate::bindings::veilgate::policy::types;
use crate::decision::{LocalResponse, RouteChoice};
use crate::exchange::MAX_REASON_BYTES;
use crate::set_fields::SetFields;

/// The body of a response that a policy made up: an error page, a challenge.
pub const MAX_LOCAL_BODY_BYTES: usize = 64 * 1024;
/// An upstream's name.
const MAX_UPSTREAM_BYTES: usize = 128;
/// A day: longer is no timeout.
const MAX_TIMEOUT_MS: u64 = 24 * 3600 * 1000;

/// What one hook decided; checked.
pub(crate) struct Decided {
    /// Boxed: it is rare and large, and a decision passes through several hands.
    pub(crate) respond: Option<Box<LocalResponse>>,
    pub(crate) route: Option<RouteChoice>,
    pub(crate) body: types::BodyNeed,
    pub(crate) defer: bool,
    /// The policy wants no later hook of this exchange.
    pub(crate) done: bool,
    pub(crate) reason: Option<String>,
    /// Set on the response that the client will get.
    pub(crate) response_headers: SetFields,
}

pub(crate) fn decision(decision: types::Decision) -> Result<Decided, &'static str> {
    Ok(Decided {
        respond: decision
            .respond
            .map(local_response)
            .transpose()?
            .map(Box::new),
        route: decision.route.map(route_choice).transpose()?,
        body: decision.body,
        defer: decision.defer,
        done: decision.done,
        reason: decision.reason.map(reason),
        response_headers: response_headers(decision.response_headers)?,
    })
}

impl Decided {
    /// What a proxy-wasm module's callback comes to.
    pub(crate) fn of_filter(respond: Option<LocalResponse>, body: types::BodyNeed) -> Self {
        Self {
            respond: respond.map(Box::new),
            body,
            route: None,
            defer: false,
            done: false,
            reason: None,
            response_headers: SetFields::default(),
        }
    }
}

fn response_headers(list: Vec<types::Field>) -> Result<SetFields, &'static str> {
    let malformed =
        "a response header of a decision is malformed, too long, or the gateway's to set";
    let mut set = SetFields::with_capacity(list.len());
    for field in checked(list, malformed)? {
        let (name, value) = field?;
        set.push(name, value);
    }
    Ok(set)
}

fn header_map(list: Vec<types::Field>, malformed: &'static str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::with_capacity(list.len().min(fields::MAX_FIELDS));
    for field in checked(list, malformed)? {
        let (name, value) = field?;
        headers.append(name, value);
    }
    Ok(headers)
}

type CheckedField = Result<(HeaderName, HeaderValue), &'static str>;

fn checked(
    list: Vec<types::Field>,
    malformed: &'static str,
) -> Result<impl Iterator<Item = CheckedField>, &'static str> {
    if list.len() > fields::MAX_FIELDS {
        return Err("a response must have at most 128 fields");
    }
    let field = move |(name, value): types::Field| fields::owned(&name, value).ok_or(malformed);
    Ok(list.into_iter().map(field))
}

pub(crate) fn local_response(
    response: types::LocalResponse,
) -> Result<LocalResponse, &'static str> {
    let status = StatusCode::from_u16(response.status).map_err(|_| "a status that is none")?;
    if !(200..600).contains(&status.as_u16()) {
        return Err("a local response must have a status of 200 to 599");
    }
    if response.body.len() > MAX_LOCAL_BODY_BYTES {
        return Err("a local response's body must be at most 64 KiB");
    }
    let headers = header_map(
        response.headers,
        "a field of a local response is malformed, too long, or the gateway's to set",
    )?;
    Ok(LocalResponse {
        status,
        headers,
        body: Bytes::from(response.body),
    })
}

pub(crate) fn route_choice(choice: types::RouteChoice) -> Result<RouteChoice, &'static str> {
    if choice.upstream.is_empty() || choice.upstream.len() > MAX_UPSTREAM_BYTES {
        return Err("an upstream's name must be 1 to 128 bytes");
    }
    Ok(RouteChoice {
        upstream: choice.upstream,
        endpoint: choice.endpoint,
        hash_key: choice.hash_key,
        timeout_ms: choice.timeout.map(|ms| ms.clamp(1, MAX_TIMEOUT_MS)),
    })
}

/// Cut to its limit: a label that is too long is no reason to stop an exchange.
fn reason(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
    if !text.contains(char::is_control) {
        return text;
    }
    text.replace(char::is_control, " ")
}

pub(crate) enum BeforeChoice {
    Default,
    Route(RouteChoice),
    Respond(LocalResponse),
    GiveUp,
}

pub(crate) fn choice(choice: attempt_hook::Choice) -> Result<BeforeChoice, &'static str> {
    Ok(match choice {
        attempt_hook::Choice::Default => BeforeChoice::Default,
        attempt_hook::Choice::Route(route) => BeforeChoice::Route(route_choice(route)?),
        attempt_hook::Choice::Respond(response) => BeforeChoice::Respond(local_response(response)?),
        attempt_hook::Choice::GiveUp => BeforeChoice::GiveUp,
    })
}

/// A body in place of another, within the policy's limit.
pub(crate) fn replacement(
    body: Option<Vec<u8>>,
    limit: usize,
) -> Result<Option<Bytes>, &'static str> {
    match body {
        Some(body) if body.len() > limit => {
            Err("a body in place of another must be within the policy's max_body_bytes")
        }
        body => Ok(body.map(Bytes::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, name: &str, body: usize) -> types::LocalResponse {
        types::LocalResponse {
            status,
            headers: vec![(name.to_owned(), "v".to_owned())],
            body: vec![0; body],
        }
    }

    #[test]
    fn a_sound_response_passes_and_others_are_refused() {
        let kept = local_response(response(429, "Retry-After", 3)).unwrap();
        assert_eq!((kept.status.as_u16(), kept.body.len()), (429, 3));
        assert_eq!(kept.headers["retry-after"], "v");
        for bad in [
            response(99, "x", 0),
            response(101, "x", 0),
            response(600, "x", 0),
            response(200, "content-length", 0),
            response(200, "a b", 0),
            response(200, "x", MAX_LOCAL_BODY_BYTES + 1),
        ] {
            assert!(local_response(bad).is_err());
        }
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let long = format!("{}é", "x".repeat(MAX_REASON_BYTES - 1));
        assert_eq!(reason(long), "x".repeat(MAX_REASON_BYTES - 1));
        assert_eq!(reason("a\nb".to_owned()), "a b");
    }

    #[test]
    fn a_route_needs_a_name_and_a_timeout_is_bounded() {
        let choice = |upstream: &str, timeout| types::RouteChoice {
            upstream: upstream.to_owned(),
            endpoint: None,
            hash_key: None,
            timeout,
        };
        assert!(route_choice(choice("", None)).is_err());
        assert!(route_choice(choice(&"u".repeat(129), None)).is_err());
        assert_eq!(
            route_choice(choice("u", Some(0))).unwrap().timeout_ms,
            Some(1)
        );
        assert_eq!(
            route_choice(choice("u", Some(u64::MAX)))
                .unwrap()
                .timeout_ms,
            Some(MAX_TIMEOUT_MS)
        );
    }
}
