//! The pure part: rules in order, the first that matches decides; one of its targets gets the request.
//!
//! Invariants: a sticky caller gets the same target as long as the weights stay, and raising the weight of the first target only
//! moves callers towards it; a request is tried elsewhere at most once, and only if it may be done twice.

mod action;
mod targets;

use guest_sdk::attempt::{IDEMPOTENT, NEVER_CONNECTED, Outcome};
use guest_sdk::matching::Match;
use guest_sdk::settings::{Node, digits};
use guest_sdk::{ConfigError, Period, RequestView};

use action::Action;
pub use targets::Standing;

/// Rules are searched in order for every request; a longer list belongs into the gateway's own routes.
pub const MAX_RULES: usize = 128;
/// Of one rule.
const MAX_MODELS: usize = 32;

/// Exchange attribute: which rule's fallback is to be tried if the chosen upstream fails; with a mark once it was sent there.
pub const FALLBACK: &str = "routing.fallback";
/// In front of the rule's number.
const SENT_THERE: char = '!';

/// `reason` of a request that no target could take.
pub const DEFERRED: &str = "routing/deferred";

const KEYS: &[&str] = &["default", "rules"];

/// For which requests a rule is.
#[derive(Debug)]
struct Rule {
    matches: Match,
    /// Of the model that the body names; empty: any request.
    models: Vec<String>,
    action: Action,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Plan {
    rules: Vec<Rule>,
    default: Option<Action>,
}

/// What is known of a request when it is to be routed.
#[derive(Debug, Clone, Copy)]
pub enum Known<'m> {
    /// Its head only.
    Head,
    /// Its body too, which may name a model.
    Model(Option<&'m str>),
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    pub upstream: &'a str,
    /// What the body's model is to be changed to.
    pub model: Option<&'a str>,
    /// The rule has a fallback, and it is another one.
    pub has_fallback: bool,
    pub timeout: Option<Period>,
    /// For an upstream that hashes over its endpoints.
    pub hash_key: Option<u64>,
    pub reason: &'static str,
    /// The rule's number; past the last one: the default.
    rule: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// No rule is for it and there is no default; the gateway's own route holds.
    None,
    Route(Chosen<'a>),
    /// Every target is down or full: accept it now, replay it later.
    Defer,
}

impl Plan {
    pub fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(KEYS)?;
        let list = table.read("rules", |node| node.list_of(0, MAX_RULES))?;
        let mut rules = Vec::new();
        for (index, node) in list.unwrap_or_default().iter().enumerate() {
            rules.push(Rule::read(node, index)?);
        }
        let default = |node: &Node<'_>| {
            let table = node.table(action::KEYS)?;
            Action::read(&table, "default".to_owned())
        };
        let default = table.read("default", default)?;
        if rules.is_empty() && default.is_none() {
            let problem = "neither rules nor a default: there is nothing to route by";
            return Err(table.wrong("rules", problem));
        }
        Ok(Self { rules, default })
    }

    pub fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Which requests the rules are for.
    pub fn matches(&self) -> impl Iterator<Item = &Match> {
        self.rules.iter().map(|rule| &rule.matches)
    }

    /// With it: whether the body is needed to be sure.
    pub fn choose(
        &self,
        request: &impl RequestView,
        known: Known<'_>,
        standing: impl Fn(&str) -> Option<Standing>,
        random: impl FnOnce() -> u64,
    ) -> (Answer<'_>, bool) {
        let mut needs_body = false;
        let mut found = None;
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matches.matches(request) {
                continue;
            }
            let named = match known {
                _ if rule.models.is_empty() => true,
                Known::Model(model) => model.is_some_and(|model| rule.names(model)),
                Known::Head => {
                    needs_body = true;
                    false
                }
            };
            if named {
                found = Some((index, &rule.action));
                break;
            }
        }
        let default = || {
            self.default
                .as_ref()
                .map(|action| (self.rules.len(), action))
        };
        let Some((index, action)) = found.or_else(default) else {
            return (Answer::None, needs_body);
        };
        needs_body |= matches!(known, Known::Head) && action.targets.rewrites();
        let reason = if index < self.rules.len() {
            "routing/rule"
        } else {
            "routing/default"
        };
        (
            action.answer(index, reason, request, standing, random),
            needs_body,
        )
    }

    fn action(&self, rule: usize) -> Option<&Action> {
        match self.rules.get(rule) {
            Some(rule) => Some(&rule.action),
            None => self.default.as_ref(),
        }
    }

    /// Whether a first attempt that ended so is to be repeated at the fallback that `note` names: one that never connected, or
    /// whose status the rule lists, of a request that may be repeated.
    pub fn goes_elsewhere(&self, note: &str, outcome: &Outcome, method: &str) -> bool {
        let Some(action) = note.parse().ok().and_then(|rule| self.action(rule)) else {
            return false;
        };
        let failed = match (&outcome.error, outcome.status) {
            (Some(error), _) => NEVER_CONNECTED.contains(&error.as_str()),
            (None, Some(status)) => action.fallback_on.contains(status),
            (None, None) => false,
        };
        failed && IDEMPOTENT.contains(&method)
    }

    /// The fallback, once [`goes_elsewhere`](Self::goes_elsewhere) sent the exchange there.
    pub fn redirected(&self, note: &str) -> Option<&str> {
        let rule = note.strip_prefix(SENT_THERE)?.parse().ok()?;
        self.action(rule)?.fallback.as_deref()
    }
}

/// Whether an attempt's end is one that any rule could go elsewhere for: asked first, because mostly it is not.
pub fn may_help(outcome: &Outcome) -> bool {
    outcome.status.is_none_or(|status| status >= 400)
}

/// The note of an exchange that is sent to its fallback.
pub fn sent_there(note: &str) -> String {
    [SENT_THERE.encode_utf8(&mut [0; 4]), note].concat()
}

impl Chosen<'_> {
    /// The value of [`FALLBACK`].
    pub fn note(&self) -> String {
        digits(self.rule as u64)
    }
}

impl Rule {
    fn read(node: &Node<'_>, index: usize) -> Result<Self, ConfigError> {
        let table = node.table(action::RULE_KEYS)?;
        let models = table.read("model", Node::texts)?;
        if models.as_ref().is_some_and(|models| {
            models.is_empty() || models.len() > MAX_MODELS || models.iter().any(String::is_empty)
        }) {
            return Err(table.wrong(
                "model",
                "must be 1 to 32 names of models, such as \"llama3*\"",
            ));
        }
        let name = table.read("name", Node::name)?;
        Ok(Self {
            matches: table.read("match", Match::read)?.unwrap_or_default(),
            models: models.unwrap_or_default(),
            action: Action::read(
                &table,
                name.unwrap_or_else(|| ["rule-", &digits(index as u64)].concat()),
            )?,
        })
    }

    fn names(&self, model: &str) -> bool {
        self.models
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => model.starts_with(start),
                None => pattern == model,
            })
    }
}

#[cfg(test)]
mod tests;
