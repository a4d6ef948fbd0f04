//! What a rule does: its targets, how one of them is chosen, and where the request goes when that fails.

use guest_sdk::matching::check_token;
use guest_sdk::settings::{Node, Table, quoted};
use guest_sdk::{ConfigError, Period, RequestView, StatusSet};

use super::targets::{Standing, Targets, stable_hash};
use super::{Answer, Chosen};

/// A request that takes longer than this is a job.
const MAX_TIMEOUT: Period = Period::from_secs(24 * 3600);
const MIN_TIMEOUT: Period = Period::from_millis(1);

pub(super) const KEYS: &[&str] = &[
    "choose",
    "fallback",
    "fallback-on",
    "sticky",
    "timeout",
    "to",
    "when-full",
];
pub(super) const RULE_KEYS: &[&str] = &[
    "choose",
    "fallback",
    "fallback-on",
    "match",
    "model",
    "name",
    "sticky",
    "timeout",
    "to",
    "when-full",
];

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// By chance, or by the caller's hash, in these shares.
    Weight,
    /// The quickest of late.
    Latency,
    /// The first that is neither down nor full.
    Order,
}

/// What to do if `By::Order` finds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    First,
    Last,
    Defer,
}

/// What makes a caller the same one again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sticky {
    ClientIp,
    Tenant,
    Header(String),
    Cookie(String),
}

#[derive(Debug)]
pub(super) struct Action {
    pub(super) targets: Targets,
    by: By,
    when_full: WhenFull,
    sticky: Option<Sticky>,
    /// Part of the hash: two rules do not split callers along the same line.
    salt: String,
    timeout: Option<Period>,
    pub(super) fallback: Option<String>,
    /// Statuses for which the fallback is tried, besides failures to connect.
    pub(super) fallback_on: StatusSet,
}

impl Action {
    pub(super) fn read(table: &Table<'_>, salt: String) -> Result<Self, ConfigError> {
        let by = table.read("choose", |node| {
            node.choice(&[
                ("weight", By::Weight),
                ("latency", By::Latency),
                ("order", By::Order),
            ])
        })?;
        let by = by.unwrap_or(By::Weight);
        let when_full = table.read("when-full", |node| {
            node.choice(&[
                ("first", WhenFull::First),
                ("last", WhenFull::Last),
                ("defer", WhenFull::Defer),
            ])
        })?;
        if when_full.is_some() && by != By::Order {
            return Err(table.wrong("when-full", "goes with choose = \"order\" only"));
        }
        let fallback = table.read("fallback", Node::name)?;
        let fallback_on = table
            .read("fallback-on", Node::statuses)?
            .unwrap_or_default();
        if fallback.is_none() && !fallback_on.ranges().is_empty() {
            return Err(table.wrong("fallback-on", "needs a `fallback` to go to"));
        }
        if fallback_on.ranges().iter().any(|(first, _)| *first < 400) {
            return Err(table.wrong(
                "fallback-on",
                "must be 400 and above: the others are no failures",
            ));
        }
        Ok(Self {
            targets: Targets::read(&table.need("to")?, by == By::Order)?,
            by,
            when_full: when_full.unwrap_or(WhenFull::First),
            sticky: table.read("sticky", Sticky::read)?,
            salt,
            timeout: table.read("timeout", |node| {
                node.period_within(MIN_TIMEOUT, MAX_TIMEOUT)
            })?,
            fallback,
            fallback_on,
        })
    }

    pub(super) fn answer(
        &self,
        rule: usize,
        reason: &'static str,
        request: &impl RequestView,
        standing: impl Fn(&str) -> Option<Standing>,
        random: impl FnOnce() -> u64,
    ) -> Answer<'_> {
        let hash_key = self
            .sticky
            .as_ref()
            .and_then(|sticky| sticky.hash(&self.salt, request));
        let number = || hash_key.unwrap_or_else(random);
        let target = match self.by {
            By::Weight => self.targets.by_weight(number),
            By::Latency => self.targets.by_latency(standing, number),
            By::Order => match (self.targets.first_free(standing), self.when_full) {
                (Some(target), _) => target,
                (None, WhenFull::First) => self.targets.first(),
                (None, WhenFull::Last) => self.targets.last(),
                (None, WhenFull::Defer) => return Answer::Defer,
            },
        };
        let fallback = self.fallback.as_ref();
        Answer::Route(Chosen {
            upstream: &target.upstream,
            model: target.model.as_deref(),
            has_fallback: fallback.is_some_and(|fallback| *fallback != target.upstream),
            timeout: self.timeout,
            hash_key,
            reason,
            rule,
        })
    }
}

impl Sticky {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let text = node.text()?;
        match text {
            "client-ip" => return Ok(Self::ClientIp),
            "tenant" => return Ok(Self::Tenant),
            _ => {}
        }
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        if kind != "header" && kind != "cookie" {
            let known = " cannot be stuck to; write \"client-ip\", \"tenant\", \"header:NAME\" or \"cookie:NAME\"";
            return Err(node.wrong(quoted(text) + known));
        }
        check_token(name).map_err(|problem| node.wrong(problem))?;
        Ok(match kind {
            "header" => Self::Header(name.to_ascii_lowercase()),
            _ => Self::Cookie(name.to_owned()),
        })
    }

    /// None: the caller has nothing to be known by.
    fn hash(&self, salt: &str, request: &impl RequestView) -> Option<u64> {
        let hash = |value: &str| stable_hash(salt, value);
        match self {
            Self::ClientIp => Some(hash(request.client_ip())),
            Self::Tenant => request.identity().tenant.as_deref().map(hash),
            Self::Header(name) => request.header(name).as_deref().map(hash),
            Self::Cookie(name) => {
                let fields = request.header_all("cookie");
                fields
                    .iter()
                    .find_map(|field| cookie(field, name))
                    .map(hash)
            }
        }
    }
}

/// The value of the cookie `name` in one field.
fn cookie<'f>(field: &'f str, name: &str) -> Option<&'f str> {
    let mut pairs = field.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim_ascii() == name)?;
    Some(value.trim_ascii())
}
