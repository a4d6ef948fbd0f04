//! What the slots of a counter ciphertext mean: named counters, sums and histograms, as JSON.
//!
//! Invariant: a [`Schema`] fits its slots, its names differ, and its digest is that of its meaning, not of its spelling.

use std::collections::BTreeSet;
use std::ops::Range;

use edge_types::Digest;
use serde::{Deserialize, Serialize};

use super::step::{MAX_MERGES, Step};
use crate::error::{FheError, Thing};
use crate::params::POLYNOMIAL_SIZE;

pub const FORMAT: &str = "veilgate-counters/1";
/// A file is read whole before it is parsed.
pub const MAX_SCHEMA_BYTES: usize = 256 << 10;
/// Every entry has a slot at least.
pub const MAX_ENTRIES: usize = POLYNOMIAL_SIZE;
/// Edges part one bucket more than there are of them.
pub const MAX_EDGES: usize = POLYNOMIAL_SIZE - 1;
pub const MAX_NAME_BYTES: usize = 64;
/// With as many contributions as there may be, a total is still far inside an i64.
pub const MAX_MOST: i64 = 1 << 40;
/// What fits one slot however many contributions are allowed.
pub const DEFAULT_MOST: i64 = 63;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// Counts up: never less than nothing.
    Counter {},
    /// Of numbers of either sign.
    Sum {},
    /// How many values lay below the first edge, from each edge to the next, and from the last one on.
    Histogram { edges: Vec<f64> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    #[serde(flatten)]
    pub kind: Kind,
    /// The most that one contribution adds; of a histogram, to one bucket. More takes more slots.
    #[serde(default = "default_most")]
    pub most: i64,
}

fn default_most() -> i64 {
    DEFAULT_MOST
}

impl Entry {
    /// Numbers that it consists of.
    fn values(&self) -> usize {
        match &self.kind {
            Kind::Counter {} | Kind::Sum {} => 1,
            Kind::Histogram { edges } => edges.len().saturating_add(1),
        }
    }

    fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        let named = (1..=MAX_NAME_BYTES).contains(&self.name.len()) && self.name.bytes().all(plain);
        if !named {
            return Err(format!(
                "the name `{}` is not 1 to {MAX_NAME_BYTES} of A-Z, a-z, 0-9, `-`, `_`, `.` and `/`",
                self.name.escape_debug()
            ));
        }
        let refused = |reason: String| Err(format!("`{}`: {reason}", self.name));
        if !(1..=MAX_MOST).contains(&self.most) {
            return refused(format!("most is 1 to {MAX_MOST}, not {}", self.most));
        }
        let Kind::Histogram { edges } = &self.kind else {
            return Ok(());
        };
        if !(1..=MAX_EDGES).contains(&edges.len()) {
            return refused(format!("1 to {MAX_EDGES} edges, not {}", edges.len()));
        }
        let finite = edges.iter().all(|edge| edge.is_finite());
        if !finite || edges.windows(2).any(|pair| pair[0] >= pair[1]) {
            return refused("edges are finite numbers, each greater than the one before".into());
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    format: String,
    /// The most contributions that one window of one stream may hold, over all sites: a power of two.
    contributions: u32,
    entries: Vec<Entry>,
}

/// A checked schema, with its slots assigned: entry after entry, and of each number its digits, the lowest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    file: SchemaFile,
    step: Step,
    digest: Digest,
    slots: usize,
}

impl Schema {
    pub fn new(contributions: u32, entries: Vec<Entry>) -> Result<Self, FheError> {
        Self::check(SchemaFile {
            format: FORMAT.into(),
            contributions,
            entries,
        })
    }

    pub fn from_json(json: &[u8]) -> Result<Self, FheError> {
        let thing = Thing::CounterSchema;
        if json.len() > MAX_SCHEMA_BYTES {
            return Err(FheError::Oversize {
                thing,
                limit: MAX_SCHEMA_BYTES,
                got: json.len(),
            });
        }
        let file = serde_json::from_slice(json)
            .map_err(|error| FheError::malformed(thing, error.to_string()))?;
        Self::check(file)
    }

    fn check(file: SchemaFile) -> Result<Self, FheError> {
        let malformed = |reason: String| FheError::malformed(Thing::CounterSchema, reason);
        if file.format != FORMAT {
            return Err(malformed(format!("its format is not `{FORMAT}`")));
        }
        let step = Some(file.contributions)
            .filter(|count| count.is_power_of_two())
            .and_then(|count| Step::of(count.ilog2()))
            .ok_or_else(|| {
                malformed(format!(
                    "contributions is a power of two up to {MAX_MERGES}, not {}",
                    file.contributions
                ))
            })?;
        if !(1..=MAX_ENTRIES).contains(&file.entries.len()) {
            return Err(malformed(format!(
                "1 to {MAX_ENTRIES} entries, not {}",
                file.entries.len()
            )));
        }
        let mut names = BTreeSet::new();
        let mut slots = 0usize;
        for entry in &file.entries {
            entry.check().map_err(malformed)?;
            if !names.insert(&entry.name) {
                return Err(malformed(format!("two entries are named `{}`", entry.name)));
            }
            slots = slots.saturating_add(entry.values() * digits(entry.most, step));
        }
        if slots > POLYNOMIAL_SIZE {
            return Err(malformed(format!(
                "its entries need {slots} slots, and there are {POLYNOMIAL_SIZE}: allow fewer contributions, or a smaller `most`, or make two schemas"
            )));
        }
        // The parsed form written again: white space, order of fields and spelling of numbers make no difference.
        let canonical = serde_json::to_vec(&file).map_err(|e| malformed(e.to_string()))?;
        let digest = Digest::of(&canonical);
        Ok(Self {
            file,
            step,
            digest,
            slots,
        })
    }

    /// The canonical form, whose BLAKE3 is the digest.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.file).unwrap_or_default()
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn step(&self) -> Step {
        self.step
    }

    pub fn entries(&self) -> &[Entry] {
        &self.file.entries
    }

    /// Of the 2048 that there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Entry after entry: where its slots lie, and how many of them each of its numbers has.
    pub(super) fn layout(&self) -> impl Iterator<Item = (&Entry, Range<usize>, usize)> {
        let mut at = 0;
        self.file.entries.iter().map(move |entry| {
            let digits = digits(entry.most, self.step);
            let from = at;
            at += entry.values() * digits;
            (entry, from..at, digits)
        })
    }
}

/// Slots that a number of up to `most`, of either sign, takes.
fn digits(most: i64, step: Step) -> usize {
    let bits = step.digit_bits();
    // The largest number that n digits hold has 2^(bits - 1) - 1 in each; the smallest one is further from nothing.
    let largest = (1i128 << (bits - 1)) - 1;
    let (mut digits, mut reach) = (1, largest);
    while reach < i128::from(most) {
        reach = (reach << bits) + largest;
        digits += 1;
    }
    digits
}
