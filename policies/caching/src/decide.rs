//! The pure part: the rule for a request, what of it is part of the key, when the cache is left out, and which responses are stored.
//!
//! Invariants: two requests that a rule tells apart never share a key, however their values are written; what cannot be told apart
//! (a value too long or not UTF-8) is not cached at all.

use guest_sdk::cache::Lifetimes;
use guest_sdk::matching::{Match, check_token, one_or_many};
use guest_sdk::{ConfigError, Period, RequestView, StatusSet};
use serde::Deserialize;

/// Rules are searched in order for every request.
pub const MAX_RULES: usize = 128;
/// The host takes 16 parts from all policies of a route.
pub const MAX_KEY_PARTS: usize = 8;
/// One part, in the host, holds 1024 bytes: a name, a few marks, and this.
const MAX_VALUE_BYTES: usize = 512;
const MAX_NAME_BYTES: usize = 256;
/// A year (RFC 9111 calls longer lifetimes useless).
const MAX_LIFETIME: Period = Period::from_secs(365 * 86_400);

/// Exchange attribute: the number of the rule that the request fell under.
pub const RULE: &str = "caching.rule";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    rules: Vec<RawRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawRule {
    r#match: Match,
    no_store: bool,
    ttl: Option<Period>,
    stale_while_revalidate: Period,
    stale_if_error: Period,
    key: RawKey,
    bypass: RawBypass,
    status: Option<StatusSet>,
    #[serde(deserialize_with = "one_or_many")]
    content_type: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawKey {
    #[serde(deserialize_with = "one_or_many")]
    header: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    query: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    cookie: Vec<String>,
    tenant: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawBypass {
    #[serde(deserialize_with = "one_or_many")]
    header: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    cookie: Vec<String>,
    authorization: bool,
}

impl Default for RawBypass {
    fn default() -> Self {
        Self {
            header: Vec::new(),
            cookie: Vec::new(),
            authorization: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyPart {
    Header(String),
    Query(String),
    Cookie(String),
    Tenant,
}

#[derive(Debug)]
enum Storing {
    Never,
    For(Lifetimes),
}

#[derive(Debug)]
struct Rule {
    matches: Match,
    storing: Storing,
    key: Vec<KeyPart>,
    bypass: RawBypass,
    status: StatusSet,
    content_type: Vec<String>,
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

/// What to tell the cache about a response.
#[derive(Debug, PartialEq, Eq)]
pub enum ResponseStep {
    Store(Lifetimes),
    NoStore,
}

impl Plan {
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let count = settings.rules.len();
        if count == 0 || count > MAX_RULES {
            return Err(ConfigError::at(
                "rules",
                format!("{count} rules; from 1 to {MAX_RULES} are taken"),
            ));
        }
        let rules = settings.rules.into_iter().enumerate();
        let rules = rules.map(|(index, raw)| {
            Rule::new(raw).map_err(|error| error.inside(&format!("rules[{index}]")))
        });
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// None: no rule is for it; the origin's own headers say what is cached.
    pub fn on_request(&self, request: &impl RequestView) -> Option<(usize, RequestStep)> {
        let index = self
            .rules
            .iter()
            .position(|rule| rule.matches.matches(request))?;
        let rule = &self.rules[index];
        if matches!(rule.storing, Storing::Never) {
            return Some((index, RequestStep::Bypass("caching/no-store")));
        }
        if let Some(reason) = rule.bypass.reason(request) {
            return Some((index, RequestStep::Bypass(reason)));
        }
        let step = match rule.key.iter().map(|part| part.of(request)).collect() {
            Some(key) => RequestStep::Cache { key },
            None => RequestStep::Bypass("caching/key-unclear"),
        };
        Some((index, step))
    }

    pub fn on_response(
        &self,
        rule: usize,
        status: u16,
        content_type: impl FnOnce() -> Option<String>,
    ) -> ResponseStep {
        let Some(rule) = self.rules.get(rule) else {
            return ResponseStep::NoStore;
        };
        match &rule.storing {
            Storing::For(lifetimes)
                if rule.status.contains(status) && rule.takes_type(content_type) =>
            {
                ResponseStep::Store(*lifetimes)
            }
            Storing::For(_) | Storing::Never => ResponseStep::NoStore,
        }
    }
}

impl Rule {
    fn new(raw: RawRule) -> Result<Self, ConfigError> {
        let storing = storing(&raw)?;
        let key = key_parts(raw.key)?;
        for (name, texts) in [
            ("header", &raw.bypass.header),
            ("cookie", &raw.bypass.cookie),
        ] {
            check_names(&format!("bypass.{name}"), texts)?;
        }
        for content_type in &raw.content_type {
            if content_type.is_empty() || content_type.contains([';', ',', ' ']) {
                let problem = format!(
                    "{content_type:?} is no media type; write \"text/html\" or \"image/*\""
                );
                return Err(ConfigError::at("content-type", problem));
            }
        }
        let mut status = raw.status.unwrap_or_default();
        if status == StatusSet::default() {
            status
                .add("200")
                .map_err(|problem| ConfigError::at("status", problem))?;
        }
        Ok(Self {
            matches: raw
                .r#match
                .checked()
                .map_err(|error| error.inside("match"))?,
            storing,
            key,
            bypass: raw.bypass.lowered(),
            status,
            content_type: raw
                .content_type
                .iter()
                .map(|text| text.to_ascii_lowercase())
                .collect(),
        })
    }

    fn takes_type(&self, content_type: impl FnOnce() -> Option<String>) -> bool {
        if self.content_type.is_empty() {
            return true;
        }
        let Some(actual) = content_type() else {
            return false;
        };
        let actual = actual
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        self.content_type
            .iter()
            .any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => actual.starts_with(start),
                None => actual == *wanted,
            })
    }
}

fn storing(raw: &RawRule) -> Result<Storing, ConfigError> {
    let lifetimes = [
        ("ttl", raw.ttl.unwrap_or_default()),
        ("stale-while-revalidate", raw.stale_while_revalidate),
        ("stale-if-error", raw.stale_if_error),
    ];
    if let Some((key, _)) = lifetimes.iter().find(|(_, period)| *period > MAX_LIFETIME) {
        return Err(ConfigError::at(*key, "must be at most \"365d\""));
    }
    match (raw.no_store, raw.ttl) {
        (true, Some(_)) => Err(ConfigError::at(
            "ttl",
            "nothing is stored here (no-store = true); remove one of the two",
        )),
        (true, None) => Ok(Storing::Never),
        (false, None) => Err(ConfigError::at(
            "ttl",
            "for how long? Write \"10m\", say, or no-store = true",
        )),
        (false, Some(ttl)) if ttl.is_zero() => Err(ConfigError::at(
            "ttl",
            "must be longer than \"0s\"; to store nothing, write no-store = true",
        )),
        (false, Some(ttl)) => Ok(Storing::For(Lifetimes {
            ttl,
            stale_while_revalidate: raw.stale_while_revalidate,
            stale_if_error: raw.stale_if_error,
        })),
    }
}

fn key_parts(raw: RawKey) -> Result<Vec<KeyPart>, ConfigError> {
    check_names("key.header", &raw.header)?;
    check_names("key.cookie", &raw.cookie)?;
    if raw
        .query
        .iter()
        .any(|name| name.is_empty() || name.len() > MAX_NAME_BYTES)
    {
        return Err(ConfigError::at(
            "key.query",
            format!("the name of a parameter has 1 to {MAX_NAME_BYTES} bytes"),
        ));
    }
    let header = raw
        .header
        .into_iter()
        .map(|name| KeyPart::Header(name.to_ascii_lowercase()));
    let parts: Vec<KeyPart> = header
        .chain(raw.query.into_iter().map(KeyPart::Query))
        .chain(raw.cookie.into_iter().map(KeyPart::Cookie))
        .chain(raw.tenant.then_some(KeyPart::Tenant))
        .collect();
    if parts.len() > MAX_KEY_PARTS {
        return Err(ConfigError::at(
            "key",
            format!("{} parts; at most {MAX_KEY_PARTS} are taken", parts.len()),
        ));
    }
    Ok(parts)
}

fn check_names(key: &str, names: &[String]) -> Result<(), ConfigError> {
    for name in names {
        check_token(name).map_err(|problem| ConfigError::at(key, problem))?;
        if name.len() > MAX_NAME_BYTES {
            return Err(ConfigError::at(
                key,
                format!("a name has at most {MAX_NAME_BYTES} bytes"),
            ));
        }
    }
    Ok(())
}

impl KeyPart {
    /// None: what the request has here cannot be written down, so nothing that depends on it may be shared.
    fn of(&self, request: &impl RequestView) -> Option<String> {
        let (kind, name, values) = match self {
            Self::Header(name) => {
                let values = request.header_all(name);
                if values.is_empty() && request.has_header(name) {
                    return None;
                }
                ("header", name.as_str(), values)
            }
            Self::Query(name) => ("query", name.as_str(), Vec::from_iter(request.query(name))),
            Self::Cookie(name) => ("cookie", name.as_str(), cookies(request, name)?),
            Self::Tenant => (
                "tenant",
                "",
                Vec::from_iter(request.info().identity.tenant.clone()),
            ),
        };
        let mut part = format!("{kind}:{name}");
        for value in &values {
            // with its length before it: no value can look like two
            part.push_str(&format!("={}:{value}", value.len()));
        }
        (part.len() <= MAX_VALUE_BYTES + MAX_NAME_BYTES).then_some(part)
    }
}

/// The values of a cookie. None if the field is there and cannot be read.
fn cookies(request: &impl RequestView, name: &str) -> Option<Vec<String>> {
    let fields = request.header_all("cookie");
    if fields.is_empty() && request.has_header("cookie") {
        return None;
    }
    let pairs = fields.iter().flat_map(|field| field.split(';'));
    let values = pairs.filter_map(|pair| {
        let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
        (known.trim() == name).then(|| value.trim().to_owned())
    });
    Some(values.collect())
}

impl RawBypass {
    fn lowered(mut self) -> Self {
        self.header
            .iter_mut()
            .for_each(|name| name.make_ascii_lowercase());
        self
    }

    fn reason(&self, request: &impl RequestView) -> Option<&'static str> {
        if self.authorization && request.has_header("authorization") {
            return Some("caching/authorization");
        }
        if self.header.iter().any(|name| request.has_header(name)) {
            return Some("caching/bypass-header");
        }
        let has = |name: &String| cookies(request, name).is_none_or(|values| !values.is_empty());
        self.cookie
            .iter()
            .any(has)
            .then_some("caching/bypass-cookie")
    }
}

#[cfg(test)]
mod tests;
