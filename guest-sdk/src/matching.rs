//! Which requests a rule is for: the `match` block that the policies share, and its pure evaluation.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::json::Json;
use crate::settings::{Node, quoted};
use crate::{ConfigError, RequestView};

/// Conditions on a request. All that are given must hold; an empty block matches everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Match {
    /// `api.example.com`, or `*.example.com` for every name under it. Ports are not compared.
    #[serde(deserialize_with = "one_or_many")]
    pub host: Vec<String>,
    /// Whole segments: `/api` is `/api` and `/api/x`, not `/apix`.
    #[serde(deserialize_with = "one_or_many")]
    pub path_prefix: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub path: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub method: Vec<String>,
    #[serde(deserialize_with = "tests_by_name")]
    pub header: Vec<(String, HeaderTest)>,
    /// Of the parameters in the query, the first of each name.
    #[serde(deserialize_with = "tests_by_name")]
    pub query: Vec<(String, HeaderTest)>,
}

const KEYS: &[&str] = &["header", "host", "method", "path", "path-prefix", "query"];

/// What a header or a parameter must be: a text (equal to it), `true` (there), `false` (not there).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTest {
    Equals(String),
    Present,
    Absent,
}

impl Match {
    /// Reads the block that stands at `match`, and checks it.
    pub fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(KEYS)?;
        let texts = |key| Ok::<_, ConfigError>(table.read(key, Node::texts)?.unwrap_or_default());
        let tests = |key| Ok::<_, ConfigError>(table.read(key, read_tests)?.unwrap_or_default());
        let block = Self {
            host: texts("host")?,
            path_prefix: texts("path-prefix")?,
            path: texts("path")?,
            method: texts("method")?,
            header: tests("header")?,
            query: tests("query")?,
        };
        block.checked().map_err(|error| node.inside(error))
    }

    /// Checks the block and brings names into the form that requests have them in.
    pub fn checked(mut self) -> Result<Self, ConfigError> {
        for host in &mut self.host {
            host.make_ascii_lowercase();
            check_host(host).map_err(|problem| ConfigError::at("host", problem))?;
        }
        for (key, paths) in [("path-prefix", &self.path_prefix), ("path", &self.path)] {
            if let Some(path) = paths
                .iter()
                .find(|path| !path.starts_with('/') || path.contains(['?', '#']))
            {
                let problem = " is no path: it begins with \"/\" and has no \"?\" or \"#\"";
                return Err(ConfigError::at(key, quoted(path) + problem));
            }
        }
        for method in &mut self.method {
            check_token(method).map_err(|problem| ConfigError::at("method", problem))?;
            method.make_ascii_uppercase();
        }
        for (name, _) in &mut self.header {
            check_token(name).map_err(|problem| ConfigError::at("header", problem))?;
            name.make_ascii_lowercase();
        }
        Ok(self)
    }

    /// Whether it asks for nothing, and so matches everything.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.host, &self.path_prefix, &self.path, &self.method];
        lists.into_iter().all(Vec::is_empty) && self.header.is_empty() && self.query.is_empty()
    }

    pub fn matches(&self, request: &impl RequestView) -> bool {
        any(&self.method, |method| method == request.method())
            && any(&self.path, |path| path == request.path())
            && any(&self.path_prefix, |prefix| {
                has_prefix(request.path(), prefix)
            })
            && any(&self.host, |host| host_matches(host, request.authority()))
            && self.header.iter().all(|(name, test)| match test {
                HeaderTest::Present => request.has_header(name),
                HeaderTest::Absent => !request.has_header(name),
                HeaderTest::Equals(text) => has_value(request, name, text),
            })
            && self.query.iter().all(|(name, test)| {
                let value = request.query(name);
                match test {
                    HeaderTest::Present => value.is_some(),
                    HeaderTest::Absent => value.is_none(),
                    HeaderTest::Equals(text) => value.is_some_and(|value| value == *text),
                }
            })
    }
}

/// Mostly the field is not there, or once and as asked: the whole list is fetched only if it is neither.
fn has_value(request: &impl RequestView, name: &str, text: &str) -> bool {
    match request.header(name) {
        None => false,
        Some(first) => first == text || request.header_all(name).iter().any(|value| value == text),
    }
}

fn read_tests(node: &Node<'_>) -> Result<Vec<(String, HeaderTest)>, ConfigError> {
    let test = |(name, node): (&str, Node<'_>)| {
        let test = match node.value() {
            Json::Text(text) => HeaderTest::Equals(text.to_string()),
            Json::Flag(true) => HeaderTest::Present,
            Json::Flag(false) => HeaderTest::Absent,
            _ => return Err(node.expected("the value as a text, true (present) or false (absent)")),
        };
        Ok((name.to_owned(), test))
    };
    node.members()?.into_iter().map(test).collect()
}

/// True if nothing is asked, or one of what is asked holds.
fn any(asked: &[String], holds: impl Fn(&str) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(|one| holds(one))
}

fn has_prefix(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    }
}

fn host_matches(pattern: &str, authority: &str) -> bool {
    let host = without_port(authority);
    match pattern.strip_prefix('*') {
        // "*.example.com": ".example.com" with something before it
        Some(suffix) => host
            .len()
            .checked_sub(suffix.len())
            .filter(|&end| end > 0)
            .and_then(|end| host.get(end..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix)),
        None => host.eq_ignore_ascii_case(pattern),
    }
}

fn without_port(authority: &str) -> &str {
    if authority.starts_with('[') {
        let end = authority.find(']').map_or(authority.len(), |end| end + 1);
        return &authority[..end];
    }
    authority.split(':').next().unwrap_or(authority)
}

fn check_host(host: &str) -> Result<(), String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name.starts_with('[') && name.ends_with(']') {
        return Ok(());
    }
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    {
        let problem =
            " is no host name; write \"api.example.com\" or \"*.example.com\", without a port";
        return Err(quoted(host) + problem);
    }
    Ok(())
}

/// Names of methods and fields (RFC 9110, 5.6.2).
pub fn check_token(text: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(token) {
        return Err(quoted(text) + " is no name of a method or a header");
    }
    Ok(())
}

fn tests_by_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, HeaderTest)>, D::Error> {
    Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
}

/// A text, or a list of texts.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_any(Texts)
}

impl<'de> Deserialize<'de> for HeaderTest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Test;
        impl Visitor<'_> for Test {
            type Value = HeaderTest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the header's value as a text, true (present) or false (absent)")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderTest, E> {
                Ok(HeaderTest::Equals(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, present: bool) -> Result<HeaderTest, E> {
                Ok(if present {
                    HeaderTest::Present
                } else {
                    HeaderTest::Absent
                })
            }
        }
        deserializer.deserialize_any(Test)
    }
}

#[cfg(test)]
mod tests;
