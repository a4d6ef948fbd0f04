//! Text as a program's inputs: words hashed into buckets, and counted (a "hashed bag of words").
//!
//! The buckets are those of scikit-learn's `HashingVectorizer(n_features=buckets, alternate_sign=False)` with its
//! defaults (lower case, words of two characters or more): a model trained on those counts can be used as it is.
//! Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature Hashing for Large Scale Multitask Learning" (ICML 2009).

use serde::{Deserialize, Serialize};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::program::{MAX_INPUTS, MAX_INTEGER};

/// Of one text: some sixteen pages, and far more than one prompt of the models that are asked here.
pub const MAX_BYTES: usize = 64 << 10;
/// Words of one text: no count, and no sum of counts, is above this.
pub const MAX_TOKENS: usize = 4096;
/// Characters of a word, at least: shorter ones are not counted, as scikit-learn's pattern `\b\w\w+\b` has it.
const MIN_WORD: usize = 2;

/// How a text becomes integers, one for each bucket, between 0 and `most`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextEncoder {
    pub buckets: u32,
    pub most: i64,
    #[serde(default, skip_serializing_if = "Norm::is_none")]
    pub norm: Norm,
}

/// What a count becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// It stays a count; above `most`, `most`.
    #[default]
    None,
    /// Its share of the counts' Euclidean length, rounded in units of 1/`most`.
    L2,
}

impl Norm {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl TextEncoder {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=MAX_INPUTS as u32).contains(&self.buckets) {
            return Err(format!("1 to {MAX_INPUTS} buckets, not {}", self.buckets));
        }
        if !(1..=MAX_INTEGER).contains(&self.most) {
            return Err("most is 1 to 2^40".into());
        }
        Ok(())
    }

    /// The integers that are encrypted, one for each bucket. An error says what is wrong with the text.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, String> {
        let counts = self.counts(text)?;
        Ok(match self.norm {
            Norm::None => counts
                .iter()
                .map(|&c| i64::from(c).min(self.most))
                .collect(),
            Norm::L2 => {
                let share = |value: f64| (value * self.most as f64).round() as i64;
                l2(&counts).into_iter().map(share).collect()
            }
        })
    }

    /// What a model in the clear is given for the same text: counts, or shares of their length, not rounded.
    pub fn features(&self, text: &str) -> Result<Vec<f64>, String> {
        let counts = self.counts(text)?;
        Ok(match self.norm {
            Norm::None => counts.iter().map(|&count| f64::from(count)).collect(),
            Norm::L2 => l2(&counts),
        })
    }

    /// A feature of the model in units of the encoded integers.
    pub fn unit(&self) -> f64 {
        match self.norm {
            Norm::None => 1.0,
            Norm::L2 => 1.0 / self.most as f64,
        }
    }

    /// Words in each bucket.
    fn counts(&self, text: &str) -> Result<Vec<u32>, String> {
        if text.len() > MAX_BYTES {
            return Err(format!(
                "the text has {} bytes, and at most {MAX_BYTES} are encoded; cut it into parts",
                text.len()
            ));
        }
        let mut counts = vec![0u32; self.buckets as usize];
        let lower = text.to_lowercase();
        for (index, word) in words(&lower).enumerate() {
            if index == MAX_TOKENS {
                return Err(format!(
                    "the text has more than {MAX_TOKENS} words; cut it into parts"
                ));
            }
            if let Some(count) = counts.get_mut(bucket(word, self.buckets)) {
                *count += 1;
            }
        }
        Ok(counts)
    }
}

/// Each count's share of the Euclidean length of all of them; nothing but zeros for a text without words.
fn l2(counts: &[u32]) -> Vec<f64> {
    let squares: f64 = counts.iter().map(|&count| f64::from(count).powi(2)).sum();
    let length = if squares > 0.0 { squares.sqrt() } else { 1.0 };
    counts
        .iter()
        .map(|&count| f64::from(count) / length)
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c))
        .filter(|word| word.chars().nth(MIN_WORD - 1).is_some())
}

/// Python's `\w`: letters, numbers and the underscore. Marks that belong to a letter are not of it, unlike Rust's `is_alphanumeric`.
fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number
    )
}

/// |hash| modulo `buckets`, where the hash is taken as an i32: what scikit-learn's `FeatureHasher` does.
fn bucket(word: &str, buckets: u32) -> usize {
    let hash = murmur3(word.as_bytes()) as i32;
    // |i32::MIN| is no i32; scikit-learn takes i32::MAX - (buckets - 1) in its place, which is the same modulo `buckets`.
    let bucket = hash.unsigned_abs() % buckets.max(1);
    bucket as usize
}

/// MurmurHash3 x86 32 with seed 0, by Austin Appleby (public domain).
fn murmur3(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mixed = |block: u32| block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0u32;
    for block in blocks {
        hash ^= mixed(u32::from_le_bytes(*block));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let last = tail
        .iter()
        .rev()
        .fold(0u32, |word, &byte| word << 8 | u32::from(byte));
    if !tail.is_empty() {
        hash ^= mixed(last);
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests;
