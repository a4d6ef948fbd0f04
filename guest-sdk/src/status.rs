//! Sets of response statuses as settings write them: `429`, `"429"`, `"5xx"`, `"500-504"`, or a list of these.

use std::fmt;
use std::ops::RangeInclusive;

use crate::settings::quoted;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusSet {
    ranges: Vec<RangeInclusive<u16>>,
}

impl StatusSet {
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&status))
    }

    /// This one alone.
    pub fn of(status: u16) -> Self {
        Self {
            ranges: vec![status..=status],
        }
    }

    /// First and last status of each range, as the host takes them.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let ends = |range: &RangeInclusive<u16>| (*range.start(), *range.end());
        self.ranges.iter().map(ends).collect()
    }

    /// Adds what `text` names.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let wrong = || {
            let problem = " is no set of statuses; write \"429\", \"5xx\" or \"500-504\"";
            [&quoted(text), problem].concat()
        };
        let range = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(hundreds), _) => {
                let hundreds: u16 = hundreds.parse().map_err(|_| wrong())?;
                let first = hundreds.checked_mul(100).ok_or_else(wrong)?;
                first..=first.saturating_add(99)
            }
            (None, Some((first, last))) => {
                first.parse().map_err(|_| wrong())?..=last.parse().map_err(|_| wrong())?
            }
            (None, None) => {
                let status = text.parse().map_err(|_| wrong())?;
                status..=status
            }
        };
        if range.is_empty() || *range.start() < 100 || *range.end() > 599 {
            return Err(wrong());
        }
        self.ranges.push(range);
        Ok(())
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Statuses(StatusSet);
        impl<'de> Visitor<'de> for Statuses {
            type Value = StatusSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, \"5xx\", \"500-504\", or a list of these")
            }

            fn visit_u64<E: de::Error>(self, status: u64) -> Result<StatusSet, E> {
                self.visit_str(&status.to_string())
            }

            fn visit_str<E: de::Error>(mut self, text: &str) -> Result<StatusSet, E> {
                self.0.add(text).map_err(de::Error::custom)?;
                Ok(self.0)
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<StatusSet, A::Error> {
                while let Some(set) = list.next_element::<StatusSet>()? {
                    self.0.ranges.extend(set.ranges);
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_any(Statuses(StatusSet::default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::StatusSet;

    proptest! {
        #[test]
        fn no_set_of_statuses_upsets_the_parser(text in ".*", status: u16) {
            let mut set = StatusSet::default();
            if set.add(&text).is_ok() {
                prop_assert!(!set.contains(status) || (100..600).contains(&status));
            }
        }

        #[test]
        fn a_range_holds_what_is_between_its_ends(first in 100_u16..600, last in 100_u16..600, status: u16) {
            let mut set = StatusSet::default();
            let taken = set.add(&format!("{first}-{last}")).is_ok();
            prop_assert_eq!(taken, first <= last);
            prop_assert_eq!(set.contains(status), (first..=last).contains(&status));
        }
    }
}
