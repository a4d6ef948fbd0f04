//! The pure part: which limits a request is charged to, under which keys, and what the caller is told.
//!
//! Invariants: one request is charged to each limit at most once; two callers never share a key because of how their names are
//! written; a key has a bounded length whatever a client sends.

mod key;

use guest_sdk::limits::Verdict;
use guest_sdk::matching::Match;
use guest_sdk::{ConfigError, LocalResponse, Period, Problem, RequestView};
use serde::Deserialize;

use key::{Key, OnMissing};

/// Each limit is one more key in the host's one atomic decision; nobody reads a list of more than a few.
pub const MAX_LIMITS: usize = 16;
/// Enough for any real rate, and far from where sums of counters overflow.
pub const MAX_QUOTA: u64 = 1_000_000_000;
/// What the host takes: a month.
const MAX_PER: Period = Period::from_secs(31 * 86_400);
const MAX_NAME_BYTES: usize = 64;
/// Of `u64::MAX`.
const MAX_DIGITS: usize = 20;
/// An item of the fields is seldom longer; a longer one makes the text grow.
const ITEM_BYTES: usize = 48;

/// `reason` of a refusal.
pub const REFUSED: &str = "rate-limit/refused";

/// The problem type of draft-ietf-httpapi-ratelimit-headers for a quota that is used up.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    limits: Vec<RawLimit>,
    #[serde(default)]
    headers: Headers,
}

/// On which responses the fields `RateLimit` and `RateLimit-Policy` are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Headers {
    #[default]
    Refused,
    Always,
    Never,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLimit {
    name: String,
    limit: u64,
    per: Period,
    burst: Option<u64>,
    #[serde(default)]
    algorithm: Algorithm,
    #[serde(deserialize_with = "guest_sdk::matching::one_or_many")]
    key: Vec<String>,
    #[serde(default)]
    on_missing: OnMissing,
    #[serde(default)]
    r#match: Match,
    #[serde(default = "one")]
    cost: u64,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    #[default]
    Gcra,
    SlidingWindow,
    FixedWindow,
}

/// One limit, checked.
#[derive(Debug)]
pub struct Limit {
    pub name: String,
    pub limit: u64,
    pub per: Period,
    pub burst: u64,
    pub algorithm: Algorithm,
    key: Key,
    matches: Match,
    cost: u64,
    /// Its item of `RateLimit-Policy`, and the beginning of its item of `RateLimit`: the same on every response, so written once.
    policy_item: String,
    standing_start: String,
}

/// What one request takes from one limit.
#[derive(Debug, PartialEq, Eq)]
pub struct Charge {
    /// Its place in [`Plan::limits`].
    pub limit: usize,
    pub key: String,
    pub cost: u64,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Plan {
    limits: Vec<Limit>,
    headers: Headers,
}

impl Plan {
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let count = settings.limits.len();
        if count == 0 || count > MAX_LIMITS {
            return Err(ConfigError::at(
                "limits",
                format!("{count} limits; from 1 to {MAX_LIMITS} are taken"),
            ));
        }
        let mut limits: Vec<Limit> = Vec::with_capacity(count);
        for (index, raw) in settings.limits.into_iter().enumerate() {
            let inside = |error: ConfigError| error.inside(&format!("limits[{index}]"));
            let limit = Limit::new(raw).map_err(inside)?;
            if limits.iter().any(|other| other.name == limit.name) {
                return Err(inside(ConfigError::at(
                    "name",
                    format!("{:?} is the name of another limit", limit.name),
                )));
            }
            limits.push(limit);
        }
        Ok(Self {
            limits,
            headers: settings.headers,
        })
    }

    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// What this request takes, from every limit that is for it.
    pub fn charges(&self, request: &impl RequestView) -> Vec<Charge> {
        let for_it = self
            .limits
            .iter()
            .enumerate()
            .filter(|(_, limit)| limit.matches.matches(request));
        for_it
            .filter_map(|(index, limit)| {
                let key = limit.key.of(request)?;
                Some(Charge {
                    limit: index,
                    key,
                    cost: limit.cost,
                })
            })
            .collect()
    }

    pub fn tells_always(&self) -> bool {
        self.headers == Headers::Always
    }

    /// `RateLimit-Policy` and `RateLimit`. `standing` is in the order of `charges`.
    pub fn fields(&self, charges: &[Charge], standing: &[Verdict]) -> (String, String) {
        let mut policy = String::with_capacity(charges.len() * ITEM_BYTES);
        let mut now = String::with_capacity(charges.len() * ITEM_BYTES);
        self.push_policy(&mut policy, charges);
        self.push_standing(&mut now, charges, standing);
        (policy, now)
    }

