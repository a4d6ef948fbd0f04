//! Who a request is of: by its certificate, by its bearer token, or nobody in particular.
//!
//! Invariants: a token is held as its hash alone, and compared in constant time; a token that is wrong is never overlooked
//! because a certificate is there; no error and no log line holds a token or any part of one.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Tenant, TenantSettings};
use crate::fhe::Problem;

/// What `veilgate keys token` prints has 68; what is shorter than this can be guessed.
const MIN_TOKEN_BYTES: usize = 32;
/// A longer one is no token, and is not hashed.
const MAX_TOKEN_BYTES: usize = 512;
const HASH_PREFIX: &str = "blake3:";
const SCHEME: &str = "bearer";

/// BLAKE3 of a token: enough to know it again, useless for asking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH_PREFIX}{}", self.0.to_hex())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token's hash is written blake3: and 64 hexadecimal digits")]
pub struct TokenHashError;

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<Self, TokenHashError> {
        let digits = text.strip_prefix(HASH_PREFIX).ok_or(TokenHashError)?;
        blake3::Hash::from_hex(digits)
            .map(Self)
            .map_err(|_| TokenHashError)
    }
}

/// Where a tenant's token is known from; a tenant may have one of each, so that it can change its token without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    Hash(TokenHash),
    /// A file with the token itself.
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    #[error("the token of tenant `{tenant}` cannot be read from {}: {source}", path.display())]
    Read {
        tenant: Tenant,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("others on this machine can read {}, the token of tenant `{tenant}`; run `chmod 600` on it", path.display())]
    Exposed { tenant: Tenant, path: PathBuf },
    #[error("{} holds no token for tenant `{tenant}`: it must be one line of {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} visible characters; `veilgate keys token` makes one", path.display())]
    NoToken { tenant: Tenant, path: PathBuf },
    #[error("tenants `{one}` and `{other}` have the same token; give each its own")]
    Shared { one: Tenant, other: Tenant },
}

/// All tenants that are known by name, and what holds for the others.
#[derive(Debug)]
pub(in crate::fhe) struct Tenants {
    anonymous: bool,
    defaults: TenantSettings,
    named: HashMap<String, TenantSettings>,
    tokens: Vec<(TokenHash, Tenant)>,
}

/// What the Authorization field says.
enum Credential<'r> {
    None,
    Token(&'r str),
    /// Something that is for us and cannot be right.
    Wrong,
}

impl Tenants {
    /// Reads the tokens that are in files. Blocks on the disk.
    pub fn open(
        anonymous: bool,
        defaults: TenantSettings,
        named: &[(Tenant, Vec<TokenSource>)],
    ) -> Result<Self, TenantsError> {
        let mut tokens: Vec<(TokenHash, Tenant)> = Vec::new();
        for (tenant, sources) in named {
            for source in sources {
                let hash = match source {
                    TokenSource::Hash(hash) => *hash,
                    TokenSource::File(path) => read_token(tenant, path)?,
                };
                let taken = tokens.iter().find(|(known, _)| *known == hash);
                if let Some((_, one)) = taken.filter(|(_, one)| one != tenant) {
                    return Err(TenantsError::Shared {
                        one: one.clone(),
                        other: tenant.clone(),
                    });
                }
                tokens.push((hash, tenant.clone()));
            }
        }
        let settings = |(tenant, _): &(Tenant, _)| (tenant.as_str().to_owned(), *tenant.settings());
        Ok(Self {
            anonymous,
            defaults,
            named: named.iter().map(settings).collect(),
            tokens,
        })
    }

    /// Whether the Authorization field is read at all.
    pub fn have_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whose request it is, given whom its certificate names.
    pub fn identify(
        &self,
        certified: Option<Tenant>,
        headers: &HeaderMap,
    ) -> Result<Tenant, Problem> {
        // Without any token to know, the field is not for us: a policy may have used it.
        let by_token = match self.have_tokens() {
            false => None,
            true => match credential(headers) {
                Credential::None => None,
                Credential::Token(token) => Some(self.owner(token).ok_or_else(wrong_token)?),
                Credential::Wrong => return Err(wrong_token()),
            },
        };
        let tenant = match (certified, by_token) {
            (Some(certified), Some(named)) if certified != *named => return Err(two_identities()),
            (Some(tenant), _) => tenant,
            (None, Some(tenant)) => tenant.clone(),
            (None, None) if self.anonymous => Tenant::default(),
            (None, None) => return Err(unauthenticated()),
        };
        Ok(self.with_settings(tenant))
    }

    fn with_settings(&self, tenant: Tenant) -> Tenant {
        let settings = *self.named.get(tenant.as_str()).unwrap_or(&self.defaults);
        tenant.with_settings(settings)
    }

    /// All are looked at: the time it takes does not depend on which it was, nor on how much of a hash was right.
    fn owner(&self, token: &str) -> Option<&Tenant> {
        let hash = TokenHash::of(token);
        let mut owner = None;
        for (known, tenant) in &self.tokens {
            // blake3 compares hashes in constant time.
            if *known == hash {
                owner = Some(tenant);
            }
        }
        owner
    }
}

fn credential(headers: &HeaderMap) -> Credential<'_> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else {
        return Credential::None;
    };
    if fields.next().is_some() {
        return Credential::Wrong;
    }
    let Ok(text) = field.to_str() else {
        return Credential::Wrong;
    };
    let (scheme, token) = text.trim().split_once(' ').unwrap_or((text, ""));
    match scheme.eq_ignore_ascii_case(SCHEME) {
        true if sound(token.trim()) => Credential::Token(token.trim()),
        true => Credential::Wrong,
        // Another scheme says nothing about who this is here.
        false => Credential::None,
    }
}

fn sound(token: &str) -> bool {
    (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_token(tenant: &Tenant, path: &Path) -> Result<TokenHash, TenantsError> {
    let unreadable = |source| TenantsError::Read {
        tenant: tenant.clone(),
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(TenantsError::Exposed {
                tenant: tenant.clone(),
                path: path.to_owned(),
            });
        }
    }
    let mut text = String::new();
    // One line, and one byte more to see that it is longer.
    file.take(MAX_TOKEN_BYTES as u64 + 2)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    match text.trim() {
        token if sound(token) => Ok(TokenHash::of(token)),
        _ => Err(TenantsError::NoToken {
            tenant: tenant.clone(),
            path: path.to_owned(),
        }),
    }
}

/// RFC 6750, section 3: without a credential no error is named.
fn unauthenticated() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "say who you are: with a client certificate, or with Authorization: Bearer and your token",
    )
    .challenged(HeaderValue::from_static("Bearer realm=\"fhe\""))
}

fn wrong_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "the bearer token is not known here; ask the gateway's operator for one",
    )
    .challenged(HeaderValue::from_static(
        "Bearer realm=\"fhe\", error=\"invalid_token\"",
    ))
}

fn two_identities() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "two-identities",
        "the certificate and the bearer token name different tenants; send one of them, or two that agree",
    )
}
