//! Whether a request may be sent again, and its body for that. Pure.

use bytes::Bytes;
use http::Method;
use policy_host::Verdict;

use crate::body::Body;
use crate::error::{ProxyError, Retry, Side};

/// The request's body over several attempts.
pub(super) enum Payload {
    /// All of it is here: it can be sent any number of times.
    Repeatable(Bytes),
    /// It streams from the client, and has not been touched.
    Streaming(Body),
    /// It streamed away with an attempt.
    Spent,
}

impl Payload {
    pub(super) fn new(body: Body) -> Self {
        match body.in_memory() {
            Some(bytes) => Self::Repeatable(bytes),
            None => Self::Streaming(body),
        }
    }

    pub(super) fn take(&mut self) -> Result<Body, ProxyError> {
        if let Self::Repeatable(bytes) = self {
            return Ok(Body::full(bytes.clone()));
        }
        match std::mem::replace(self, Self::Spent) {
            Self::Streaming(body) => Ok(body),
            Self::Repeatable(_) | Self::Spent => Err(ProxyError::internal(
                "a body that was sent already was to be sent again",
            )),
        }
    }

    /// An attempt gave the body back untouched.
    pub(super) fn put_back(&mut self, body: Body) {
        if let Self::Spent = self {
            *self = Self::Streaming(body);
        }
    }

    /// There is something to send.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Spent)
    }

    /// It will be there after the next attempt, too.
    pub(super) fn can_repeat(&self) -> bool {
        matches!(self, Self::Repeatable(_))
    }
}

/// A failed attempt is repeated where nothing of it was sent, or where doing it twice is doing it once. A policy may ask for more
/// (another try after a response) or less, but not for a request to be done twice.
pub(super) fn may_repeat(
    verdict: &Verdict,
    error: Option<&ProxyError>,
    method: &Method,
    payload: &Payload,
) -> bool {
    if !payload.is_there() || error.is_some_and(|error| error.side == Side::Client) {
        return false;
    }
    let harmless = match error.map(|error| error.retry) {
        Some(Retry::Safe) => true,
        Some(Retry::No | Retry::IfIdempotent) | None => method.is_idempotent(),
    };
    match verdict {
        Verdict::Accept => harmless && error.is_some_and(|error| error.retry != Retry::No),
        Verdict::Retry => harmless,
        Verdict::GiveUp | Verdict::Unavailable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn only_what_cannot_be_done_twice_by_it_is_sent_again() {
        let failed = |retry| Some(ProxyError::upstream(Kind::ConnectionTerminated, retry, ""));
        let client = Some(ProxyError {
            side: Side::Client,
            ..ProxyError::upstream(Kind::ConnectionTerminated, Retry::Safe, "")
        });
        let whole = || Payload::Repeatable(Bytes::new());
        let check = |verdict: Verdict,
                     error: Option<ProxyError>,
                     method: Method,
                     payload: Payload,
                     expected: bool| {
            let got = may_repeat(&verdict, error.as_ref(), &method, &payload);
            assert_eq!(got, expected, "{verdict:?} {error:?} {method}");
        };
        check(
            Verdict::Accept,
            failed(Retry::Safe),
            Method::POST,
            whole(),
            true,
        );
        check(
            Verdict::Accept,
            failed(Retry::Safe),
            Method::POST,
            Payload::Spent,
            false,
        );
        check(
            Verdict::Accept,
            failed(Retry::Safe),
            Method::POST,
            Payload::Streaming(Body::empty()),
            true,
        );
        check(
            Verdict::Accept,
            failed(Retry::IfIdempotent),
            Method::POST,
            whole(),
            false,
        );
        check(
            Verdict::Accept,
            failed(Retry::IfIdempotent),
            Method::PUT,
            whole(),
            true,
        );
        check(
            Verdict::Accept,
            failed(Retry::No),
            Method::GET,
            whole(),
            false,
        );
        check(Verdict::Accept, None, Method::GET, whole(), false);
        check(Verdict::Retry, None, Method::GET, whole(), true);
        check(Verdict::Retry, None, Method::POST, whole(), false);
        check(
            Verdict::Retry,
            failed(Retry::No),
            Method::GET,
            whole(),
            true,
        );
        check(
            Verdict::GiveUp,
            failed(Retry::Safe),
            Method::GET,
            whole(),
            false,
        );
        check(Verdict::Accept, client, Method::GET, whole(), false);
    }

    #[test]
    fn a_streaming_body_goes_out_once_unless_it_comes_back() {
        let mut payload = Payload::Streaming(Body::wrap(http_body_util::Full::new(
            Bytes::from_static(b"x"),
        )));
        let body = payload.take().expect("there");
        assert!(payload.take().is_err());
        payload.put_back(body);
        assert!(payload.take().is_ok());
    }
}
