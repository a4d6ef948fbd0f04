//! Values as people write them in a config file: durations (`250ms`, `5s`) and sizes (`64KiB`, `1GiB`), each read into its unit.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};

/// A duration: a whole number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub Duration);

/// A size in bytes: a whole number, with or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

const DURATION_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl Span {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        number_and_unit(text, &DURATION_UNITS).map(|millis| Self(Duration::from_millis(millis)))
    }
}

impl Size {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        number_and_unit(text, &SIZE_UNITS).map(Self)
    }
}

impl<'de> de::Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration in quotes, such as \"250ms\", \"5s\", \"2m\", \"1h\" or \"7d\"",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

impl<'de> de::Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a size: a number of bytes, or text such as \"64KiB\", \"10MB\" or \"1GiB\"",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5000),
            ("2 m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                Span::parse(text),
                Some(Span(Duration::from_millis(millis))),
                "{text}"
            );
        }
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("64KiB", 65_536),
            ("10MB", 10_000_000),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for bad in [
            "",
            "s",
            "5",
            "-5s",
            "5 seconds",
            "99999999999999999999s",
            "99999999999999999d",
            "1.5s",
        ] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
        for bad in ["", "KiB", "-1", "1kib", "99999999999999999GiB"] {
            assert_eq!(Size::parse(bad), None, "{bad}");
        }
    }
}
