//! What the owner of the client key sees: totals by name.

use serde::Serialize;
use tfhe::core_crypto::prelude::*;

use super::ciphertext::CounterCiphertext;
use super::public_key::PublicKey;
use super::schema::{Kind, Schema};
use crate::error::{FheError, Thing};
use crate::keys::ClientKey;
use crate::params::POLYNOMIAL_SIZE;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Total {
    pub name: String,
    #[serde(flatten)]
    pub value: TotalValue,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TotalValue {
    Total(i64),
    Histogram { edges: Vec<f64>, buckets: Vec<i64> },
}

/// Exact, if every contributor kept to the schema.
pub fn read(
    key: &ClientKey,
    schema: &Schema,
    counters: &CounterCiphertext,
) -> Result<Vec<Total>, FheError> {
    let (thing, header) = (Thing::CounterCiphertext, counters.header());
    if header.key != PublicKey::of(key)?.id() {
        return Err(FheError::mismatch(
            thing,
            "it is encrypted under the public key of another client key",
        ));
    }
    if header.schema != schema.digest() || header.step != schema.step() {
        return Err(FheError::mismatch(
            thing,
            "it is of another schema, or another version of it",
        ));
    }
    let slots = decrypt(key, counters);
    let bits = schema.step().digit_bits();
    let number = |digits: &[i64]| -> Result<i64, FheError> {
        let sum = digits
            .iter()
            .rev()
            .fold(0i128, |sum, &digit| (sum << bits) + i128::from(digit));
        i64::try_from(sum).map_err(|_| {
            FheError::malformed(
                thing,
                "a total is larger than its schema allows: somebody sent what is no contribution",
            )
        })
    };
    let mut totals = Vec::with_capacity(schema.entries().len());
    for (entry, range, digits) in schema.layout() {
        let numbers: Vec<i64> = slots[range]
            .chunks(digits)
            .map(number)
            .collect::<Result<_, _>>()?;
        let value = match &entry.kind {
            Kind::Counter {} | Kind::Sum {} => TotalValue::Total(numbers[0]),
            Kind::Histogram { edges } => TotalValue::Histogram {
                edges: edges.clone(),
                buckets: numbers,
            },
        };
        totals.push(Total {
            name: entry.name.clone(),
            value,
        });
    }
    Ok(totals)
}

/// Of every slot, the nearest count.
fn decrypt(key: &ClientKey, counters: &CounterCiphertext) -> Vec<i64> {
    let step = counters.header().step.bits();
    phases(key, counters)
        .iter()
        .map(|phase| (phase.wrapping_add(1 << (step - 1)) as i64) >> step)
        .collect()
}

/// Body minus mask times key: the plaintext and its noise.
pub(super) fn phases(key: &ClientKey, counters: &CounterCiphertext) -> Vec<u64> {
    let (mask, body) = counters.words();
    let words = [mask, body].concat();
    let ciphertext = GlweCiphertext::from_container(
        words,
        PolynomialSize(POLYNOMIAL_SIZE),
        CiphertextModulus::new_native(),
    );
    let mut plain = PlaintextList::new(0u64, PlaintextCount(POLYNOMIAL_SIZE));
    decrypt_glwe_ciphertext(key.large(), &ciphertext, &mut plain);
    plain.into_container()
}
