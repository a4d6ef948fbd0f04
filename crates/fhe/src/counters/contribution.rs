//! What one contributor counted, in the clear, and its encryption.

use super::ciphertext::CounterCiphertext;
use super::public_key::PublicKey;
use super::schema::{Entry, Kind, Schema};
use super::window::Window;
use crate::entropy::Entropy;
use crate::error::FheError;

/// Numbers by name, each within what its entry allows. What was not named is nothing: all slots are encrypted alike.
#[derive(Clone, Debug)]
pub struct Contribution<'a> {
    schema: &'a Schema,
    /// One number for each counter, sum and bucket, in the order of the schema.
    values: Vec<Vec<i64>>,
}

impl<'a> Contribution<'a> {
    pub fn new(schema: &'a Schema) -> Self {
        let zeros = |(_, slots, digits): (&Entry, std::ops::Range<usize>, usize)| {
            vec![0; slots.len() / digits]
        };
        Self {
            schema,
            values: schema.layout().map(zeros).collect(),
        }
    }

    /// Adds to a counter or a sum.
    pub fn add(&mut self, name: &str, amount: i64) -> Result<(), FheError> {
        let (entry, values) = self.entry(name)?;
        match entry.kind {
            Kind::Counter {} if amount < 0 => {
                Err(refused(name, "a counter only counts up; make it a sum"))
            }
            Kind::Counter {} | Kind::Sum {} => bump(entry, &mut values[0], amount),
            Kind::Histogram { .. } => Err(refused(
                name,
                "this is a histogram: it takes values to be sorted into it, not amounts",
            )),
        }
    }

    /// Puts one value into its bucket of a histogram.
    pub fn observe(&mut self, name: &str, value: f64) -> Result<(), FheError> {
        let (entry, values) = self.entry(name)?;
        let Kind::Histogram { edges } = &entry.kind else {
            return Err(refused(name, "this is no histogram: it takes amounts"));
        };
        if value.is_nan() {
            return Err(refused(name, "this is not a number"));
        }
        let bucket = edges.partition_point(|edge| *edge <= value);
        bump(entry, &mut values[bucket], 1)
    }

    /// `text` as what `name` takes: an amount, or for a histogram a value.
    pub fn take(&mut self, name: &str, text: &str) -> Result<(), FheError> {
        let (entry, _) = self.entry(name)?;
        match entry.kind {
            Kind::Counter {} | Kind::Sum {} => match text.parse() {
                Ok(amount) => self.add(name, amount),
                Err(_) => Err(refused(name, &format!("`{text}` is no whole number"))),
            },
            Kind::Histogram { .. } => match text.parse() {
                Ok(value) => self.observe(name, value),
                Err(_) => Err(refused(name, &format!("`{text}` is no number"))),
            },
        }
    }

    pub fn encrypt(
        &self,
        public: &PublicKey,
        window: Window,
        entropy: &mut dyn Entropy,
    ) -> Result<CounterCiphertext, FheError> {
        let (schema, step) = (self.schema, self.schema.step());
        CounterCiphertext::encrypt(
            public,
            schema.digest(),
            window,
            step,
            &self.slots(),
            entropy,
        )
    }

    /// Digits of each number, the lowest first, each from −2^(bits − 1) to 2^(bits − 1) − 1.
    pub(super) fn slots(&self) -> Vec<i64> {
        let bits = self.schema.step().digit_bits();
        let mut slots = Vec::with_capacity(self.schema.slots());
        for ((_, _, digits), values) in self.schema.layout().zip(&self.values) {
            for &value in values {
                let mut rest = value;
                for _ in 0..digits {
                    let digit = rest << (64 - bits) >> (64 - bits);
                    slots.push(digit);
                    rest = (rest - digit) >> bits;
                }
            }
        }
        slots
    }

    fn entry(&mut self, name: &str) -> Result<(&'a Entry, &mut Vec<i64>), FheError> {
        let entries = self.schema.entries();
        entries
            .iter()
            .zip(&mut self.values)
            .find(|(entry, _)| entry.name == name)
            .ok_or_else(|| refused(name, "the schema has no entry of this name"))
    }
}

fn bump(entry: &Entry, value: &mut i64, amount: i64) -> Result<(), FheError> {
    let sum = value
        .checked_add(amount)
        .filter(|sum| sum.unsigned_abs() <= entry.most.unsigned_abs());
    match sum {
        Some(sum) => *value = sum,
        None => {
            return Err(refused(
                &entry.name,
                &format!(
                    "one contribution adds {} at most; send what is above in a second one, or raise `most` in the schema",
                    entry.most
                ),
            ));
        }
    }
    Ok(())
}

fn refused(name: &str, reason: &str) -> FheError {
    FheError::Value {
        name: name.into(),
        reason: reason.into(),
    }
}
