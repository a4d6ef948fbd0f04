//! Weighted targets: a number in, an upstream out.

use std::fmt;

use guest_sdk::ConfigError;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// A split over more upstreams is a balancer's work.
const MAX_TARGETS: usize = 16;
/// Per cent of a per cent is fine enough; sums of these stay far from overflow.
const MAX_WEIGHT: u32 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawTarget {
    upstream: String,
    #[serde(default = "one")]
    weight: u32,
}

fn one() -> u32 {
    1
}

/// The name of an upstream, or a list of weighted ones.
#[derive(Debug)]
pub struct RawTargets(Vec<RawTarget>);

#[derive(Debug)]
pub struct Targets {
    /// Each with the sum of the weights up to and with it. Never empty; the last sum is above zero.
    upto: Vec<(u64, String)>,
    total: u64,
}

impl Targets {
    pub fn new(raw: RawTargets) -> Result<Self, ConfigError> {
        let count = raw.0.len();
        if count == 0 || count > MAX_TARGETS {
            return Err(ConfigError::at(
                "to",
                format!("{count} upstreams; from 1 to {MAX_TARGETS} are taken"),
            ));
        }
        let mut upto = Vec::with_capacity(count);
        let mut total = 0;
        for (index, target) in raw.0.into_iter().enumerate() {
            if target.upstream.is_empty() {
                return Err(ConfigError::at(
                    format!("to[{index}].upstream"),
                    "names no upstream",
                ));
            }
            if target.weight > MAX_WEIGHT {
                let problem = format!("{} is too much; at most {MAX_WEIGHT}", target.weight);
                return Err(ConfigError::at(format!("to[{index}].weight"), problem));
            }
            total += u64::from(target.weight);
            upto.push((total, target.upstream));
        }
        if total == 0 {
            return Err(ConfigError::at(
                "to",
                "every weight is 0: no request could go anywhere",
            ));
        }
        Ok(Self { upto, total })
    }

    /// `number` is asked for only if there is a choice; over all numbers, each target gets its share.
    pub fn pick(&self, number: impl FnOnce() -> u64) -> &str {
        let point = match self.upto.len() {
            1 => 0,
            // scaled by multiplication: the share does not depend on the number's low bits
            _ => ((u128::from(number()) * u128::from(self.total)) >> 64) as u64,
        };
        let found = self.upto.iter().find(|(upto, _)| point < *upto);
        // point is below the total, which is the last sum
        found
            .or(self.upto.last())
            .map_or("", |(_, upstream)| upstream)
    }
}

/// FNV-1a with a finisher that spreads short texts over all bits. The same in every version: callers stay where they are.
pub fn stable_hash(salt: &str, value: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in salt.bytes().chain([0xff]).chain(value.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

impl<'de> Deserialize<'de> for RawTargets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = RawTargets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an upstream, or a list of { upstream, weight }")
            }

            fn visit_str<E: de::Error>(self, upstream: &str) -> Result<RawTargets, E> {
                Ok(RawTargets(vec![RawTarget {
                    upstream: upstream.to_owned(),
                    weight: 1,
                }]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawTargets, A::Error> {
                let mut targets = Vec::new();
                while let Some(target) = list.next_element()? {
                    targets.push(target);
                }
                Ok(RawTargets(targets))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
