//! The outbox: what a site has to tell the centre, durable before anyone is told so (docs/specs/outbox.md).
//!
//! Records are appended to segment files of our own, many with one fsync; a keeper seals them into immutable batch files; a
//! small sled database keeps the books over both and can be lost at any time.
//!
//! Life of a record: [`Outbox::append`] → `writer.rs` (group, write, fsync, answer) → `segment.rs` / `frame.rs` (bytes) →
//! `keeper.rs` and `gather.rs` (seal) → `sealed.rs` (batch file) → [`Outbox::read_batch`], [`Outbox::ack`] → hold time → gone.
//! `ledger.rs` knows the state of all of it, in memory and purely; `rows.rs` and `store.rs` keep that in sled; `witness.rs`
//! watches over it from outside; `recover.rs` puts it together again at open.
//!
//! Invariants:
//! - A receipt means that the record is on disk. Its number is never given to another record.
//! - Every number that was given is, in the end, in exactly one batch: as a record or as part of an explicit gap.
//! - Nothing is dropped to make room: an outbox that is full says so.
//! - Losing or damaging sled's files loses no record. Damage to any one file costs what was in it, is counted, and stops nothing.

mod aside;
mod config;
mod disk;
mod error;
mod frame;
mod gather;
mod identity;
pub mod inspect;
mod keeper;
mod layout;
mod ledger;
pub mod load;
mod mend;
mod outbox;
mod recover;
mod rows;
mod sealed;
mod segment;
mod shared;
mod status;
mod store;
mod witness;
mod writer;

pub use config::{MAX_SEAL_BYTES, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, OutboxConfig};
pub use disk::{DirEntry, Disk, DiskFile, RealDisk};
pub use edge_types::{BatchNo, Digest, Epoch, Incarnation, Receipt, Seq, SiteId};
pub use error::{AppendError, BatchAccessError, EpochError, OpenError};
pub use outbox::{BatchRef, MAX_NOTE_BYTES, Outbox};
pub use status::{Amount, OpenReport, Status, StoreOpening};
pub use sync_wire::limits::MAX_RECORD_BYTES;
