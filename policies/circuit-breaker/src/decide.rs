//! The pure part: which breaker an attempt falls under, what counts as a failure, and what a refused caller is told.

use guest_sdk::{ConfigError, LocalResponse, Period, Problem, RequestView, StatusSet};
use serde::Deserialize;

/// A rule per kind of upstream; more than this is a mistake, and the first that fits is searched for at every attempt.
pub const MAX_RULES: usize = 64;
/// What the host takes.
const MAX_SPAN: Period = Period::from_secs(3600);
const MIN_WINDOW: Period = Period::from_millis(10);
const MAX_PROBES: u32 = 1000;
const MAX_NAME_BYTES: usize = 64;

/// `code` in the body of a refusal.
pub const OPEN: &str = "circuit-breaker/open";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    breakers: Vec<RawRule>,
}

impl Default for Settings {
    /// One rule for every upstream.
    fn default() -> Self {
        Self {
            breakers: vec![RawRule::default()],
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawRule {
    name: Option<String>,
    #[serde(deserialize_with = "guest_sdk::matching::one_or_many")]
    upstream: Vec<String>,
    #[serde(deserialize_with = "guest_sdk::matching::one_or_many")]
    route: Vec<String>,
    per_route: bool,
    window: Period,
    min_calls: u32,
    failure_rate: f32,
    slow_call: Option<Period>,
    slow_rate: f32,
    open_for: Period,
    probes: u32,
    failure_status: Option<StatusSet>,
    ignore_errors: Vec<String>,
}

impl Default for RawRule {
    fn default() -> Self {
        Self {
            name: None,
            upstream: vec!["*".to_owned()],
            route: Vec::new(),
            per_route: false,
            window: Period::from_secs(10),
            min_calls: 20,
            failure_rate: 0.5,
            slow_call: None,
            slow_rate: 0.0,
            open_for: Period::from_secs(5),
            probes: 3,
            failure_status: None,
            ignore_errors: Vec::new(),
        }
    }
}

/// One rule, checked.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub window: Period,
    pub min_calls: u32,
    /// Zero: not looked at.
    pub failure_rate: f32,
    pub slow_call: Period,
    /// Zero: not looked at.
    pub slow_rate: f32,
    pub open_for: Period,
    pub probes: u32,
    upstreams: Vec<String>,
    routes: Vec<String>,
    per_route: bool,
    /// Empty: 500 and above.
    pub failure_status: StatusSet,
    pub ignore_errors: Vec<String>,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Plan {
    rules: Vec<Rule>,
}

impl Plan {
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let count = settings.breakers.len();
        if count == 0 || count > MAX_RULES {
            let problem = format!("{count} rules; from 1 to {MAX_RULES} are taken");
            return Err(ConfigError::at("breakers", problem));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(count);
        for (index, raw) in settings.breakers.into_iter().enumerate() {
            let inside = |error: ConfigError| error.inside(&format!("breakers[{index}]"));
            let rule = Rule::new(raw, index).map_err(inside)?;
            if rules.iter().any(|other| other.name == rule.name) {
                let problem = format!("{:?} is the name of another rule", rule.name);
                return Err(inside(ConfigError::at("name", problem)));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that fits, and the key that this attempt is counted under.
    pub fn breaker_of(
        &self,
        upstream: &str,
        request: &impl RequestView,
    ) -> Option<(usize, String)> {
        let fits = |rule: &Rule| {
            named(&rule.upstreams, upstream)
                && (rule.routes.is_empty() || named(&rule.routes, &request.info().route))
        };
        let index = self.rules.iter().position(fits)?;
        let key = match self.rules[index].per_route {
            // the route second: names of upstreams hold no space
            true => format!("{upstream} {}", request.info().route),
            false => upstream.to_owned(),
        };
        Some((index, key))
    }
}

fn named(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one == "*" || one == name)
}

impl Rule {
    fn new(raw: RawRule, index: usize) -> Result<Self, ConfigError> {
        check_numbers(&raw)?;
        if raw.upstream.is_empty() || raw.upstream.iter().any(String::is_empty) {
            let problem = "name the upstreams this rule is for, or \"*\" for all";
            return Err(ConfigError::at("upstream", problem));
        }
        let name = raw
            .name
            .unwrap_or_else(|| match (&raw.upstream[..], &raw.route[..]) {
                ([one], []) if one != "*" => one.clone(),
                _ => format!("rule-{index}"),
            });
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let problem = format!("{name:?} is no name; it has 1 to {MAX_NAME_BYTES} bytes");
            return Err(ConfigError::at("name", problem));
        }
        if let Some(error) = raw.ignore_errors.iter().find(|error| !is_error_name(error)) {
            let problem = format!(
                "{error:?} is no name of an error; they are those of RFC 9209, such as \"connection_timeout\""
            );
            return Err(ConfigError::at("ignore-errors", problem));
        }
        Ok(Self {
            name,
            window: raw.window,
            min_calls: raw.min_calls,
            failure_rate: raw.failure_rate,
            slow_call: raw.slow_call.unwrap_or_default(),
            slow_rate: raw.slow_rate,
            open_for: raw.open_for,
            probes: raw.probes,
            upstreams: raw.upstream,
            routes: raw.route,
            per_route: raw.per_route,
            failure_status: raw.failure_status.unwrap_or_default(),
            ignore_errors: raw.ignore_errors,
        })
    }

    /// Whether the host is to be told what a failure is: by itself it takes no response and 500 and above for one.
    pub fn counts_its_own_way(&self) -> bool {
        !self.ignore_errors.is_empty() || self.failure_status != StatusSet::default()
    }
}

fn check_numbers(raw: &RawRule) -> Result<(), ConfigError> {
    let wrong = |key: &str, problem: &str| Err(ConfigError::at(key, problem));
    if raw.window < MIN_WINDOW || raw.window > MAX_SPAN {
        return wrong("window", "must be from \"10ms\" to \"1h\"");
    }
    if raw.open_for.is_zero() || raw.open_for > MAX_SPAN {
        return wrong("open-for", "must be longer than \"0s\" and at most \"1h\"");
    }
    if raw.min_calls == 0 {
        return wrong("min-calls", "must be at least 1");
    }
    if raw.probes == 0 || raw.probes > MAX_PROBES {
        return wrong("probes", "must be from 1 to 1000");
    }
    for (key, rate) in [
        ("failure-rate", raw.failure_rate),
        ("slow-rate", raw.slow_rate),
    ] {
        if !(0.0..=1.0).contains(&rate) {
            return wrong(key, "must be from 0 (not looked at) to 1 (all of them)");
        }
    }
    if raw.failure_rate == 0.0 && raw.slow_rate == 0.0 {
        return wrong(
            "failure-rate",
            "with a slow-rate of 0 too, this breaker could never open",
        );
    }
    match (raw.slow_call, raw.slow_rate > 0.0) {
        (None, true) => wrong(
            "slow-call",
            "a slow-rate needs it: from which time on is a call slow?",
        ),
        (Some(_), false) => wrong(
            "slow-rate",
            "a slow-call needs it: how large a share of slow calls is too much?",
        ),
        (Some(period), true) if period.is_zero() => {
            wrong("slow-call", "must be longer than \"0s\"")
        }
        _ => Ok(()),
    }
}

fn is_error_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
}

/// The answer while a breaker is open.
pub fn refusal(wait_ms: u64) -> LocalResponse {
    let seconds = Period::from_millis(wait_ms).seconds_up().max(1);
    Problem::new(503, "Service unavailable")
        .detail(&format!("The service behind this address fails and is left alone for now. Try again in {seconds} s."))
        .member("code", OPEN)
        .into_response()
        .with("retry-after", seconds.to_string())
}

#[cfg(test)]
mod tests;
