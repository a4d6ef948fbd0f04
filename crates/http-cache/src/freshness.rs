//! How long a stored response stays fresh, and how old it is: RFC 9111, section 4.2. Parsed once, when the response is
//! stored ([`Meta::new`]), so that a hit compares numbers only.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use crate::directives::{ResponseDirectives, delta_seconds};

/// A guess is never longer than a day: RFC 9111 sets no bound, and a page last changed ten years ago may change today.
const MAX_HEURISTIC: Duration = Duration::from_secs(24 * 3600);

/// The share of the time since the last change that a response is guessed to stay fresh.
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
//# A typical setting of this fraction might be 10%.
const HEURISTIC_DIVISOR: u32 = 10;

/// What a policy decided where the origin left it open. It never outlives what the origin named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Override {
    pub ttl: Duration,
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
}

/// Where a freshness lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    SMaxAge,
    MaxAge,
    Expires,
    /// A directive is there, but cannot be read: stale from the start.
    Unreadable,
    Policy,
    Heuristic,
    /// Nobody says anything: it may be kept for validation only.
    None,
}

/// A freshness lifetime and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub duration: Duration,
    pub source: Source,
}

impl Lifetime {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# A cache can calculate the freshness lifetime [...] by evaluating the following rules and using the first match
    pub fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        policy: Option<&Override>,
        received: SystemTime,
    ) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1
        //# A recipient with a clock that receives a response message without a Date header field MUST record the time
        //# it was received
        let date = date(headers, &DATE).unwrap_or(received);
        let named = Self::explicit(headers, directives, date);
        match (named, policy) {
            // A policy narrows what the origin named, never widens it.
            (Some(named), Some(policy)) => Self {
                duration: named.duration.min(policy.ttl),
                ..named
            },
            (Some(named), None) => named,
            (None, Some(policy)) => Self {
                duration: policy.ttl,
                source: Source::Policy,
            },
            (None, None) => Self::guessed(status, headers, directives, date),
        }
    }

    fn explicit(
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        sent: SystemTime,
    ) -> Option<Self> {
        let named = |value: Option<Duration>, source| match value {
            Some(duration) => Self { duration, source },
            None => Self {
                duration: Duration::ZERO,
                source: Source::Unreadable,
            },
        };
        if let Some(value) = directives.s_maxage {
            return Some(named(value, Source::SMaxAge));
        }
        if let Some(value) = directives.max_age {
            return Some(named(value, Source::MaxAge));
        }
        headers.get(EXPIRES)?;
        //= https://www.rfc-editor.org/rfc/rfc9111#section-5.3
        //# A cache recipient MUST interpret invalid date formats, especially the value "0", as representing a time in
        //# the past (i.e., "already expired").
        let Some(expires) = date(headers, &EXPIRES) else {
            return Some(named(None, Source::Expires));
        };
        let lifetime = expires.duration_since(sent).unwrap_or(Duration::ZERO);
        Some(named(Some(lifetime), Source::Expires))
    }

    fn guessed(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        sent: SystemTime,
    ) -> Self {
        let none = Self {
            duration: Duration::ZERO,
            source: Source::None,
        };
        //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2
        //# A cache MUST NOT use heuristics to determine freshness when an explicit expiration time is present in the
        //# stored response. [...] heuristics can only be used on responses without explicit freshness whose status
        //# codes are defined as "heuristically cacheable" [...] and responses [...] marked as explicitly cacheable
        //# (e.g., with a public response directive).
        if !heuristically_cacheable(status) && !directives.public {
            return none;
        }
        if headers.contains_key(SET_COOKIE) {
            return none;
        }
        let Some(modified) = date(headers, &LAST_MODIFIED) else {
            return none;
        };
        let unchanged = sent.duration_since(modified).unwrap_or(Duration::ZERO);
        Self {
            duration: (unchanged / HEURISTIC_DIVISOR).min(MAX_HEURISTIC),
            source: Source::Heuristic,
        }
    }
}

/// Status codes that RFC 9110, section 15.1, calls heuristically cacheable, without 206.
pub(crate) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Until when a response that has gone stale may still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StaleUse {
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
    /// `if_error` is the origin's: a policy may shorten it, not more.
    pub(crate) origin_named_if_error: bool,
    /// `max-stale` of a request is honoured.
    pub(crate) on_request: bool,
}

