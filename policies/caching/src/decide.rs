//! The pure part: the rule for a request, what of it is part of the key, when the cache is left out, and which responses are stored.
//!
//! Invariants: two requests that a rule tells apart never share a key, however their values are written; what cannot be told apart
//! (a value too long or not UTF-8) is not cached at all.

mod key;
pub mod prompt;

use guest_sdk::cache::Lifetimes;
use guest_sdk::matching::Match;
use guest_sdk::settings::{Node, Table};
use guest_sdk::{ConfigError, Period, RequestView, StatusSet};

use key::{Bypass, KeyPart};
use prompt::Prompt;

/// Rules are searched in order for every request.
pub const MAX_RULES: usize = 128;
/// What the host takes: tags from all policies of a route together, and statuses.
const MAX_TAGS: usize = 16;
const MAX_TAG_BYTES: usize = 128;
const MAX_RANGES: usize = 16;
const MAX_TYPES: usize = 32;
/// A year (RFC 9111 calls longer lifetimes useless).
const MAX_LIFETIME: Period = Period::from_secs(365 * 86_400);
const NO_TIME: Period = Period::from_millis(0);

/// Exchange attribute: the number of the rule that the request fell under.
pub const RULE: &str = "caching.rule";

const KEYS: &[&str] = &[
    "body",
    "bypass",
    "content-type",
    "key",
    "match",
    "no-store",
    "prompt",
    "stale-if-error",
    "stale-while-revalidate",
    "status",
    "tags",
    "ttl",
];

/// What of the request's body is part of the key.
#[derive(Debug, Clone)]
pub enum BodyKey {
    /// A request with a body is not cached.
    None,
    /// All of it, as it is: a ciphertext, say.
    Whole,
    /// A normal form of it.
    Text(Prompt),
}

/// What one rule says, checked.
#[derive(Debug)]
pub struct Rule {
    matches: Match,
    /// None: nothing is stored.
    pub lifetimes: Option<Lifetimes>,
    key: Vec<KeyPart>,
    pub body: BodyKey,
    bypass: Bypass,
    /// Which are stored.
    pub status: StatusSet,
    /// Which are stored; empty: all.
    pub content_type: Vec<String>,
    pub tags: Vec<String>,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Plan {
    rules: Vec<Rule>,
}

/// What to tell the cache before it is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestStep {
    /// Neither look up nor store; with the reason.
    Bypass(&'static str),
    Cache {
        key: Vec<String>,
    },
}

impl Plan {
    pub fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(&["rules"])?;
        let list = table.need("rules")?.list_of(1, MAX_RULES)?;
        let rules = list.iter().map(|node| Rule::read(&node.table(KEYS)?));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which requests the rules are for.
    pub fn matches(&self) -> impl Iterator<Item = &Match> {
        self.rules.iter().map(|rule| &rule.matches)
    }

    /// None: no rule is for it; the origin's own headers say what is cached.
    pub fn on_request(&self, request: &impl RequestView) -> Option<(usize, RequestStep)> {
        let index = self
            .rules
            .iter()
            .position(|rule| rule.matches.matches(request))?;
        Some((index, self.rules[index].on_request(request)))
    }
}

impl Rule {
    fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let status = table.read("status", statuses)?;
        Ok(Self {
            lifetimes: lifetimes(table)?,
            key: table.read("key", key::read)?.unwrap_or_default(),
            body: BodyKey::read(table)?,
            bypass: table.read("bypass", Bypass::read)?.unwrap_or_default(),
            matches: table.read("match", Match::read)?.unwrap_or_default(),
            status: status.unwrap_or_else(|| StatusSet::of(200)),
            content_type: table
                .read("content-type", content_types)?
                .unwrap_or_default(),
            tags: table.read("tags", tags)?.unwrap_or_default(),
        })
    }

    fn on_request(&self, request: &impl RequestView) -> RequestStep {
        if self.lifetimes.is_none() {
            return RequestStep::Bypass("caching/no-store");
        }
        if let Some(reason) = self.bypass.reason(request) {
            return RequestStep::Bypass(reason);
        }
        match self.key.iter().map(|part| part.of(request)).collect() {
            Some(key) => RequestStep::Cache { key },
            None => RequestStep::Bypass("caching/key-unclear"),
        }
    }

    /// Whether a response of this content type is stored.
    pub fn takes_type(&self, content_type: Option<&str>) -> bool {
        if self.content_type.is_empty() {
            return true;
        }
        let Some(actual) = content_type else {
            return false;
        };
        let actual = actual.split(';').next().unwrap_or_default();
        let actual = actual.trim_ascii().to_ascii_lowercase();
        self.content_type
            .iter()
            .any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => actual.starts_with(start),
                None => actual == *wanted,
            })
    }
}

impl BodyKey {
    fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let body = table.read("body", |node| {
            node.choice(&[("none", 0), ("whole", 1), ("json", 2), ("prompt", 3)])
        })?;
        let settings = table.read("prompt", Prompt::read)?;
        match (body, settings) {
            (Some(3), settings) => Ok(Self::Text(settings.unwrap_or_default())),
            (_, Some(_)) => Err(table.wrong("prompt", "goes with body = \"prompt\" only")),
            (Some(1), None) => Ok(Self::Whole),
            (Some(2), None) => Ok(Self::Text(Prompt::any_json())),
            (_, None) => Ok(Self::None),
        }
    }
}

fn statuses(node: &Node<'_>) -> Result<StatusSet, ConfigError> {
    let statuses = node.statuses()?;
    match statuses.ranges().len() {
        1..=MAX_RANGES => Ok(statuses),
        _ => Err(node.wrong("must be 1 to 16 statuses or ranges of them")),
    }
}

fn content_types(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let mut types = node.texts()?;
    if types.len() > MAX_TYPES {
        return Err(node.wrong("has more than 32 types"));
    }
    for content_type in &mut types {
        if content_type.is_empty() || content_type.contains([';', ',', ' ']) {
            return Err(node.wrong("must be media types; write \"text/html\" or \"image/*\""));
        }
        content_type.make_ascii_lowercase();
    }
    Ok(types)
}

fn tags(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let tags = node.texts()?;
    let fits = |tag: &String| (1..=MAX_TAG_BYTES).contains(&tag.len());
    if tags.len() > MAX_TAGS || !tags.iter().all(fits) {
        return Err(node.wrong("must be at most 16 tags of 1 to 128 bytes"));
    }
    Ok(tags)
}

fn lifetimes(table: &Table<'_>) -> Result<Option<Lifetimes>, ConfigError> {
    let no_store = table.read("no-store", Node::flag)?.unwrap_or(false);
    let ttl = table.read("ttl", |node| {
        node.period_within(Period::from_millis(1), MAX_LIFETIME)
    })?;
    let stale = |key| table.read(key, |node| node.period_within(NO_TIME, MAX_LIFETIME));
    let stale_while_revalidate = stale("stale-while-revalidate")?.unwrap_or(NO_TIME);
    let stale_if_error = stale("stale-if-error")?.unwrap_or(NO_TIME);
    match (no_store, ttl) {
        (true, Some(_)) => {
            let problem = "nothing is stored here (no-store = true); remove one of the two";
            Err(table.wrong("ttl", problem))
        }
        (true, None) => Ok(None),
        (false, None) => {
            let problem = "is missing: for how long? Write \"10m\", say, or no-store = true";
            Err(table.wrong("ttl", problem))
        }
        (false, Some(ttl)) => Ok(Some(Lifetimes {
            ttl,
            stale_while_revalidate,
            stale_if_error,
        })),
    }
}

#[cfg(test)]
mod tests;
