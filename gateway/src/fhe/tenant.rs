//! Whose keys: the name under which everything of one customer is kept apart, and what that customer may have.
//!
//! Invariant: two tenants are the same exactly if their names are; the settings travel along and never tell them apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

mod registry;

pub(super) use registry::Tenants;
pub use registry::{TenantsError, TokenHash, TokenSource};

const MAX_BYTES: usize = 64;
/// Before the hash that stands for a certificate's subject that is no name by itself.
const HASHED_PREFIX: &str = "cert-";
/// Of that hash, in hex: 128 bits, which nobody can make two subjects fit.
const HASHED_DIGITS: usize = 32;

/// Of one tenant, so that nobody fills the disk alone.
pub const DEFAULT_MAX_KEYS: usize = 64;
/// In the middle, so that others can be put before and behind.
pub const DEFAULT_PRIORITY: u8 = 5;

/// What one tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Keys in use at once; those that were replaced and are in their grace are let be up to as many again.
    pub max_keys: usize,
    /// Of all its keys and unfinished uploads together.
    pub max_key_bytes: u64,
    /// 0 to 9: a higher one is computed for earlier.
    pub priority: u8,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            max_keys: DEFAULT_MAX_KEYS,
            max_key_bytes: u64::MAX,
            priority: DEFAULT_PRIORITY,
        }
    }
}

/// A name of 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or digit: safe as the name of a directory.
#[derive(Clone, Debug)]
pub struct Tenant {
    name: Arc<str>,
    settings: TenantSettings,
}

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Tenant {}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant's name is 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begins with a letter or a digit"
)]
pub struct TenantError;

impl FromStr for Tenant {
    type Err = TenantError;

    fn from_str(name: &str) -> Result<Self, TenantError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let sound = (1..=MAX_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|b| plain(b) || matches!(b, b'-' | b'_' | b'.'))
            && name.bytes().next().is_some_and(plain);
        if sound {
            Ok(Self {
                name: name.into(),
                settings: TenantSettings::default(),
            })
        } else {
            Err(TenantError)
        }
    }
}

/// Where no authentication names one, all requests are of one tenant.
impl Default for Tenant {
    fn default() -> Self {
        Self {
            name: "default".into(),
            settings: TenantSettings::default(),
        }
    }
}

impl Tenant {
    /// Of a certificate's subject. One that is not a name by itself is hashed into one: whoever has a certificate never
    /// shares the keys of those who have none.
    pub fn of_subject(subject: &str) -> Self {
        subject.parse().unwrap_or_else(|_| {
            let hash = blake3::hash(subject.as_bytes()).to_hex();
            Self {
                name: format!("{HASHED_PREFIX}{}", &hash[..HASHED_DIGITS]).into(),
                settings: TenantSettings::default(),
            }
        })
    }

    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub fn settings(&self) -> &TenantSettings {
        &self.settings
    }

    pub fn with_settings(self, settings: TenantSettings) -> Self {
        Self { settings, ..self }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests;