    /// The answer to a caller who is over a limit.
    pub fn refusal(
        &self,
        tightest: &Verdict,
        charges: &[Charge],
        standing: &[Verdict],
    ) -> LocalResponse {
        let seconds = Period::from_millis(tightest.retry_after)
            .seconds_up()
            .max(1);
        let violated: Vec<&str> = charges
            .iter()
            .zip(standing)
            .filter(|(charge, standing)| !standing.allowed || standing.remaining < charge.cost)
            .map(|(charge, _)| self.limits[charge.limit].name.as_str())
            .collect();
        let response = Problem::new(429, "Too many requests")
            .kind(QUOTA_EXCEEDED)
            .detail(&format!(
                "The limit for this caller is used up. Try again in {seconds} s."
            ))
            .member("violated-policies", violated)
            .into_response()
            .with("retry-after", seconds.to_string());
        match self.headers {
            Headers::Never => response,
            Headers::Refused | Headers::Always => {
                let (policy, now) = self.fields(charges, standing);
                response
                    .with("ratelimit-policy", policy)
                    .with("ratelimit", now)
            }
        }
    }

    /// `"per-client";q=100;w=60`: the quota and its window in seconds.
    fn push_policy(&self, field: &mut String, charges: &[Charge]) {
        for (nth, charge) in charges.iter().enumerate() {
            if nth > 0 {
                field.push_str(", ");
            }
            field.push_str(&self.limits[charge.limit].policy_item);
        }
    }

    /// `"per-client";r=50;t=30`: what remains, and in how many seconds the quota is whole again.
    fn push_standing(&self, field: &mut String, charges: &[Charge], standing: &[Verdict]) {
        for (nth, (charge, verdict)) in charges.iter().zip(standing).enumerate() {
            if nth > 0 {
                field.push_str(", ");
            }
            field.push_str(&self.limits[charge.limit].standing_start);
            push_number(field, verdict.remaining);
            field.push_str(";t=");
            push_number(field, Period::from_millis(verdict.reset).seconds_up());
        }
    }
}

/// Plain digits, without the formatting machinery: this runs on every request.
fn push_number(text: &mut String, mut number: u64) {
    let mut digits = [0u8; MAX_DIGITS];
    let mut at = MAX_DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|&digit| char::from(digit)));
}

impl Limit {
    fn new(raw: RawLimit) -> Result<Self, ConfigError> {
        check_name(&raw.name)?;
        check_quota("limit", raw.limit)?;
        if raw.per.is_zero() || raw.per > MAX_PER {
            return Err(ConfigError::at(
                "per",
                "must be longer than \"0s\" and at most \"31d\"",
            ));
        }
        if raw.burst.is_some() && raw.algorithm != Algorithm::Gcra {
            return Err(ConfigError::at(
                "burst",
                "only the algorithm \"gcra\" has a burst; remove it",
            ));
        }
        let burst = raw.burst.unwrap_or(raw.limit);
        check_quota("burst", burst)?;
        if raw.cost == 0 || raw.cost > burst {
            let problem = format!(
                "{} can never be taken: from 1 to {burst} at once are possible here",
                raw.cost
            );
            return Err(ConfigError::at("cost", problem));
        }
        Ok(Self {
            key: Key::parse(&raw.key, raw.on_missing)?,
            matches: raw
                .r#match
                .checked()
                .map_err(|error| error.inside("match"))?,
            policy_item: format!(
                "\"{}\";q={};w={}",
                raw.name,
                raw.limit,
                raw.per.seconds_up()
            ),
            standing_start: format!("\"{}\";r=", raw.name),
            name: raw.name,
            limit: raw.limit,
            per: raw.per,
            burst,
            algorithm: raw.algorithm,
            cost: raw.cost,
        })
    }
}

/// It stands in a header as a quoted string: only characters that need no escape there.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(allowed) {
        let problem = format!(
            "{name:?} is no name; it has 1 to {MAX_NAME_BYTES} letters, digits, \"-\", \"_\" or \".\""
        );
        return Err(ConfigError::at("name", problem));
    }
    Ok(())
}

fn check_quota(key: &str, quota: u64) -> Result<(), ConfigError> {
    if quota == 0 || quota > MAX_QUOTA {
        return Err(ConfigError::at(
            key,
            format!("{quota} is out of range; from 1 to {MAX_QUOTA} are taken"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
