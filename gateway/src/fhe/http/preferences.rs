//! What a request says about how it wants to be treated: `Priority` (RFC 9218) and `Prefer` (RFC 7240).

use std::time::{Duration, Instant};

use http::HeaderMap;

//= https://www.rfc-editor.org/rfc/rfc9218#section-4.1
//# The default is 3.
const DEFAULT_URGENCY: u8 = 3;
/// Longer waits are the same as none: no route's timeout is that long.
const MAX_WAIT_S: u64 = 24 * 3600;

/// When the route stops waiting for an answer.
#[derive(Clone, Copy, Debug)]
pub struct RouteDeadline(pub Instant);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preferences {
    pub urgency: u8,
    pub wait: Option<Duration>,
    pub answer: When,
}

/// When the client wants its answer (RFC 7240, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Now,
    /// `respond-async`: it comes for it later.
    Later,
}

impl Preferences {
    /// What cannot be understood is as if it were not there, as both specifications ask.
    pub fn of(headers: &HeaderMap) -> Self {
        let urgency = items(headers, "priority")
            .filter_map(|item| item.strip_prefix("u=")?.parse().ok())
            .rfind(|urgency| *urgency <= 7);
        //= https://www.rfc-editor.org/rfc/rfc7240#section-2
        //# If any preference is specified more than once, only the first instance is to be considered.
        let wait = items(headers, "prefer").find_map(|item| {
            let (name, value) = item.split_once('=')?;
            let is_wait = name.trim_end().eq_ignore_ascii_case("wait");
            is_wait.then(|| value.trim().trim_matches('"').parse::<u64>())
        });
        let is_async = |item: &str| item.eq_ignore_ascii_case("respond-async");
        let answer = match items(headers, "prefer").any(is_async) {
            true => When::Later,
            false => When::Now,
        };
        Self {
            answer,
            urgency: urgency.unwrap_or(DEFAULT_URGENCY),
            wait: wait
                .and_then(Result::ok)
                .filter(|seconds| *seconds <= MAX_WAIT_S)
                .map(Duration::from_secs),
        }
    }

    /// Whichever comes first.
    pub fn deadline(&self, now: Instant, route: Option<RouteDeadline>) -> Option<Instant> {
        let own = self.wait.map(|wait| now + wait);
        [own, route.map(|route| route.0)]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The members of a list, over all lines of the field, without their parameters.
fn items<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|item| item.split(';').next().unwrap_or("").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &'static str)], urgency: u8, wait: Option<u64>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let wait = wait.map(Duration::from_secs);
        let read = Preferences::of(&headers);
        assert_eq!((read.urgency, read.wait), (urgency, wait), "{fields:?}");
    }

    #[test]
    fn an_answer_later_is_asked_for_by_its_name_alone() {
        for (text, answer) in [
            ("respond-async", When::Later),
            ("wait=5, Respond-Async; x=y", When::Later),
            ("respond-asynchronously", When::Now),
            ("wait=5", When::Now),
        ] {
            let headers = HeaderMap::from_iter([(
                http::header::HeaderName::from_static("prefer"),
                text.parse().unwrap(),
            )]);
            assert_eq!(Preferences::of(&headers).answer, answer, "{text}");
        }
    }

    #[test]
    fn urgency_and_wait_are_read_and_nonsense_is_not() {
        check(&[], 3, None);
        check(&[("priority", "u=0, i")], 0, None);
        check(&[("priority", "i, u=7;x=1")], 7, None);
        // The last of a dictionary's equal keys counts (RFC 8941).
        check(&[("priority", "u=1"), ("priority", "u=5")], 5, None);
        check(&[("priority", "u=8"), ("prefer", "wait=x")], 3, None);
        check(&[("prefer", "respond-async, wait=10")], 3, Some(10));
        check(
            &[("prefer", "Wait = \"7\"; a=b"), ("prefer", "wait=9")],
            3,
            Some(7),
        );
        check(&[("prefer", "wait=99999999999999999999")], 3, None);
        check(&[("prefer", "wait=-1"), ("priority", "u=-1")], 3, None);
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let route = RouteDeadline(now + Duration::from_secs(5));
        let wait = |seconds| Preferences {
            urgency: 3,
            wait: Some(Duration::from_secs(seconds)),
            answer: When::Now,
        };
        assert_eq!(wait(9).deadline(now, Some(route)), Some(route.0));
        assert_eq!(
            wait(1).deadline(now, Some(route)),
            Some(now + Duration::from_secs(1))
        );
        assert_eq!(
            wait(1).deadline(now, None),
            Some(now + Duration::from_secs(1))
        );
    }
}
