//! Whose keys: the name under which everything of one customer is kept apart.

use std::fmt;
use std::str::FromStr;

const MAX_BYTES: usize = 64;

/// 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or digit: safe as the name of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(String);

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
            Ok(Self(name.to_owned()))
        } else {
            Err(TenantError)
        }
    }
}

/// Where no authentication names one, all requests are of one tenant.
impl Default for Tenant {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl Tenant {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_directory() {
        for good in ["default", "site-7.example_x", "0"] {
            assert_eq!(good.parse::<Tenant>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-x", "a/b", "A", "a b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<Tenant>().is_err(), "{bad:?}");
        }
    }
}
