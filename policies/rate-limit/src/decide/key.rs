//! Under which key a request is counted.
//!
//! Each part of a key is written with a mark for where it came from and with its separator escaped, so that no value a client sends
//! can be taken for another part, for a client's address, or for a hash.

use std::net::{IpAddr, Ipv6Addr};

use guest_sdk::matching::check_token;
use guest_sdk::{ConfigError, RequestView};
use serde::Deserialize;

/// Longer values are replaced by a hash: a key is memory in the host for every caller.
const MAX_RAW_BYTES: usize = 64;
const MAX_PARTS: usize = 4;
/// The separator, the mark of a hash, and what they are escaped with.
const ESCAPED: [char; 3] = ['|', '%', '#'];
/// An IPv6 subscriber has a whole /64 and could be a new caller with every request.
const IPV6_PREFIX_BITS: u32 = 64;

/// What to count a request under that lacks what the key asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissing {
    /// Its address: leaving a header out gains nothing.
    #[default]
    ClientIp,
    /// One counter for all who lack it.
    Share,
    /// This limit is not for them.
    Skip,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    All,
    ClientIp,
    Tenant,
    Subject,
    Route,
    Header(String),
}

#[derive(Debug)]
pub struct Key {
    parts: Vec<Part>,
    on_missing: OnMissing,
}

impl Key {
    pub fn parse(texts: &[String], on_missing: OnMissing) -> Result<Self, ConfigError> {
        if texts.is_empty() || texts.len() > MAX_PARTS {
            let problem = format!("{} parts; a key has from 1 to {MAX_PARTS}", texts.len());
            return Err(ConfigError::at("key", problem));
        }
        let parts = texts
            .iter()
            .map(|text| Part::parse(text))
            .collect::<Result<_, _>>();
        let parts = parts.map_err(|problem| ConfigError::at("key", problem))?;
        Ok(Self { parts, on_missing })
    }

    /// None: the limit is not for this request.
    pub fn of(&self, request: &impl RequestView) -> Option<String> {
        let mut key = String::new();
        for part in &self.parts {
            if !key.is_empty() {
                key.push('|');
            }
            match (part.value(request), self.on_missing) {
                (Some(value), _) => push(&mut key, part.mark(), &value),
                (None, OnMissing::ClientIp) => push(
                    &mut key,
                    Part::ClientIp.mark(),
                    &network(&request.info().client_ip),
                ),
                (None, OnMissing::Share) => key.push('-'),
                (None, OnMissing::Skip) => return None,
            }
        }
        Some(key)
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "all" => Self::All,
            "client-ip" => Self::ClientIp,
            "tenant" => Self::Tenant,
            "subject" => Self::Subject,
            "route" => Self::Route,
            other => {
                let name = other.strip_prefix("header:").ok_or_else(|| {
                    format!("{other:?} is no part of a key; write \"client-ip\", \"tenant\", \"subject\", \"route\", \"header:NAME\" or \"all\"")
                })?;
                check_token(name)?;
                Self::Header(name.to_ascii_lowercase())
            }
        })
    }

    fn value(&self, request: &impl RequestView) -> Option<String> {
        let value = match self {
            Self::All => return Some(String::new()),
            Self::ClientIp => network(&request.info().client_ip),
            Self::Tenant => request.info().identity.tenant.clone()?,
            Self::Subject => request.info().identity.subject.clone()?,
            Self::Route => request.info().route.clone(),
            Self::Header(name) => request.header(name)?,
        };
        (!value.is_empty()).then_some(value)
    }

    fn mark(&self) -> char {
        match self {
            Self::All => '*',
            Self::ClientIp => '@',
            Self::Tenant => 't',
            Self::Subject => 's',
            Self::Route => 'r',
            Self::Header(_) => 'h',
        }
    }
}

fn push(key: &mut String, mark: char, value: &str) {
    key.push(mark);
    if value.len() > MAX_RAW_BYTES {
        key.push('#');
        key.push_str(&blake3::hash(value.as_bytes()).to_hex()[..32]);
        return;
    }
    if !value.contains(ESCAPED) {
        key.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '|' => key.push_str("%7C"),
            '%' => key.push_str("%25"),
            '#' => key.push_str("%23"),
            other => key.push(other),
        }
    }
}

/// The part of an address that says which subscriber it is.
fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => {
                let mask = u128::MAX << (128 - IPV6_PREFIX_BITS);
                Ipv6Addr::from_bits(v6.to_bits() & mask).to_string()
            }
        },
        _ => address.to_owned(),
    }
}
