//! The names and numbers of the sync protocol: site, epoch, lane, sequence number, batch number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A site's name is one DNS label (it stands in certificates as `<site>.site.veilgate`): RFC 1035 allows 63 bytes.
pub const MAX_SITE_ID_LEN: usize = 63;

/// The name of a site: 1 to 63 of `a-z`, `0-9` and `-`, with no `-` at either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a site name: use 1 to {MAX_SITE_ID_LEN} of a-z, 0-9 and '-', with no '-' at either end"
)]
pub struct SiteIdError;

impl SiteId {
    pub fn new(name: impl Into<String>) -> Result<Self, SiteIdError> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let well_formed = (1..=MAX_SITE_ID_LEN).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if well_formed {
            Ok(Self(name))
        } else {
            Err(SiteIdError)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SiteId {
    type Err = SiteIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s)
    }
}

impl TryFrom<String> for SiteId {
    type Error = SiteIdError;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        Self::new(s)
    }
}

impl From<SiteId> for String {
    fn from(id: SiteId) -> Self {
        id.0
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one; the last one stays (2^64 - 1 is never reached in practice).
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<u64> for $name {
            fn from(n: u64) -> Self {
                Self(n)
            }
        }
    };
}

number! {
    /// Which life of a site's outbox a batch belongs to. The aggregator issues it (1, 2, ..); a higher one fences the lower.
    Epoch
}
number! {
    /// A record's number in its lane: dense, the first is 1, never given twice to records that were acknowledged.
    Seq
}
number! {
    /// A sealed batch's number in its lane: dense, the first is 1. 0 means "none yet".
    BatchNo
}

/// Streams of records that do not wait for each other. Only `Events` is in use; 0 (control) and 2 (bulk) are kept free.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    #[default]
    Events,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown lane: this version knows only \"events\" (1)")]
pub struct LaneError;

impl Lane {
    pub const ALL: [Self; 1] = [Self::Events];

    pub const fn wire(self) -> u8 {
        match self {
            Self::Events => 1,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
        }
    }
}

impl TryFrom<u8> for Lane {
    type Error = LaneError;
    fn try_from(wire: u8) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.wire() == wire)
            .ok_or(LaneError)
    }
}

impl FromStr for Lane {
    type Err = LaneError;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.name() == name)
            .ok_or(LaneError)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn site_names_are_dns_labels() {
        for good in ["a", "site-1", "0", &"x".repeat(63)] {
            assert_eq!(SiteId::new(good).map(String::from), Ok(good.to_string()));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "ä", &"x".repeat(64)] {
            assert_eq!(SiteId::new(bad), Err(SiteIdError), "{bad}");
        }
        assert!(serde_json::from_str::<SiteId>("\"../x\"").is_err());
    }

    #[test]
    fn lanes_have_one_number_and_one_name() {
        for lane in Lane::ALL {
            assert_eq!(Lane::try_from(lane.wire()), Ok(lane));
            assert_eq!(lane.name().parse(), Ok(lane));
            assert_eq!(
                serde_json::to_string(&lane).ok(),
                Some(format!("\"{lane}\""))
            );
        }
        assert!(Lane::try_from(0).is_err());
        assert!("bulk".parse::<Lane>().is_err());
    }
}
