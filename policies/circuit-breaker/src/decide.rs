//! The pure part: which breaker an attempt falls under, what counts as a failure, and what a refused caller is told.

use std::borrow::Cow;

use guest_sdk::matching::check_token;
use guest_sdk::settings::{Node, Table, digits, quoted};
use guest_sdk::{ConfigError, LocalResponse, Period, Problem, RequestView, StatusSet};

/// A rule per kind of upstream; more than this is a mistake, and the first that fits is searched for at every attempt.
pub const MAX_RULES: usize = 64;
/// What the host takes.
const MAX_SPAN: Period = Period::from_secs(3600);
const MIN_WINDOW: Period = Period::from_millis(10);
const MIN_SPAN: Period = Period::from_millis(1);
const MAX_PROBES: u64 = 1000;
const MAX_NAME_BYTES: usize = 64;
/// What the host takes of statuses and of names of errors.
const MAX_RANGES: usize = 16;
const MAX_ERRORS: usize = 32;
/// What the host takes of a response that a policy made up.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// `code` in the body of a refusal.
pub const OPEN: &str = "circuit-breaker/open";

const KEYS: &[&str] = &[
    "failure-rate",
    "failure-status",
    "fallback",
    "ignore-errors",
    "min-calls",
    "name",
    "open-for",
    "per-route",
    "probes",
    "route",
    "slow-call",
    "slow-rate",
    "upstream",
    "when-open",
    "window",
];
const FALLBACK_KEYS: &[&str] = &["body", "header", "status"];

/// What a caller gets while the breaker is open.
#[derive(Debug)]
pub enum WhenOpen {
    /// 503 with Retry-After.
    Refuse,
    /// A stored response that may still be used stale, else 503: the host decides.
    Stale,
    Answer(Fallback),
}

/// A fixed answer in place of the upstream's.
#[derive(Debug)]
pub struct Fallback {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// What the host takes of a breaker that it is to ask by itself: names of upstreams, or of routes.
const MAX_GUARDED_NAMES: usize = 64;
const MAX_GUARDED_NAME_BYTES: usize = 128;

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
    pub upstreams: Vec<String>,
    pub routes: Vec<String>,
    pub per_route: bool,
    /// Empty: 500 and above.
    pub failure_status: StatusSet,
    pub ignore_errors: Vec<String>,
    pub when_open: WhenOpen,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Plan {
    rules: Vec<Rule>,
}

impl Plan {
    pub fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(&["breakers"])?;
        let mut rules: Vec<Rule> = Vec::new();
        let Some(list) = table.at("breakers") else {
            // One rule for every upstream.
            rules.push(settings_of_none()?);
            return Ok(Self { rules });
        };
        for (index, node) in list.list_of(1, MAX_RULES)?.iter().enumerate() {
            let rule = Rule::read(&node.table(KEYS)?, index)?;
            if rules.iter().any(|other| other.name == rule.name) {
                let problem = quoted(&rule.name) + " is the name of another rule";
                return Err(node.inside(ConfigError::at("name", problem)));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that fits, and the key that this attempt is counted under.
    pub fn breaker_of<'u>(
        &self,
        upstream: &'u str,
        request: &impl RequestView,
    ) -> Option<(usize, Cow<'u, str>)> {
        let fits = |rule: &Rule| {
            named(&rule.upstreams, upstream)
                && (rule.routes.is_empty() || named(&rule.routes, &request.info().route))
        };
        let index = self.rules.iter().position(fits)?;
        let key = match self.rules[index].per_route {
            // the route second: names of upstreams hold no space
            true => Cow::Owned([upstream, " ", &request.info().route].concat()),
            false => Cow::Borrowed(upstream),
        };
        Some((index, key))
    }
}

fn settings_of_none() -> Result<Rule, ConfigError> {
    guest_sdk::settings::read("{}", |node| Rule::read(&node.table(KEYS)?, 0))
}

fn named(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one == "*" || one == name)
}

impl Rule {
    fn read(table: &Table<'_>, index: usize) -> Result<Self, ConfigError> {
        let upstreams = table
            .read("upstream", Node::texts)?
            .unwrap_or_else(|| vec!["*".to_owned()]);
        if upstreams.is_empty() || upstreams.iter().any(String::is_empty) {
            let problem = "name the upstreams this rule is for, or \"*\" for all";
            return Err(table.wrong("upstream", problem));
        }
        let routes = table.read("route", Node::texts)?.unwrap_or_default();
        let span = |node: &Node<'_>| node.period_within(MIN_SPAN, MAX_SPAN);
        let slow_call = table.read("slow-call", span)?;
        let slow_rate = table.read("slow-rate", Node::share)?.unwrap_or(0.0);
        let failure_rate = table.read("failure-rate", Node::share)?.unwrap_or(0.5);
        check_rates(table, failure_rate, slow_rate, slow_call)?;
        let window = table.read("window", |node| node.period_within(MIN_WINDOW, MAX_SPAN))?;
        let min_calls = table.read("min-calls", |node| node.whole(1, u64::from(u32::MAX)))?;
        let probes = table.read("probes", |node| node.whole(1, MAX_PROBES))?;
        Ok(Self {
            name: name(table, index, &upstreams, &routes)?,
            window: window.unwrap_or(Period::from_secs(10)),
            min_calls: min_calls.map_or(20, |calls| calls as u32),
            failure_rate,
            slow_call: slow_call.unwrap_or_default(),
            slow_rate,
            open_for: table
                .read("open-for", span)?
                .unwrap_or(Period::from_secs(5)),
            probes: probes.map_or(3, |probes| probes as u32),
            upstreams,
            routes,
            per_route: table.read("per-route", Node::flag)?.unwrap_or(false),
            failure_status: table
                .read("failure-status", failure_status)?
                .unwrap_or_default(),
            ignore_errors: table
                .read("ignore-errors", ignore_errors)?
                .unwrap_or_default(),
            when_open: WhenOpen::read(table)?,
        })
    }

