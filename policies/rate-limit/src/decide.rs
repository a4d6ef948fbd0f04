//! The pure part: which limits a request is charged to, under which keys. What the caller is told is in `fields`, what its tokens
//! cost in `tokens`.
//!
//! Invariants: one request is charged to each limit at most once; two callers never share a key because of how their names are
//! written; a key has a bounded length whatever a client sends.

mod fields;
mod key;
pub mod tokens;

use std::cell::RefCell;

use guest_sdk::limits::KeySource;
use guest_sdk::matching::Match;
use guest_sdk::settings::{Node, Table, digits};
use guest_sdk::{ConfigError, Period, RequestView};

use fields::Headers;
pub use fields::{CROWDED, DEGRADED, REFUSED, REFUSED_DEGRADED, crowded};
use key::Key;

/// Each limit is one more key in the host's one atomic decision; nobody reads a list of more than a few.
pub const MAX_LIMITS: usize = 16;
/// Of tokens. What they were charged is noted in an exchange attribute, which holds 4096 bytes.
const MAX_TOKEN_LIMITS: usize = 4;
/// What the host takes for one exchange.
pub const MAX_GATES: usize = 8;
/// Enough for any real rate, and far from where sums of counters overflow.
pub const MAX_QUOTA: u64 = 1_000_000_000;
/// What the host takes: a month.
const MAX_PER: Period = Period::from_secs(31 * 86_400);
const MIN_PER: Period = Period::from_millis(1);
const MAX_NAME_BYTES: usize = 64;

const KEYS: &[&str] = &["headers", "in-flight", "limits"];
const LIMIT_KEYS: &[&str] = &[
    "algorithm",
    "burst",
    "cost",
    "ipv4-prefix",
    "ipv6-prefix",
    "key",
    "limit",
    "match",
    "name",
    "on-missing",
    "per",
    "reserve",
    "unit",
];
const GATE_KEYS: &[&str] = &[
    "ipv4-prefix",
    "ipv6-prefix",
    "key",
    "limit",
    "match",
    "name",
    "on-missing",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Gcra,
    SlidingWindow,
    FixedWindow,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Requests,
    /// Of an LLM's prompt and completion.
    Tokens,
}

/// Whom a limit or a gate is for.
#[derive(Debug)]
struct Callers {
    key: Key,
    matches: Match,
}

/// One limit, checked.
#[derive(Debug)]
pub struct Limit {
    pub name: String,
    pub limit: u64,
    pub per: Period,
    pub burst: u64,
    pub algorithm: Algorithm,
    unit: Unit,
    callers: Callers,
    /// Of a request; with tokens, what is set aside for the answer.
    cost: u64,
    /// Its item of `RateLimit-Policy`, and the beginning of its item of `RateLimit`: the same on every response, so written once.
    policy_item: String,
    standing_start: String,
}

/// How many may be on their way at once.
#[derive(Debug)]
pub struct InFlight {
    pub name: String,
    pub limit: u32,
    callers: Callers,
}

/// What one request takes from one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    gates: Vec<InFlight>,
    headers: Headers,
    any_tokens: bool,
    attr: String,
    /// `RateLimit-Policy` of a request that is under every limit, as most are.
    policy_of_all: String,
    /// Where fields are written before their length is known.
    scratch: RefCell<String>,
}

impl Plan {
    pub fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(KEYS)?;
        let limits = named(&table, "limits", MAX_LIMITS, Limit::read, |limit| {
            &limit.name
        })?;
        let gates = named(&table, "in-flight", MAX_GATES, InFlight::read, |gate| {
            &gate.name
        })?;
        let of_tokens = limits.iter().filter(|limit| limit.unit == Unit::Tokens);
        if of_tokens.count() > MAX_TOKEN_LIMITS {
            return Err(table.wrong("limits", "has more than 4 limits of tokens"));
        }
        let first = limits.first().map(|limit| &limit.name);
        let Some(first) = first.or(gates.first().map(|gate| &gate.name)) else {
            return Err(table.wrong("limits", "is missing: there is nothing to limit"));
        };
        Ok(Self {
            // two policies of this kind on one route keep their notes apart
            attr: ["rate-limit.", first].concat(),
            any_tokens: limits.iter().any(|limit| limit.unit == Unit::Tokens),
            headers: table
                .read("headers", Headers::read)?
                .unwrap_or(Headers::Refused),
            policy_of_all: limits
                .iter()
                .map(|limit| limit.policy_item.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            scratch: RefCell::default(),
            limits,
            gates,
        })
    }

    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// What the host can take by itself: the key and the cost of each limit, in their order. None: the policy has more to do than that.
    pub fn standing(&self) -> Option<Vec<(KeySource, u64)>> {
        let simple = self.gates.is_empty() && !self.any_tokens && !self.tells_always();
        let share = |limit: &Limit| {
            let key = limit.callers.key.standing()?;
            limit
                .callers
                .matches
                .is_empty()
                .then_some((key, limit.cost))
        };
        match simple && !self.limits.is_empty() {
            true => self.limits.iter().map(share).collect(),
            false => None,
        }
    }

    /// Which requests the limits and gates are for.
    pub fn matches(&self) -> impl Iterator<Item = &Match> {
        let limits = self.limits.iter().map(|limit| &limit.callers.matches);
        limits.chain(self.gates.iter().map(|gate| &gate.callers.matches))
    }

