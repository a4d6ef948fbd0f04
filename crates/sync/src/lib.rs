//! Brings an outbox's sealed batches to the aggregator, for as long as it takes (docs/specs/sync.md).
//!
//! - [`state`]: what to do next, decided purely: events in, actions out, time and chance passed in.
//! - [`survey`]: what the aggregator has lost; pure.
//! - [`backoff`], [`pace`]: when to try again, how fast to send; pure as well.
//! - [`client`]: the requests of the protocol on one HTTP/3 connection.
//! - [`driver`]: joins these with an outbox, the clock and the network.
//!
//! Invariants: a batch is acknowledged to the outbox only when the aggregator has said that it holds those bytes;
//! there is no last attempt; a batch is set aside only when the aggregator has refused it for good.

pub mod backoff;
pub mod client;
mod config;
pub mod driver;
pub mod pace;
pub mod state;
mod status;
pub mod survey;

pub use config::SyncConfig;
pub use driver::{SyncDriver, SyncHandle};
pub use status::{Condition, SyncStatus, Traffic};
