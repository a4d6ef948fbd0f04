//! The pure part: rules in order, the first that matches decides; a share of its requests goes to each of its targets.
//!
//! Invariants: a sticky caller gets the same target as long as the weights stay, and raising the weight of the first target only
//! moves callers towards it; a request is tried elsewhere at most once, and only if nothing of it reached an application.

mod targets;

use guest_sdk::attempt::{Attempt, IDEMPOTENT, NEVER_CONNECTED, Outcome};
use guest_sdk::matching::{Match, check_token};
use guest_sdk::{ConfigError, Period, RequestView};
use serde::Deserialize;

use targets::{RawTargets, Targets, stable_hash};

/// Rules are searched in order for every request; a longer list belongs into the gateway's own routes.
pub const MAX_RULES: usize = 128;
/// A request that takes longer than this is a job.
const MAX_TIMEOUT: Period = Period::from_secs(24 * 3600);

/// Exchange attribute: the upstream to try if the chosen one cannot be reached.
pub const FALLBACK: &str = "routing.fallback";
/// Exchange attribute: it is being tried.
pub const REDIRECTED: &str = "routing.redirected";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    rules: Vec<RawRule>,
    default: Option<RawAction>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    r#match: Match,
    to: RawTargets,
    sticky: Option<String>,
    timeout: Option<Period>,
    fallback: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAction {
    to: RawTargets,
    sticky: Option<String>,
    timeout: Option<Period>,
    fallback: Option<String>,
}

/// What makes a caller the same one again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sticky {
    ClientIp,
    Tenant,
    Header(String),
}

#[derive(Debug)]
struct Action {
    targets: Targets,
    sticky: Option<Sticky>,
    /// Part of the hash: two rules do not split callers along the same line.
    salt: String,
    timeout: Option<Period>,
    fallback: Option<String>,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Plan {
    rules: Vec<(Match, Action)>,
    default: Option<Action>,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    pub upstream: &'a str,
    pub fallback: Option<&'a str>,
    pub timeout: Option<Period>,
    /// For an upstream that hashes over its endpoints.
    pub hash_key: Option<u64>,
    pub reason: &'static str,
}

impl Plan {
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        if settings.rules.len() > MAX_RULES {
            let problem = format!(
                "{} rules; at most {MAX_RULES} are taken",
                settings.rules.len()
            );
            return Err(ConfigError::at("rules", problem));
        }
        if settings.rules.is_empty() && settings.default.is_none() {
            return Err(ConfigError::at(
                "rules",
                "neither rules nor a default: there is nothing to route by",
            ));
        }
        let rules = settings.rules.into_iter().enumerate().map(|(index, raw)| {
            let salt = raw.name.unwrap_or_else(|| format!("rule-{index}"));
            let action = RawAction {
                to: raw.to,
                sticky: raw.sticky,
                timeout: raw.timeout,
                fallback: raw.fallback,
            };
            let matches = raw.r#match.checked().map_err(|error| error.inside("match"));
            matches
                .and_then(|matches| Ok((matches, Action::new(action, salt)?)))
                .map_err(|error| error.inside(&format!("rules[{index}]")))
        });
        let default = settings
            .default
            .map(|raw| Action::new(raw, "default".to_owned()));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            default: default
                .transpose()
                .map_err(|error| error.inside("default"))?,
        })
    }

    /// None: no rule is for it and there is no default; the gateway's own route holds.
    pub fn choose(
        &self,
        request: &impl RequestView,
        random: impl FnOnce() -> u64,
    ) -> Option<Chosen<'_>> {
        let rule = self
            .rules
            .iter()
            .find(|(matches, _)| matches.matches(request));
        let (action, reason) = match (rule, &self.default) {
            (Some((_, action)), _) => (action, "routing/rule"),
            (None, Some(action)) => (action, "routing/default"),
            (None, None) => return None,
        };
        let hash_key = action.sticky_hash(request);
        let upstream = action.targets.pick(|| hash_key.unwrap_or_else(random));
        let fallback = action
            .fallback
            .as_deref()
            .filter(|&fallback| fallback != upstream);
        Some(Chosen {
            upstream,
            fallback,
            timeout: action.timeout,
            hash_key,
            reason,
        })
    }
}

impl Action {
    fn new(raw: RawAction, salt: String) -> Result<Self, ConfigError> {
        let sticky = raw.sticky.as_deref().map(Sticky::parse).transpose();
        if raw
            .timeout
            .is_some_and(|timeout| timeout.is_zero() || timeout > MAX_TIMEOUT)
        {
            return Err(ConfigError::at(
                "timeout",
                "must be longer than \"0s\" and at most \"1d\"",
            ));
        }
        if raw.fallback.as_deref().is_some_and(str::is_empty) {
            return Err(ConfigError::at("fallback", "names no upstream; remove it"));
        }
        Ok(Self {
            targets: Targets::new(raw.to)?,
            sticky: sticky.map_err(|problem| ConfigError::at("sticky", problem))?,
            salt,
            timeout: raw.timeout,
            fallback: raw.fallback,
        })
    }

    fn sticky_hash(&self, request: &impl RequestView) -> Option<u64> {
        let value = match self.sticky.as_ref()? {
            Sticky::ClientIp => Some(request.info().client_ip.clone()),
            Sticky::Tenant => request.info().identity.tenant.clone(),
            Sticky::Header(name) => request.header(name),
        };
        value.map(|value| stable_hash(&self.salt, &value))
    }
}

impl Sticky {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "client-ip" => Ok(Self::ClientIp),
            "tenant" => Ok(Self::Tenant),
            other => {
                let name = other.strip_prefix("header:").ok_or_else(|| {
                    format!("{other:?} cannot be stuck to; write \"client-ip\", \"tenant\" or \"header:NAME\"")
                })?;
                check_token(name)?;
                Ok(Self::Header(name.to_ascii_lowercase()))
            }
        }
    }
}

/// Whether an attempt that ended so is to be repeated at the fallback: the first one, never connected, of a request that may be
/// repeated, with a fallback to go to.
pub fn goes_elsewhere(attempt: &Attempt, outcome: &Outcome, request: &impl RequestView) -> bool {
    attempt.number == 1
        && outcome
            .error
            .as_deref()
            .is_some_and(|error| NEVER_CONNECTED.contains(&error))
        && IDEMPOTENT.contains(&request.method())
        && request.attr(FALLBACK).is_some()
}

/// The fallback, once [`goes_elsewhere`] sent the exchange there.
pub fn redirected(attempt: &Attempt, request: &impl RequestView) -> Option<String> {
    if attempt.number == 1 {
        return None;
    }
    request.attr(REDIRECTED)?;
    request.attr(FALLBACK)
}

#[cfg(test)]
mod tests;
