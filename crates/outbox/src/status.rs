//! What the outbox tells about itself: the report of opening, and figures at any time.

use std::sync::atomic::Ordering;

use edge_types::{BatchNo, Epoch, Incarnation, Seq, SiteId};
use serde::Serialize;

use crate::shared::{Shared, now_ms};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum StoreOpening {
    #[default]
    Created,
    Opened,
    /// The old one was damaged (or did not answer) and is set aside.
    Rebuilt {
        reason: String,
    },
    /// None could be opened; the outbox runs without and tries again.
    Absent {
        reason: String,
    },
}

/// What opening found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpenReport {
    pub is_new: bool,
    pub store: StoreOpening,
    pub batches_pending: u64,
    /// Numbers given and not yet in a batch.
    pub records_unsealed: u64,
    /// Bytes of a write that was cut off: never acknowledged.
    pub torn_tail_bytes: u64,
    /// Places inside segments that cannot be read.
    pub damaged_regions: u64,
    pub quarantined_files: u64,
    /// Batches whose file was lost or damaged, made anew.
    pub replaced_batches: u64,
    /// Records known to have been there that are in no file; each is part of an explicit gap.
    pub lost_records: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub batches: u64,
    pub bytes: u64,
    pub records: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub site: SiteId,
    pub incarnation: Incarnation,
    pub epoch: Option<Epoch>,
    /// The last number given; 0 for none.
    pub last_seq: Seq,
    pub sealed_through: Seq,
    pub last_batch: BatchNo,
    /// Every batch up to this one is acknowledged or set aside.
    pub through_acked: BatchNo,
    /// All that the aggregator has not acknowledged.
    pub backlog_bytes: u64,
    pub backlog_records: u64,
    pub oldest_age_ms: Option<u64>,
    pub unsealed_bytes: u64,
    pub unsealed_records: u64,
    pub segments: u64,
    pub segment_bytes: u64,
    pub pending: Amount,
    /// Acknowledged and kept for the hold time.
    pub held: Amount,
    pub dead: Amount,
    pub quota_bytes: u64,
    pub used_bytes: u64,
    pub free_bytes: Option<u64>,
    pub space_is_low: bool,
    pub store_is_up: bool,
    pub damaged_segments: u64,
    pub damaged_batches: u64,
    pub lost_records: u64,
    pub commit_failures: u64,
    pub seal_failures: u64,
    pub store_rebuilds: u64,
}

impl From<crate::ledger::Sum> for Amount {
    fn from(sum: crate::ledger::Sum) -> Self {
        Self {
            batches: sum.batches,
            bytes: sum.bytes,
            records: sum.records,
        }
    }
}

impl Shared {
    pub(crate) fn status(&self) -> Status {
        let free_bytes = self.disk.free_bytes(&self.layout.root).ok();
        let faults = &self.faults;
        let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let ledger = self.ledger.lock();
        let store_is_up = self
            .store
            .lock()
            .store
            .as_ref()
            .is_some_and(|store| !store.is_down(self.config.store_timeout));
        Status {
            site: self.config.site.clone(),
            incarnation: self.incarnation,
            epoch: ledger.epoch,
            last_seq: Seq(ledger.next_seq - 1),
            sealed_through: Seq(ledger.cursor_seq - 1),
            last_batch: BatchNo(ledger.last_batch),
            through_acked: BatchNo(ledger.through_acked()),
            backlog_bytes: ledger.unsealed_bytes + ledger.pending.bytes,
            backlog_records: ledger.unsealed_records() + ledger.pending.records,
            oldest_age_ms: ledger.oldest_ms().map(|t| now_ms().saturating_sub(t)),
            unsealed_bytes: ledger.unsealed_bytes,
            unsealed_records: ledger.unsealed_records(),
            segments: ledger.segments.len() as u64,
            segment_bytes: ledger.segment_bytes(),
            pending: ledger.pending.into(),
            held: ledger.held.into(),
            dead: ledger.dead.into(),
            quota_bytes: self.config.quota_bytes,
            used_bytes: ledger.used_bytes(),
            free_bytes,
            space_is_low: self.space_is_low.load(Ordering::Acquire),
            store_is_up,
            damaged_segments: read(&faults.damaged_segments),
            damaged_batches: read(&faults.damaged_batches),
            lost_records: read(&faults.lost_records),
            commit_failures: read(&faults.commit_failures),
            seal_failures: read(&faults.seal_failures),
            store_rebuilds: read(&faults.store_rebuilds),
        }
    }

    pub(crate) fn set_gauges(&self) {
        let status = self.status();
        let age = status.oldest_age_ms.unwrap_or(0) as f64 / 1000.0;
        metrics::gauge!("gateway_outbox_backlog_bytes").set(status.backlog_bytes as f64);
        metrics::gauge!("gateway_outbox_backlog_records").set(status.backlog_records as f64);
        metrics::gauge!("gateway_outbox_oldest_age_seconds").set(age);
        metrics::gauge!("gateway_outbox_pending_batches").set(status.pending.batches as f64);
        metrics::gauge!("gateway_outbox_held_bytes").set(status.held.bytes as f64);
        metrics::gauge!("gateway_outbox_used_bytes").set(status.used_bytes as f64);
        metrics::gauge!("gateway_outbox_quota_bytes").set(status.quota_bytes as f64);
        metrics::gauge!("gateway_outbox_free_bytes").set(status.free_bytes.unwrap_or(0) as f64);
        metrics::gauge!("gateway_outbox_store_up").set(f64::from(u8::from(status.store_is_up)));
    }
}
