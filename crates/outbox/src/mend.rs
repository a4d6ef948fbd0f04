//! Batch files of a running outbox: writing them, reading them, mending those that are damaged, setting refused ones aside.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use edge_types::{BatchNo, Digest, Epoch};
use sync_wire::BatchBuilder;

use crate::{
    BatchRef, aside,
    error::BatchAccessError,
    gather::{Gatherer, Stop},
    layout::batch_file_name,
    recover,
    rows::{BatchRow, BatchState},
    sealed,
    shared::{Shared, now_ms},
};

impl Shared {
    fn row(&self, no: u64) -> Result<BatchRow, BatchAccessError> {
        let row = self.ledger.lock().batches.get(&no).copied();
        row.filter(|row| row.state != BatchState::Dead)
            .ok_or(BatchAccessError::Unknown(BatchNo(no)))
    }

    /// A batch's bytes, all checked; made anew when the file is damaged.
    pub(crate) fn read_batch(&self, no: u64) -> Result<(BatchRef, Bytes), BatchAccessError> {
        let failed = |e: io::Error| BatchAccessError::Io {
            no: BatchNo(no),
            source: Arc::new(e),
        };
        let read = |row: &BatchRow| {
            sealed::read_whole(
                self.disk.as_ref(),
                &self.layout.batch(no, row.hash),
                row.hash,
            )
        };
        let row = self.row(no)?;
        if let Some(bytes) = read(&row).map_err(failed)? {
            return Ok((BatchRef::new(no, &row), Bytes::from(bytes)));
        }
        let _maintenance = self.maintenance.lock();
        // While we waited it may have been mended, or deleted.
        let row = self.row(no)?;
        if let Some(bytes) = read(&row).map_err(failed)? {
            return Ok((BatchRef::new(no, &row), Bytes::from(bytes)));
        }
        let row = self.replace_batch(no, &row).map_err(failed)?;
        let bytes = read(&row)
            .map_err(failed)?
            .ok_or_else(|| failed(io::Error::other("damaged again at once")))?;
        Ok((BatchRef::new(no, &row), Bytes::from(bytes)))
    }

    /// The file is damaged or gone: quarantines it and makes another for the same numbers.
    fn replace_batch(&self, no: u64, old: &BatchRow) -> io::Result<BatchRow> {
        tracing::error!(batch = no, "damaged batch file: making it anew");
        let (segments, epoch, prev_hash) = {
            let ledger = self.ledger.lock();
            let before = ledger.batches.get(&no.saturating_sub(1));
            let segments: Vec<_> = ledger.segments.iter().copied().collect();
            (
                segments,
                ledger.epoch,
                before.map_or_else(Digest::default, |row| row.hash),
            )
        };
        // The header may be sound: with the same chain and the same records the new file is the old one, byte for byte.
        let path = self.layout.batch(no, old.hash);
        let header = sealed::read_header(self.disk.as_ref(), &path, old.len);
        let prev_hash = header.map_or(prev_hash, |header| header.meta.prev_hash);
        let epoch = epoch.ok_or_else(|| io::Error::other("no epoch"))?;
        let gatherer = Gatherer {
            disk: self.disk.as_ref(),
            layout: &self.layout,
            incarnation: self.incarnation,
            stop: Stop::at(old.last_seq + 1),
        };
        let seqs = old.first_seq..old.last_seq + 1;
        let (builder, oldest_ms) = recover::salvage(&gatherer, &segments, seqs, old.oldest_ms)?;
        let lost = u64::from(old.count).saturating_sub(u64::from(builder.count()));
        match aside::quarantine(self.disk.as_ref(), &self.layout, &path, now_ms()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let row = self.seal_to_file(builder, epoch, no, prev_hash, oldest_ms)?;
        let row = BatchRow {
            state: old.state,
            ..row
        };
        self.change(|ledger| ledger.replaced(no, row));
        self.faults.damaged_batches.fetch_add(1, Ordering::Relaxed);
        self.faults.lost_records.fetch_add(lost, Ordering::Relaxed);
        metrics::counter!("gateway_outbox_damaged_batches_total").increment(1);
        metrics::counter!("gateway_outbox_lost_records_total").increment(lost);
        Ok(row)
    }

    /// Moves a refused batch to the dead letters.
    pub(crate) fn set_aside(&self, no: u64) -> Result<(), BatchAccessError> {
        let _maintenance = self.maintenance.lock();
        let row = self.row(no)?;
        let name = batch_file_name(no, row.hash);
        let moved = self
            .disk
            .rename(
                &self.layout.batches.join(&name),
                &self.layout.dead.join(&name),
            )
            .and_then(|()| self.disk.sync_dir(&self.layout.dead))
            .and_then(|()| self.disk.sync_dir(&self.layout.batches));
        match moved {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(BatchAccessError::Io {
                    no: BatchNo(no),
                    source: Arc::new(e),
                });
            }
            _ => {}
        }
        self.change(|ledger| ledger.dead(no));
        self.wake.ring();
        Ok(())
    }

    /// Writes a batch file, with the reserve's help if need be.
    pub(crate) fn seal_to_file(
        &self,
        builder: BatchBuilder,
        epoch: Epoch,
        no: u64,
        prev_hash: Digest,
        oldest_ms: u64,
    ) -> io::Result<BatchRow> {
        let origin = self.origin(epoch);
        let (disk, dir) = (self.disk.as_ref(), self.layout.batches.as_path());
        let again = builder.clone();
        match origin.seal(disk, dir, builder, no, prev_hash, oldest_ms) {
            Err(error) if self.release_reserve(&error) => {
                origin.seal(disk, dir, again, no, prev_hash, oldest_ms)
            }
            result => result,
        }
    }
}
