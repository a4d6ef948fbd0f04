//! What an operator can set, with its limits and their reasons.

use std::{path::PathBuf, time::Duration};

use edge_types::SiteId;
use sync_wire::limits;

use crate::error::OpenError;

const MIB: u64 = 1024 * 1024;

/// A segment is read whole at open when it may be torn: more than this would cost too much memory on a small machine.
pub const MAX_SEGMENT_BYTES: u64 = 64 * MIB;
/// Below this a segment would hold less than one largest record.
pub const MIN_SEGMENT_BYTES: u64 = 4 * 1024;
/// Keeps the encoded body under the format's hard cap even when nothing compresses.
pub const MAX_SEAL_BYTES: usize = 3 * 1024 * 1024;

#[derive(Clone, Debug)]
pub struct OutboxConfig {
    /// Everything of the outbox is under this directory; nothing else may be.
    pub dir: PathBuf,
    pub site: SiteId,
    /// Bytes of records and batches that are not yet acknowledged; an append over it is refused, nothing is ever dropped for it.
    pub quota_bytes: u64,
    /// Appends stop while the file system has less than this free, so that the rest of the machine lives on.
    pub min_free_bytes: u64,
    /// A file of this size is given back when the disk is full anyway, so that sealing and closing still work.
    pub reserve_bytes: u64,
    /// A segment is closed at this size. Space comes back a segment at a time.
    pub segment_bytes: u64,
    /// A batch is sealed at this many bytes of records (before compression), ..
    pub seal_bytes: usize,
    /// .. this many records, ..
    pub seal_records: u32,
    /// .. or this age, the last only while few batches wait: an offline site makes full batches.
    pub seal_age: Duration,
    /// How long a commit waits for more records when several callers append at once.
    pub gather: Duration,
    /// How long an acknowledged batch is kept, so that a centre restored from a backup can be given it again, ..
    pub hold: Duration,
    /// .. and how much of that is kept at most.
    pub hold_max_bytes: u64,
    /// Dead letters and, separately, damaged files that are kept aside; the oldest go first.
    pub aside_max_bytes: u64,
    /// Records accepted but not yet on disk: the memory that appends may take.
    pub queue_bytes: usize,
    /// How long a call to the database may take before it is given up and rebuilt.
    pub store_timeout: Duration,
    /// The database's directory is rebuilt when it is larger: it never gives space back by itself.
    pub store_max_bytes: u64,
}

impl OutboxConfig {
    pub fn new(dir: impl Into<PathBuf>, site: SiteId) -> Self {
        Self {
            dir: dir.into(),
            site,
            quota_bytes: 4096 * MIB,
            min_free_bytes: 256 * MIB,
            reserve_bytes: 8 * MIB,
            segment_bytes: 16 * MIB,
            seal_bytes: MIB as usize,
            seal_records: 10_000,
            seal_age: Duration::from_secs(1),
            gather: Duration::from_millis(2),
            hold: Duration::from_secs(24 * 3600),
            hold_max_bytes: 1024 * MIB,
            aside_max_bytes: 64 * MIB,
            queue_bytes: 32 * MIB as usize,
            store_timeout: Duration::from_secs(10),
            store_max_bytes: 64 * MIB,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let rule = |holds: bool, text: &'static str| {
            if holds {
                Ok(())
            } else {
                Err(OpenError::Config(text))
            }
        };
        rule(
            (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes),
            "segment_bytes must be 4 KiB to 64 MiB",
        )?;
        rule(
            self.quota_bytes >= 2 * self.segment_bytes,
            "quota_bytes must be at least twice segment_bytes: space comes back a segment at a time",
        )?;
        rule(
            (1..=MAX_SEAL_BYTES).contains(&self.seal_bytes),
            "seal_bytes must be 1 to 3 MiB",
        )?;
        rule(self.seal_records >= 1, "seal_records must be at least 1")?;
        rule(
            self.queue_bytes >= limits::MAX_RECORD_BYTES + QUEUE_OVERHEAD
                && self.queue_bytes <= 1 << 30,
            "queue_bytes must be 260 KiB to 1 GiB: the largest record must fit",
        )?;
        rule(
            self.gather <= Duration::from_secs(1),
            "gather must be at most 1 s: every caller waits for it",
        )
    }
}

/// What a queued record costs beside its bytes.
pub(crate) const QUEUE_OVERHEAD: usize = 256;