    /// Whether the host takes the rule's names.
    pub fn can_guard(&self) -> bool {
        [&self.upstreams, &self.routes].into_iter().all(|names| {
            names.len() <= MAX_GUARDED_NAMES
                && names
                    .iter()
                    .all(|name| name.len() <= MAX_GUARDED_NAME_BYTES)
        })
    }

    /// Whether the host is to be told what a failure is: by itself it takes no response and 500 and above for one.
    pub fn counts_its_own_way(&self) -> bool {
        !self.ignore_errors.is_empty() || self.failure_status != StatusSet::default()
    }
}

fn name(
    table: &Table<'_>,
    index: usize,
    upstreams: &[String],
    routes: &[String],
) -> Result<String, ConfigError> {
    let Some(name) = table.read("name", Node::name)? else {
        return Ok(match (upstreams, routes) {
            ([one], []) if one != "*" => one.clone(),
            _ => "rule-".to_owned() + &digits(index as u64),
        });
    };
    if name.len() > MAX_NAME_BYTES {
        return Err(table.wrong("name", "must be 1 to 64 bytes"));
    }
    Ok(name)
}

fn failure_status(node: &Node<'_>) -> Result<StatusSet, ConfigError> {
    let statuses = node.statuses()?;
    if statuses.ranges().len() > MAX_RANGES {
        return Err(node.wrong("has more than 16 statuses or ranges of them"));
    }
    Ok(statuses)
}

fn ignore_errors(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let errors = node.texts()?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit();
    let is_name =
        |error: &String| (1..=MAX_NAME_BYTES).contains(&error.len()) && error.bytes().all(letter);
    if let Some(error) = errors.iter().find(|error| !is_name(error)) {
        let problem =
            " is no name of an error; they are those of RFC 9209, such as \"connection_timeout\"";
        return Err(node.wrong(quoted(error) + problem));
    }
    if errors.len() > MAX_ERRORS {
        return Err(node.wrong("has more than 32 names"));
    }
    Ok(errors)
}

fn check_rates(
    table: &Table<'_>,
    failure_rate: f32,
    slow_rate: f32,
    slow_call: Option<Period>,
) -> Result<(), ConfigError> {
    if failure_rate == 0.0 && slow_rate == 0.0 {
        let problem = "with a slow-rate of 0 too, this breaker could never open";
        return Err(table.wrong("failure-rate", problem));
    }
    match (slow_call, slow_rate > 0.0) {
        (None, true) => {
            let problem = "a slow-rate needs it: from which time on is a call slow?";
            Err(table.wrong("slow-call", problem))
        }
        (Some(_), false) => {
            let problem = "a slow-call needs it: how large a share of slow calls is too much?";
            Err(table.wrong("slow-rate", problem))
        }
        (Some(_), true) | (None, false) => Ok(()),
    }
}

impl WhenOpen {
    fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let stale = table.read("when-open", |node| {
            node.choice(&[("refuse", false), ("stale", true)])
        })?;
        match (table.read("fallback", Fallback::read)?, stale) {
            (Some(_), Some(true)) => Err(table.wrong(
                "fallback",
                "does not go with when-open = \"stale\"; remove one of the two",
            )),
            (Some(fallback), _) => Ok(Self::Answer(fallback)),
            (None, Some(true)) => Ok(Self::Stale),
            (None, _) => Ok(Self::Refuse),
        }
    }
}

impl Fallback {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(FALLBACK_KEYS)?;
        let body = table
            .read("body", |node| node.text().map(str::to_owned))?
            .unwrap_or_default();
        if body.len() > MAX_BODY_BYTES {
            return Err(table.wrong("body", "has more than 65536 bytes"));
        }
        let mut headers = Vec::new();
        for (name, value) in table.read("header", Node::members)?.unwrap_or_default() {
            check_token(name).map_err(|problem| value.wrong(problem))?;
            headers.push((name.to_ascii_lowercase(), value.name()?));
        }
        Ok(Self {
            status: table
                .read("status", |node| node.whole(200, 599))?
                .map_or(503, |status| status as u16),
            headers,
            body,
        })
    }

    pub fn response(&self, wait_ms: u64) -> LocalResponse {
        let mut response = LocalResponse::new(self.status).body(self.body.as_bytes());
        response.headers.clone_from(&self.headers);
        if self.status < 500 || response.header("retry-after").is_some() {
            return response;
        }
        response.with("retry-after", digits(seconds(wait_ms)))
    }
}

fn seconds(wait_ms: u64) -> u64 {
    Period::from_millis(wait_ms).seconds_up().max(1)
}

/// The answer while a breaker is open.
pub fn refusal(wait_ms: u64) -> LocalResponse {
    let seconds = digits(seconds(wait_ms));
    let detail = [
        "The service behind this address fails and is left alone for now. Try again in ",
        &seconds,
        " s.",
    ];
    Problem::new(503, "Service unavailable")
        .detail(&detail.concat())
        .member("code", OPEN)
        .into_response()
        .with("retry-after", seconds)
}

#[cfg(test)]
mod tests;
