//! What of a request's head is part of the key, and what keeps a request away from the cache.

use guest_sdk::matching::check_token;
use guest_sdk::settings::{Node, Table, push_digits};
use guest_sdk::{ConfigError, RequestView};

/// The host takes 16 parts from all policies of a route.
pub const MAX_KEY_PARTS: usize = 8;
/// One part, in the host, holds 1024 bytes: a name, a few marks, and this.
const MAX_VALUE_BYTES: usize = 512;
const MAX_NAME_BYTES: usize = 256;

const KEYS: &[&str] = &["cookie", "header", "query", "subject", "tenant"];
const BYPASS_KEYS: &[&str] = &["authorization", "cookie", "header"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyPart {
    Header(String),
    Query(String),
    Cookie(String),
    Tenant,
    Subject,
}

/// What a request has that keeps it away from the cache.
#[derive(Debug)]
pub(super) struct Bypass {
    header: Vec<String>,
    cookie: Vec<String>,
    authorization: bool,
}

pub(super) fn read(node: &Node<'_>) -> Result<Vec<KeyPart>, ConfigError> {
    let table = node.table(KEYS)?;
    let mut parts = Vec::new();
    for name in names(&table, "header")? {
        parts.push(KeyPart::Header(name.to_ascii_lowercase()));
    }
    for name in table.read("query", Node::texts)?.unwrap_or_default() {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(table.wrong("query", "the name of a parameter has 1 to 256 bytes"));
        }
        parts.push(KeyPart::Query(name));
    }
    parts.extend(names(&table, "cookie")?.into_iter().map(KeyPart::Cookie));
    for (key, part) in [("tenant", KeyPart::Tenant), ("subject", KeyPart::Subject)] {
        if table.read(key, Node::flag)?.unwrap_or(false) {
            parts.push(part);
        }
    }
    if parts.len() > MAX_KEY_PARTS {
        return Err(node.wrong("has more than 8 parts"));
    }
    Ok(parts)
}

/// Names of headers or cookies.
fn names(table: &Table<'_>, key: &'static str) -> Result<Vec<String>, ConfigError> {
    let names = table.read(key, Node::texts)?.unwrap_or_default();
    for name in &names {
        check_token(name).map_err(|problem| table.wrong(key, problem))?;
        if name.len() > MAX_NAME_BYTES {
            return Err(table.wrong(key, "a name has at most 256 bytes"));
        }
    }
    Ok(names)
}

impl KeyPart {
    /// None: what the request has here cannot be written down, so nothing that depends on it may be shared.
    pub(super) fn of(&self, request: &impl RequestView) -> Option<String> {
        let one = |value: &Option<String>| Vec::from_iter(value.clone());
        let (kind, name, values) = match self {
            Self::Header(name) => {
                let values = request.header_all(name);
                if values.is_empty() && request.has_header(name) {
                    return None;
                }
                ("header:", name.as_str(), values)
            }
            Self::Query(name) => ("query:", name.as_str(), one(&request.query(name))),
            Self::Cookie(name) => ("cookie:", name.as_str(), cookies(request, name)?),
            Self::Tenant => ("tenant:", "", one(&request.identity().tenant)),
            Self::Subject => ("subject:", "", one(&request.identity().subject)),
        };
        let mut part = [kind, name].concat();
        for value in &values {
            // with its length before it: no value can look like two
            part.push('=');
            push_digits(&mut part, value.len() as u64);
            part.push(':');
            part.push_str(value);
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
        (known.trim_ascii() == name).then(|| value.trim_ascii().to_owned())
    });
    Some(values.collect())
}

impl Default for Bypass {
    fn default() -> Self {
        Self {
            header: Vec::new(),
            cookie: Vec::new(),
            authorization: true,
        }
    }
}

impl Bypass {
    pub(super) fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(BYPASS_KEYS)?;
        let mut header = names(&table, "header")?;
        header
            .iter_mut()
            .for_each(|name| name.make_ascii_lowercase());
        Ok(Self {
            header,
            cookie: names(&table, "cookie")?,
            authorization: table.read("authorization", Node::flag)?.unwrap_or(true),
        })
    }

    pub(super) fn reason(&self, request: &impl RequestView) -> Option<&'static str> {
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
