//! Ids and newtypes that two or more crates share. No I/O.
//!
//! Invariant: a value of a type of this crate is valid. What comes from outside passes through
//! `new`, `FromStr`, `TryFrom` or serde, and each of them refuses what the type does not allow.

mod digest;
mod ids;
mod receipt;

pub use digest::{Digest, DigestError, Incarnation, IncarnationTag};
pub use ids::{BatchNo, Epoch, Lane, LaneError, MAX_SITE_ID_LEN, Seq, SiteId, SiteIdError};
pub use receipt::{MAX_RECEIPT_HEADER_LEN, RECEIPT_HEADER, Receipt, ReceiptError};
