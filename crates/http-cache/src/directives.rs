//! Parses `Cache-Control` (and `Pragma`) into directives. Never fails: what cannot be read makes a response stale and
//! a request stricter, never the other way.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

/// The largest number of seconds told apart.
//= https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2
//# If a cache receives a delta-seconds value greater than the greatest integer it can represent, or if any of its
//# subsequent calculations overflows, the cache MUST consider the value to be 2147483648 (2^31)
const MAX_DELTA_SECONDS: u64 = 1 << 31;

/// At most this many directives of a message are read: a real one has fewer than ten, and a header section may hold
/// thousands of commas. A message that has more is treated as `no-store`.
const MAX_DIRECTIVES: usize = 64;

/// What a request asks of a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    pub max_stale: Option<MaxStale>,
    pub stale_if_error: Option<Duration>,
}

/// `max-stale` with or without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    Any,
    UpTo(Duration),
}

/// What a response allows a shared cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    /// `Some(None)`: the directive is there but its value cannot be read, so the response counts as stale.
    pub max_age: Option<Option<Duration>>,
    /// As `max_age`.
    pub s_maxage: Option<Option<Duration>>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.4
            //# When the Cache-Control header field is not present in a request, caches MUST consider the no-cache
            //# request pragma-directive as having the same effect as if "Cache-Control: no-cache" were present
            found.no_cache = headers.get_all(PRAGMA).iter().any(|value| {
                value.to_str().is_ok_and(|text| {
                    Directives::new(text).any(|(name, _)| name.eq_ignore_ascii_case("no-cache"))
                })
            });
            return found;
        }
        let complete = each(headers, |name, value| found.take(name, value));
        found.no_store |= !complete;
        found
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        match name {
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "only-if-cached" => self.only_if_cached = true,
            // Unreadable: as strict as can be.
            "max-age" => {
                self.max_age
                    .get_or_insert(seconds(value).unwrap_or(Duration::ZERO));
            }
            "min-fresh" => {
                self.min_fresh.get_or_insert(
                    seconds(value).unwrap_or(Duration::from_secs(MAX_DELTA_SECONDS)),
                );
            }
            "max-stale" => {
                let bound = match value {
                    None => Some(MaxStale::Any),
                    Some(_) => seconds(value).map(MaxStale::UpTo),
                };
                self.max_stale = self.max_stale.or(bound);
            }
            "stale-if-error" => self.stale_if_error = self.stale_if_error.or(seconds(value)),
            //= https://www.rfc-editor.org/rfc/rfc9111#section-5.2.3
            //# A cache MUST ignore unrecognized cache directives.
            _ => {}
        }
    }
}

impl ResponseDirectives {
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let complete = each(headers, |name, value| found.take(name, value));
        found.no_store |= !complete;
        found
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
            //# When there is more than one value present for a given directive [...] either the first occurrence
            //# should be used or the response should be considered stale.
            "max-age" => {
                self.max_age.get_or_insert(seconds(value));
            }
            "s-maxage" => {
                self.s_maxage.get_or_insert(seconds(value));
            }
            "stale-while-revalidate" => {
                self.stale_while_revalidate = self.stale_while_revalidate.or(seconds(value));
            }
            "stale-if-error" => self.stale_if_error = self.stale_if_error.or(seconds(value)),
            _ => {}
        }
    }

    /// The origin forbids an answer that is stale, whoever else would like one.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache
    }
}

/// Calls `take(lower-case name, value)` for each directive; false if there were too many, or bytes that are not text.
fn each(headers: &HeaderMap, mut take: impl FnMut(&str, Option<&str>)) -> bool {
    let mut seen = 0;
    for line in headers.get_all(CACHE_CONTROL) {
        let Ok(text) = line.to_str() else {
            return false;
        };
        for (name, value) in Directives::new(text) {
            seen += 1;
            if seen > MAX_DIRECTIVES {
                return false;
            }
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                take(&name.to_ascii_lowercase(), value);
            } else {
                take(name, value);
            }
        }
    }
    true
}

/// Splits `a, b=1, c="x, y"` on the commas outside quotes.
struct Directives<'a> {
    rest: &'a str,
}

impl<'a> Directives<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = comma_outside_quotes(self.rest);
            let part = self.rest[..end].trim_matches([' ', '\t']);
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            if part.is_empty() {
                continue;
            }
            return Some(match part.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (part, None),
            });
        }
    }
}

fn comma_outside_quotes(text: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// `60` or `"60"`; anything else, a sign or a fraction included, is unreadable.
//= https://www.rfc-editor.org/rfc/rfc9111#section-5.2
//# recipients ought to accept both forms
fn seconds(value: Option<&str>) -> Option<Duration> {
    let value = value?;
    let digits = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<u64>().unwrap_or(MAX_DELTA_SECONDS);
    Some(Duration::from_secs(number.min(MAX_DELTA_SECONDS)))
}

/// The same rule for `Age`, which is a bare number.
pub(crate) fn delta_seconds(text: &str) -> Option<Duration> {
    if text.starts_with('"') {
        return None;
    }
    seconds(Some(text))
}