/// All that later decisions need to know of a stored response, besides its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    lifetime: Lifetime,
    corrected_initial_age: Duration,
    response_time: SystemTime,
    always_validate: bool,
    pub(crate) stale: StaleUse,
}

impl Meta {
    /// `request_time` and `response_time` are the gateway's own clock when it sent the request and got the response.
    pub fn new(
        status: StatusCode,
        headers: &HeaderMap,
        policy: Option<&Override>,
        request_time: SystemTime,
        response_time: SystemTime,
    ) -> Self {
        let directives = ResponseDirectives::parse(headers);
        let lifetime = Lifetime::of(status, headers, &directives, policy, response_time);
        Self {
            lifetime,
            corrected_initial_age: initial_age(headers, request_time, response_time),
            response_time,
            always_validate: directives.no_cache,
            stale: stale_use(&directives, policy),
        }
    }

    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
    //# resident_time = now - response_time; current_age = corrected_initial_age + resident_time;
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = now
            .duration_since(self.response_time)
            .unwrap_or(Duration::ZERO);
        self.corrected_initial_age.saturating_add(resident)
    }

    /// `no-cache`: usable only after a successful validation, however fresh.
    pub fn always_validate(&self) -> bool {
        self.always_validate
    }

    /// How long from `now` it may be of any use without the origin: after that only its validator is worth keeping.
    pub fn usable_for(&self, now: SystemTime) -> Duration {
        let longest = self.stale.while_revalidate.max(self.stale.if_error);
        self.lifetime
            .duration
            .saturating_add(longest)
            .saturating_sub(self.age(now))
    }
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3
//# apparent_age = max(0, response_time - date_value); response_delay = response_time - request_time;
//# corrected_age_value = age_value + response_delay;
//# corrected_initial_age = max(apparent_age, corrected_age_value);
fn initial_age(
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Duration {
    let apparent = date(headers, &DATE)
        .and_then(|date| response_time.duration_since(date).ok())
        .unwrap_or(Duration::ZERO);
    let delay = response_time
        .duration_since(request_time)
        .unwrap_or(Duration::ZERO);
    apparent.max(age_value(headers).saturating_add(delay))
}

//= https://www.rfc-editor.org/rfc/rfc9111#section-5.1
//# a cache encountering a message with a list-based Age field value SHOULD use the first member of the field value,
//# discarding subsequent ones. [...] If the field value [...] is invalid [...] a cache SHOULD ignore the field.
fn age_value(headers: &HeaderMap) -> Duration {
    headers
        .get(AGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(',').next())
        .and_then(|first| delta_seconds(first.trim_matches([' ', '\t'])))
        .unwrap_or(Duration::ZERO)
}

fn stale_use(directives: &ResponseDirectives, policy: Option<&Override>) -> StaleUse {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4
    //# A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive (e.g., by a
    //# no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or proxy-revalidate
    //# response directive
    if directives.forbids_stale() {
        return StaleUse {
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            origin_named_if_error: false,
            on_request: false,
        };
    }
    let shared = directives.s_maxage.is_some();
    let choose = |origin: Option<Duration>, policy: Option<Duration>| match origin {
        Some(named) => policy.map_or(named, |policy| named.min(policy)),
        // Beside s-maxage only the origin itself may allow a stale answer (see the crate's deviations).
        None if shared => Duration::ZERO,
        None => policy.unwrap_or(Duration::ZERO),
    };
    StaleUse {
        while_revalidate: choose(
            directives.stale_while_revalidate,
            policy.map(|policy| policy.stale_while_revalidate),
        ),
        if_error: choose(
            directives.stale_if_error,
            policy.map(|policy| policy.stale_if_error),
        ),
        origin_named_if_error: directives.stale_if_error.is_some(),
        on_request: !shared,
    }
}

/// The first value of a date header, if it can be read.
pub(crate) fn date(headers: &HeaderMap, name: &http::HeaderName) -> Option<SystemTime> {
    let first = headers.get(name)?;
    httpdate::parse_http_date(first.to_str().ok()?).ok()
}
