//! The state that policies share: limiters, gates, breakers, key-value stores, metrics. It is right across threads and instances, and outlives a swap of the
//! policies. A policy names its primitives and says what they enforce; the operator's caps bound how much there can be.
//!
//! Invariant: one decision is one atomic step; no guest ever loops on a compare-and-swap.

mod breaker;
mod circuit;
mod gate;
mod key;
mod kv;
mod limiter;
mod meters;
mod rate;
mod registry;
pub(crate) mod shared;
mod table;

pub use breaker::{BreakerSnapshot, KeySnapshot};
pub use circuit::{CircuitState, RawCircuitSpec};
pub use rate::{Algorithm, MAX_LIMIT, RateSpec, RateVerdict};
pub use registry::{DefineError, PrimitiveCaps, Primitives, StoreSize};

pub(crate) use breaker::{Breaker, Permit};
pub(crate) use circuit::{Admission, Settlement};
pub(crate) use gate::{Gate, GatePlace};
pub(crate) use kv::{KvError, KvStore};
pub(crate) use limiter::{Few, Limiter, Share, take_all, take_each, take_into, tightest};
pub(crate) use meters::{MAX_METERS, Meter, MeterKind, MeterSpec, Series};

/// A specification that makes no sense, or is over a cap; the text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(pub(crate) &'static str);
