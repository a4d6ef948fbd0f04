//! Counters, sums and histograms that anybody with the owner's public key adds to, and only the owner reads.
//!
//! Whoever counts encrypts one number for each slot of a ring element; whoever merges adds words, and learns nothing;
//! the owner of the client key decrypts the totals. The formats are in docs/specs/fhe-counters.md.
//! Invariant: ciphertexts that are added are of one public key, one schema and one window, and of so few contributions
//! that no slot is read wrong more often than 2^-128, noise and range both considered.

mod ciphertext;
mod contribution;
mod public_key;
mod read;
mod record;
mod schema;
mod step;
mod window;

pub use ciphertext::{COUNTER_BYTES, CounterCiphertext, CounterHeader};
pub use contribution::Contribution;
pub use public_key::{PUBLIC_KEY_BYTES, PublicKey, PublicKeyId};
pub use read::{Total, TotalValue, read};
pub use record::WindowRecord;
pub use schema::{
    DEFAULT_MOST, Entry, Kind, MAX_EDGES, MAX_ENTRIES, MAX_MOST, MAX_SCHEMA_BYTES, Schema,
};
pub use step::{MAX_MERGES, MAX_MERGES_LOG2, Step, WORD_BITS};
pub use window::{MAX_WINDOW_SECONDS, Window};

#[cfg(test)]
mod tests;
