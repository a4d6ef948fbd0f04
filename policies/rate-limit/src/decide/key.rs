//! Under which key a request is counted.
//!
//! Each part of a key is written with a mark for where it came from and with its separator escaped, so that no value a client sends
//! can be taken for another part, for a client's address, or for a hash.

use std::net::{IpAddr, Ipv4Addr};

use guest_sdk::limits::KeySource;
use guest_sdk::matching::check_token;
use guest_sdk::settings::{Node, Table, quoted};
use guest_sdk::{ConfigError, RequestView};

/// Longer values are replaced by a hash: a key is memory in the host for every caller.
const MAX_RAW_BYTES: usize = 64;
const MAX_PARTS: usize = 4;
/// 128 bits: nobody finds two values with one hash.
const HASH_BYTES: usize = 16;
/// An IPv6 subscriber has a whole /64 and could be a new caller with every request.
const IPV6_PREFIX_BITS: u32 = 64;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What to count a request under that lacks what the key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnMissing {
    /// Its address: leaving a header out gains nothing.
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
    /// The subject of a client certificate, and of nothing else.
    Certificate,
    /// A bearer token. Never written down: its hash is.
    Token,
    Route,
    Header(String),
}

/// How much of an address says which subscriber it is.
#[derive(Debug, Clone, Copy)]
struct Prefixes {
    ipv4: u32,
    ipv6: u32,
}

#[derive(Debug)]
pub struct Key {
    parts: Vec<Part>,
    on_missing: OnMissing,
    prefixes: Prefixes,
}

impl Key {
    /// From the keys `key`, `on-missing`, `ipv4-prefix` and `ipv6-prefix`.
    pub fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let key = table.need("key")?;
        let nodes = key.one_or_many();
        if nodes.is_empty() || nodes.len() > MAX_PARTS {
            return Err(key.wrong("has 1 to 4 parts"));
        }
        let on_missing = table.read("on-missing", |node| {
            node.choice(&[
                ("client-ip", OnMissing::ClientIp),
                ("share", OnMissing::Share),
                ("skip", OnMissing::Skip),
            ])
        })?;
        let bits = |key, most| table.read(key, |node| node.whole(8, most));
        Ok(Self {
            parts: nodes.iter().map(Part::read).collect::<Result<_, _>>()?,
            on_missing: on_missing.unwrap_or(OnMissing::ClientIp),
            prefixes: Prefixes {
                ipv4: bits("ipv4-prefix", 32)?.map_or(32, |bits| bits as u32),
                ipv6: bits("ipv6-prefix", 128)?.map_or(IPV6_PREFIX_BITS, |bits| bits as u32),
            },
        })
    }

    /// What tells the host how to make the same key by itself. None: it cannot.
    pub fn standing(&self) -> Option<KeySource> {
        let [part] = &self.parts[..] else {
            return None;
        };
        match part {
            Part::All => Some(KeySource::Text("*".to_owned())),
            Part::Header(name) => Some(KeySource::Header(("h".to_owned(), name.clone()))),
            Part::ClientIp if self.prefixes.ipv4 == 32 => Some(KeySource::ClientIp("@".to_owned())),
            _ => None,
        }
    }

    /// None: the limit is not for this request.
    pub fn of(&self, request: &impl RequestView) -> Option<String> {
        let mut key = String::with_capacity(24);
        for part in &self.parts {
            if !key.is_empty() {
                key.push('|');
            }
            match (part.push(&mut key, request, self.prefixes), self.on_missing) {
                (true, _) => {}
                (false, OnMissing::ClientIp) => {
                    Part::ClientIp.push(&mut key, request, self.prefixes);
                }
                (false, OnMissing::Share) => key.push('-'),
                (false, OnMissing::Skip) => return None,
            }
        }
        Some(key)
    }
}

impl Part {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        Ok(match node.text()? {
            "all" => Self::All,
            "client-ip" => Self::ClientIp,
            "tenant" => Self::Tenant,
            "subject" => Self::Subject,
            "certificate" => Self::Certificate,
            "token" => Self::Token,
            "route" => Self::Route,
            other => {
                let Some(name) = other.strip_prefix("header:") else {
                    let known = " is no part of a key; write \"client-ip\", \"tenant\", \"subject\", \"certificate\", \"token\", \"route\", \"header:NAME\" or \"all\"";
                    return Err(node.wrong(quoted(other) + known));
                };
                check_token(name).map_err(|problem| node.wrong(problem))?;
                Self::Header(name.to_ascii_lowercase())
            }
        })
    }

    /// Appends this part of the request, with its mark; false if the request lacks it.
    fn push(&self, key: &mut String, request: &impl RequestView, prefixes: Prefixes) -> bool {
        match self {
            Self::All => {
                key.push('*');
                true
            }
            Self::ClientIp => push_address(key, request.client_ip(), prefixes),
            Self::Tenant => push_text(key, 't', request.identity().tenant.as_deref()),
            Self::Subject => push_text(key, 's', request.identity().subject.as_deref()),
            Self::Certificate => {
                let identity = request.identity();
                let subject = identity.subject.as_deref();
                push_text(key, 'c', subject.filter(|_| identity.method == "mtls"))
            }
            Self::Token => match request.header("authorization").as_deref().and_then(bearer) {
                Some(token) => {
                    key.push('b');
                    push_hash(key, token);
                    true
                }
                None => false,
            },
            Self::Route => push_text(key, 'r', Some(&request.info().route)),
            Self::Header(name) => push_text(key, 'h', request.header(name).as_deref()),
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6750#section-2.1
//# credentials = "Bearer" 1*SP b64token
fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn push_text(key: &mut String, mark: char, value: Option<&str>) -> bool {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return false;
    };
    key.push(mark);
    if value.len() > MAX_RAW_BYTES {
        push_hash(key, value);
        return true;
    }
    let special = |byte: u8| matches!(byte, b'|' | b'%' | b'#' | b'\n');
    if !value.bytes().any(special) {
        key.push_str(value);
        return true;
    }
    for c in value.chars() {
        match c {
            '|' => key.push_str("%7C"),
            '%' => key.push_str("%25"),
            '#' => key.push_str("%23"),
            '\n' => key.push_str("%0A"),
            other => key.push(other),
        }
    }
    true
}

fn push_hash(key: &mut String, value: &str) {
    key.push('#');
    push_hex(
        key,
        &blake3::hash(value.as_bytes()).as_bytes()[..HASH_BYTES],
    );
}

fn push_hex(key: &mut String, bytes: &[u8]) {
    for byte in bytes {
        key.push(char::from(HEX[usize::from(byte >> 4)]));
        key.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

/// The part of an address that says which subscriber it is.
fn push_address(key: &mut String, address: &str, prefixes: Prefixes) -> bool {
    let whole_ipv4 = prefixes.ipv4 == 32 && !address.contains(':');
    let parsed = if whole_ipv4 {
        None
    } else {
        address.parse().ok()
    };
    let v4 = match parsed {
        None => return push_text(key, '@', Some(address)),
        Some(IpAddr::V4(v4)) => v4,
        Some(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => v4,
            None => {
                let mask = u128::MAX << (128 - prefixes.ipv6);
                key.push_str("@6");
                push_hex(key, &(v6.to_bits() & mask).to_be_bytes());
                return true;
            }
        },
    };
    let masked = Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - prefixes.ipv4)));
    key.push('@');
    for (nth, octet) in masked.octets().into_iter().enumerate() {
        key.push_str(if nth > 0 { "." } else { "" });
        guest_sdk::settings::push_digits(key, u64::from(octet));
    }
    true
}
