//! Text as a program's inputs: words hashed into buckets, and counted (a "hashed bag of words").
//!
//! Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature Hashing for Large Scale Multitask Learning" (ICML 2009).

use serde::{Deserialize, Serialize};

use crate::program::{MAX_INPUTS, MAX_INTEGER};

/// How a text becomes integers, one for each bucket, between 0 and `most`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextEncoder {
    pub buckets: u32,
    pub most: i64,
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
}
