//! From the operator's JSON to a typed configuration; every error names its key.

use std::fmt;

use crate::settings::{digits, quoted};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer};

/// A policy's settings are lists of a few rules; more than this is a mistake, and parsing it would eat the instance's memory.
pub const MAX_CONFIG_BYTES: usize = 256 * 1024;

/// A setting that cannot be used: where it stands, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    problem: String,
}

impl ConfigError {
    /// `key` as a path: `rules[2].ttl`. Empty for the whole configuration.
    pub fn at(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same, found one level further in: `ttl` inside of `rules[2]`.
    #[must_use]
    pub fn inside(self, parent: &str) -> Self {
        let dot = if self.key.is_empty() || parent.is_empty() || self.key.starts_with('[') {
            ""
        } else {
            "."
        };
        Self {
            key: [parent, dot, &self.key].concat(),
            ..self
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str(&self.problem);
        }
        write!(f, "`{}`: {}", self.key, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// What `configure` may take: anything `Deserialize`, or a type that reads its settings by hand ([`settings`](crate::settings)).
pub trait Settings: Sized {
    fn from_json(text: &str) -> Result<Self, ConfigError>;
}

impl<T: DeserializeOwned> Settings for T {
    fn from_json(text: &str) -> Result<Self, ConfigError> {
        parse(text)
    }
}

/// Parses settings. No settings at all (empty text, `null`) are those of `{}`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    if text.len() > MAX_CONFIG_BYTES {
        let problem = format!(
            "{} bytes of settings; at most {MAX_CONFIG_BYTES} are taken",
            text.len()
        );
        return Err(ConfigError::at("", problem));
    }
    let text = match text.trim() {
        "" | "null" => "{}",
        other => other,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let mut unknown = None;
    let value = serde_ignored::deserialize(tracked, |path| {
        unknown.get_or_insert_with(|| with_brackets(&path.to_string()));
    });
    let value =
        value.map_err(|error| ConfigError::at(key_of(&track.path()), without_position(&error)))?;
    json.end()
        .map_err(|error| ConfigError::at("", error.to_string()))?;
    match unknown {
        Some(key) => Err(ConfigError::at(
            key,
            "there is no such setting; remove it or correct its name",
        )),
        None => Ok(value),
    }
}

fn key_of(path: &serde_path_to_error::Path) -> String {
    if path.iter().next().is_none() {
        return String::new();
    }
    path.to_string()
}

/// `rules.0.ttl` as `rules[0].ttl`, so that both parsers write paths in one way.
fn with_brackets(dotted: &str) -> String {
    let mut path = String::new();
    for part in dotted.split('.') {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(part);
        }
    }
    path
}

/// The line and column of the JSON text mean nothing to an operator who wrote TOML.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if !error.is_syntax() && !error.is_eof() => text[..end].to_owned(),
        _ => text,
    }
}

/// A length of time in the settings: `"250ms"`, `"10s"`, `"5m"`, `"2h"`, `"1d"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    millis: u64,
}

impl Period {
    /// Ten years: longer is a mistake, and sums of a few of them stay far from overflow.
    pub const MAX: Self = Self {
        millis: 3650 * 86_400_000,
    };

    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    pub const fn from_secs(seconds: u64) -> Self {
        Self {
            millis: seconds * 1000,
        }
    }

    pub const fn millis(self) -> u64 {
        self.millis
    }

    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }

    /// In whole seconds, rounded up: what `Retry-After` takes.
    pub const fn seconds_up(self) -> u64 {
        self.millis.div_ceil(1000)
    }
}

impl Period {
    /// As settings write it, in the largest unit that fits.
    pub fn text(self) -> String {
        let units = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
        ];
        let fits = |(_, millis): &&(&str, u64)| {
            self.millis >= *millis && self.millis.is_multiple_of(*millis)
        };
        let (unit, millis) = match units.iter().find(fits) {
            Some((unit, millis)) => (*unit, *millis),
            None if self.millis == 0 => ("s", 1),
            None => ("ms", 1),
        };
        [&digits(self.millis / millis), unit].concat()
    }
}

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let problem = " is no length of time; write a number and a unit, such as \"250ms\", \"10s\", \"5m\", \"2h\", \"1d\"";
            [&quoted(text), problem].concat()
        };
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit = match &text[digits..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let millis = number
            .checked_mul(unit)
            .filter(|&millis| millis <= Self::MAX.millis);
        let millis = millis.ok_or_else(|| {
            [
                &quoted(text),
                " is longer than the longest allowed, \"3650d\"",
            ]
            .concat()
        })?;
        Ok(Self { millis })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