    pub fn gates(&self) -> &[InFlight] {
        &self.gates
    }

    /// What this request takes, from every limit of this unit that is for it.
    pub fn charges(&self, request: &impl RequestView, unit: Unit) -> Vec<Charge> {
        let mut charges = Vec::with_capacity(self.limits.len());
        for (index, limit) in self.limits.iter().enumerate() {
            if limit.unit == unit
                && let Some(key) = limit.callers.key(request)
            {
                charges.push(Charge {
                    limit: index,
                    key,
                    cost: limit.cost,
                });
            }
        }
        charges
    }

    /// Whether a limit of tokens is for this request, so that its body must be looked at.
    pub fn counts_tokens(&self, request: &impl RequestView) -> bool {
        self.any_tokens
            && self
                .limits
                .iter()
                .any(|limit| limit.unit == Unit::Tokens && limit.callers.matches.matches(request))
    }

    /// What a request with so many tokens in its prompt is charged before it is answered: never more than can be taken at once,
    /// or it could never pass.
    pub fn estimate(&self, limit: usize, prompt: u64) -> u64 {
        let limit = &self.limits[limit];
        prompt.saturating_add(limit.cost).clamp(1, limit.burst)
    }

    pub fn tells_always(&self) -> bool {
        self.headers == Headers::Always
    }

    /// The exchange attribute that carries what was charged to the exchange's end.
    pub fn attr(&self) -> &str {
        &self.attr
    }
}

impl Callers {
    fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            key: Key::read(table)?,
            matches: table.read("match", Match::read)?.unwrap_or_default(),
        })
    }

    /// None: it is not for this request.
    fn key(&self, request: &impl RequestView) -> Option<String> {
        self.matches
            .matches(request)
            .then(|| self.key.of(request))?
    }
}

impl InFlight {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(GATE_KEYS)?;
        Ok(Self {
            name: name(&table)?,
            limit: table.need("limit")?.whole(1, u64::from(u32::MAX))? as u32,
            callers: Callers::read(&table)?,
        })
    }

    /// None: the gate is not for this request.
    pub fn key(&self, request: &impl RequestView) -> Option<String> {
        self.callers.key(request)
    }
}

impl Limit {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(LIMIT_KEYS)?;
        let name = name(&table)?;
        let quota = |node: &Node<'_>| node.whole(1, MAX_QUOTA);
        let limit = quota(&table.need("limit")?)?;
        let per = table.need("per")?.period_within(MIN_PER, MAX_PER)?;
        let algorithm = table
            .read("algorithm", algorithm)?
            .unwrap_or(Algorithm::Gcra);
        let unit = table.read("unit", unit)?.unwrap_or(Unit::Requests);
        let burst = match table.read("burst", quota)? {
            Some(_) if algorithm != Algorithm::Gcra => {
                let problem = "only the algorithm \"gcra\" has a burst; remove it";
                return Err(table.wrong("burst", problem));
            }
            burst => burst.unwrap_or(limit),
        };
        let (taken, other, least) = match unit {
            Unit::Requests => ("cost", "reserve", 1),
            Unit::Tokens => ("reserve", "cost", 0),
        };
        if table.at(other).is_some() {
            let problem = ["goes with the other unit; here it is `", taken, "`"].concat();
            return Err(table.wrong(other, problem));
        }
        let cost = table
            .read(taken, |node| node.whole(least, burst))?
            .unwrap_or(least);
        let window = digits(per.seconds_up());
        let counted = if unit == Unit::Tokens {
            ";qu=\"tokens\""
        } else {
            ""
        };
        let quota = digits(limit);
        Ok(Self {
            policy_item: ["\"", &name, "\";q=", &quota, counted, ";w=", &window].concat(),
            standing_start: ["\"", &name, "\";r="].concat(),
            callers: Callers::read(&table)?,
            name,
            limit,
            per,
            burst,
            algorithm,
            unit,
            cost,
        })
    }
}

fn algorithm(node: &Node<'_>) -> Result<Algorithm, ConfigError> {
    node.choice(&[
        ("gcra", Algorithm::Gcra),
        ("sliding-window", Algorithm::SlidingWindow),
        ("fixed-window", Algorithm::FixedWindow),
    ])
}

fn unit(node: &Node<'_>) -> Result<Unit, ConfigError> {
    node.choice(&[("requests", Unit::Requests), ("tokens", Unit::Tokens)])
}

/// A list whose items have names of their own. Not given: empty.
fn named<T>(
    table: &Table<'_>,
    key: &'static str,
    max: usize,
    read: impl Fn(&Node<'_>) -> Result<T, ConfigError>,
    name: impl Fn(&T) -> &String,
) -> Result<Vec<T>, ConfigError> {
    let mut items: Vec<T> = Vec::new();
    let Some(list) = table.at(key) else {
        return Ok(items);
    };
    for node in list.list_of(1, max)? {
        let item = read(&node)?;
        if items.iter().any(|other| name(other) == name(&item)) {
            let problem = ConfigError::at("name", "is the name of another one, too");
            return Err(node.inside(problem));
        }
        items.push(item);
    }
    Ok(items)
}

/// It stands in a header as a quoted string: only characters that need no escape there.
fn name(table: &Table<'_>) -> Result<String, ConfigError> {
    let name = table.need("name")?.text()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        let problem = "must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"";
        return Err(table.wrong("name", problem));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
