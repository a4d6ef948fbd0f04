//! The thread that keeps house: seals batches, drops segments that are sealed and batches whose hold time is over, keeps the
//! reserve and the database alive.
//!
//! Orders that matter: a batch file is durable before its records' segment is dropped; the witness and the database know that
//! a batch may be gone before its file is removed.

use std::{
    io,
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    time::{Duration, Instant},
};

use crate::{
    aside,
    gather::{Gathered, Gatherer, Stop},
    ledger::SealLimits,
    shared::{Shared, StoreSlot, now_ms},
    store::{self, Store},
    writer::Command,
};

const TICK: Duration = Duration::from_millis(100);
/// Slow chores: figures, reserve, database.
const CHORES_EVERY: Duration = Duration::from_secs(1);
/// A disk that refused is left alone for so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// After so many failed readings of one place its records count as damaged: a bad sector stays bad, and the lane must go on.
const MAX_READ_ATTEMPTS: u32 = 5;
/// Deletions in one round: others wait for the maintenance lock.
const MAX_DELETIONS: usize = 256;
const STORE_RETRY: Duration = Duration::from_secs(30);

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    writer: Sender<Command>,
    seal_again_at: Instant,
    read_failures: u32,
    chores_at: Instant,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, writer: Sender<Command>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            writer,
            seal_again_at: now,
            read_failures: 0,
            chores_at: now,
        }
    }

    pub(crate) fn run(mut self) {
        while self.shared.wake.wait(TICK) {
            {
                let shared = self.shared.clone();
                let _maintenance = shared.maintenance.lock();
                self.seal_what_is_due();
                self.drop_segments();
                self.expire_batches();
            }
            if Instant::now() >= self.chores_at {
                self.chores_at = Instant::now() + CHORES_EVERY;
                self.keep_reserve();
                self.keep_store();
                self.shared.write_witness(false);
                self.shared.set_gauges();
            }
        }
        self.shared.write_witness(true);
    }

    fn seal_what_is_due(&mut self) {
        let config = &self.shared.config;
        let limits = SealLimits {
            bytes: config.seal_bytes as u64,
            records: u64::from(config.seal_records),
            age_ms: config.seal_age.as_millis() as u64,
        };
        while Instant::now() >= self.seal_again_at {
            let forced_through = self.shared.seal_through.load(Ordering::Acquire);
            let due = {
                let ledger = self.shared.ledger.lock();
                let forced = ledger.epoch.is_some() && ledger.cursor_seq <= forced_through;
                forced || ledger.seal_due(limits, now_ms())
            };
            if !due {
                return;
            }
            match self.seal_one() {
                Ok(true) => self.read_failures = 0,
                Ok(false) => return,
                Err(error) => {
                    self.seal_again_at = Instant::now() + PAUSE_AFTER_FAILURE;
                    self.shared
                        .faults
                        .seal_failures
                        .fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("gateway_outbox_seal_failures_total").increment(1);
                    tracing::warn!(%error, "cannot seal a batch; trying again");
                }
            }
        }
    }

    /// False when there was nothing to seal.
    fn seal_one(&mut self) -> io::Result<bool> {
        let gathered = self.gather()?;
        if gathered.builder.is_empty() {
            return Ok(false);
        }
        let Gathered {
            builder,
            oldest_ms,
            next,
            consumed,
            damaged,
        } = gathered;
        let (epoch, no, prev_hash) = {
            let ledger = self.shared.ledger.lock();
            let Some(epoch) = ledger.epoch else {
                return Ok(false);
            };
            (epoch, ledger.last_batch + 1, ledger.last_hash)
        };
        let records = u64::from(builder.count());
        let row = self.shared.seal_to_file(
            builder,
            epoch,
            no,
            prev_hash,
            oldest_ms.unwrap_or_else(now_ms),
        )?;
        let lost = row.last_seq - row.first_seq + 1 - records;
        self.shared.change(|ledger| {
            ledger.segments_damaged(&damaged);
            ledger.sealed(no, row, next, consumed, now_ms());
        });
        if lost > 0 {
            self.shared
                .faults
                .lost_records
                .fetch_add(lost, Ordering::Relaxed);
            metrics::counter!("gateway_outbox_lost_records_total").increment(lost);
            tracing::error!(
                records = lost,
                batch = no,
                "records are missing for good: noted as a gap"
            );
        }
        if !damaged.is_empty() {
            let n = damaged.len() as u64;
            self.shared
                .faults
                .damaged_segments
                .fetch_add(n, Ordering::Relaxed);
            metrics::counter!("gateway_outbox_damaged_segments_total").increment(n);
        }
        self.shared.write_witness(false);
        self.shared.announce(no);
        metrics::counter!("gateway_outbox_sealed_batches_total").increment(1);
        metrics::counter!("gateway_outbox_sealed_bytes_total").increment(row.len);
        Ok(true)
    }

    fn gather(&mut self) -> io::Result<Gathered> {
        let (segments, first, from, end_seq) = {
            let ledger = self.shared.ledger.lock();
            let segments: Vec<_> = ledger.segments.iter().copied().collect();
            (segments, ledger.cursor_seq, ledger.cursor, ledger.next_seq)
        };
        let config = &self.shared.config;
        let gatherer = Gatherer {
            disk: self.shared.disk.as_ref(),
            layout: &self.shared.layout,
            incarnation: self.shared.incarnation,
            stop: Stop {
                raw_bytes: config.seal_bytes,
                records: config.seal_records,
                end_seq,
            },
        };
        match gatherer.gather(&segments, first, from) {
            Ok(gathered) => Ok(gathered),
            Err(error) => {
                self.read_failures += 1;
                if self.read_failures < MAX_READ_ATTEMPTS && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(error);
                }
                tracing::error!(%error, "a segment cannot be read: its records count as lost");
                gatherer.give_up_first(&segments, first, from)
            }
        }
    }

    fn drop_segments(&self) {
        let shared = &self.shared;
        loop {
            let Some(segment) = shared.ledger.lock().droppable_segment() else {
                break;
            };
            let path = shared.layout.segment(segment.id);
            let gone = if segment.damaged {
                aside::quarantine(shared.disk.as_ref(), &shared.layout, &path, now_ms())
            } else {
                shared.disk.remove(&path)
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(%error, "cannot remove a sealed segment; trying again");
                    break;
                }
                _ => shared.change(|ledger| ledger.segment_dropped(segment.id)),
            }
        }
        // So that the disk goes back to a floor after a drain.
        let floor = shared.config.segment_bytes / 4;
        let drained = shared.ledger.lock().drained_segment(floor);
        if let Some(id) = drained {
            let _ = self.writer.send(Command::CloseSegment(id));
        }
    }

    fn expire_batches(&self) {
        let shared = &self.shared;
        // When space is low, held batches are the first to go: they are acknowledged.
        let hold_max = if shared.space_is_low.load(Ordering::Acquire) {
            0
        } else {
            shared.config.hold_max_bytes
        };
        let hold_ms = shared.config.hold.as_millis() as u64;
        let gone = shared
            .ledger
            .lock()
            .expired(now_ms(), hold_ms, hold_max, MAX_DELETIONS);
        let Some(last) = gone.last() else {
            return;
        };
        shared.change(|ledger| ledger.deleting_through(*last));
        shared.write_witness(true);
        let store = shared.store.lock().store.clone();
        // The witness alone would do: a database that is down stops no deletion.
        let noted = store.is_some_and(|store| store.flush(shared.config.store_timeout));
        tracing::trace!(through = last, noted, "batches expire");
        for no in &gone {
            let row = shared.ledger.lock().batches.get(no).copied();
            if let Some(row) = row {
                let path = shared.layout.batch(*no, row.hash);
                match shared.disk.remove(&path) {
                    // What cannot be removed now is swept at the next open.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::debug!(%error, "cannot remove an expired batch");
                    }
                    _ => {}
                }
            }
            shared.change(|ledger| ledger.batch_deleted(*no));
        }
        let layout = &shared.layout;
        for dir in [&layout.dead, &layout.quarantine] {
            aside::tidy(shared.disk.as_ref(), dir, shared.config.aside_max_bytes);
        }
    }

    /// Makes the reserve again once there is plenty of space.
    fn keep_reserve(&self) {
        let shared = &self.shared;
        let size = shared.config.reserve_bytes;
        let there = shared
            .disk
            .read(&shared.layout.reserve, size.saturating_sub(1), 1);
        if size == 0 || there.is_ok_and(|last| last.len() == 1) {
            return;
        }
        if shared.check_space(size.saturating_mul(2)).is_err() {
            // The flag means "an append would be refused", which this alone does not say.
            let _ = shared.check_space(0);
            return;
        }
        if let Err(error) = aside::write_reserve(shared.disk.as_ref(), &shared.layout.reserve, size)
        {
            tracing::debug!(%error, "cannot make the reserve");
        }
    }

    /// Rebuilds the database when it failed, hangs, or has grown too large.
    fn keep_store(&self) {
        let shared = &self.shared;
        let store = {
            let slot = shared.store.lock();
            if slot.store.is_none() && Instant::now() < slot.retry_at {
                return;
            }
            slot.store.clone()
        };
        let timeout = shared.config.store_timeout;
        let is_large = store::dir_bytes(&shared.layout.store) > shared.config.store_max_bytes;
        let reason = match &store {
            Some(store) if store.is_down(timeout) => "it is down",
            Some(_) if is_large => "it has grown",
            Some(_) => return,
            None => "there is none",
        };
        let retry_at = Instant::now() + STORE_RETRY;
        *shared.store.lock() = StoreSlot {
            store: None,
            retry_at,
        };
        if let Some(store) = store.and_then(Arc::into_inner) {
            store.close(timeout);
        }
        if shared
            .check_space(shared.config.store_max_bytes / 8)
            .is_err()
        {
            let _ = shared.check_space(0);
            return;
        }
        let aside = store::set_aside(&shared.layout.store, &shared.layout.quarantine);
        if let Err(error) = &aside
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot move the outbox's database out of the way");
            return;
        }
        if let (Ok(path), true) = (&aside, is_large) {
            // It was sound: nobody will want to look at it.
            let _ = std::fs::remove_dir_all(path);
        }
        match Store::open(&shared.layout.store, timeout) {
            Ok((fresh, _)) => {
                let ledger = shared.ledger.lock();
                fresh.put(ledger.dump());
                shared.store.lock().store = Some(Arc::new(fresh));
                drop(ledger);
                shared.faults.store_rebuilds.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("gateway_outbox_store_rebuilds_total").increment(1);
                tracing::info!(reason, "outbox database rebuilt");
            }
            Err(error) => tracing::warn!(%error, "outbox runs without its database"),
        }
    }
}
