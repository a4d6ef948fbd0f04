//! What a site and the aggregator say to each other: sealed batches (docs/specs/batch.md) and the JSON of the sync protocol.
//! Pure: no I/O, no clock.
//!
//! Invariants: what `parse` and `verify` return obeys every rule of the format; no input makes them panic, and none makes them
//! take more memory than the limits named in [`limits`].

mod batch;
mod codec;
mod header;
pub mod limits;
mod protocol;

pub use batch::{BatchBuilder, Decoded, Record, SealedBatch, verify};
pub use header::{BatchError, BatchHeader, BatchMeta, Codec, SeqRange};
pub use protocol::{
    EnrollReply, EnrollRequest, LaneState, PROBLEM_CONTENT_TYPE, Problem, ProblemKind, PutReply,
    PutStatus, Route, StateReply, batch_path, batch_ranges, epochs_path, site_dns_name,
    site_of_dns_name, state_path,
};
