//! What the handle and the threads share, and the few steps that more than one of them takes.
//!
//! Lock order: maintenance, witness, ledger, store. No lock is held over a write to a segment or a batch, or over sled.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use edge_types::{BatchNo, Epoch, Incarnation, IncarnationTag, SiteId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, watch};

use crate::{
    config::OutboxConfig, disk::Disk, error::AppendError, layout::Layout, ledger::Ledger,
    sealed::Origin, store::Store, witness::Witness,
};

/// The outbox's clock: only for data and ages, never for order.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}

/// Wakes the keeper.
#[derive(Default)]
pub(crate) struct Wake {
    state: Mutex<WakeState>,
    changed: Condvar,
}

#[derive(Default)]
struct WakeState {
    rung: bool,
    stop: bool,
}

impl Wake {
    pub(crate) fn ring(&self) {
        self.state.lock().rung = true;
        self.changed.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_one();
    }

    /// False when it is time to stop.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.rung && !state.stop {
            self.changed.wait_for(&mut state, at_most);
        }
        state.rung = false;
        !state.stop
    }
}

/// Things that went wrong since the outbox was opened, by number.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub damaged_segments: AtomicU64,
    pub damaged_batches: AtomicU64,
    pub lost_records: AtomicU64,
    pub commit_failures: AtomicU64,
    pub seal_failures: AtomicU64,
    pub store_rebuilds: AtomicU64,
}

pub(crate) struct StoreSlot {
    pub store: Option<Arc<Store>>,
    pub retry_at: Instant,
}

pub(crate) struct Shared {
    pub config: OutboxConfig,
    pub layout: Layout,
    pub disk: Arc<dyn Disk>,
    pub incarnation: Incarnation,
    pub tag: IncarnationTag,
    pub ledger: Mutex<Ledger>,
    pub witness: Mutex<Witness>,
    pub store: Mutex<StoreSlot>,
    /// Held by whoever changes batch files or removes segments.
    pub maintenance: Mutex<()>,
    pub wake: Wake,
    /// A sequence number up to which to seal at once.
    pub seal_through: AtomicU64,
    /// The last batch that was sealed; sent again when batches are to be resent.
    pub sealed: watch::Sender<u64>,
    /// Free permits are bytes that may still be queued.
    pub queue: Arc<Semaphore>,
    pub used_bytes: AtomicU64,
    pub space_is_low: AtomicBool,
    pub faults: Faults,
    /// Held while the outbox is open; the lock goes with the file.
    pub lock: Mutex<Option<File>>,
}

impl Shared {
    /// Changes the ledger, and passes on to the database what that changed.
    pub(crate) fn change<T>(&self, f: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.ledger.lock();
        let result = f(&mut ledger);
        self.used_bytes
            .store(ledger.used_bytes(), Ordering::Release);
        let changes = std::mem::take(&mut ledger.changes);
        if !changes.is_empty()
            && let Some(store) = &self.store.lock().store
        {
            store.put(changes);
        }
        result
    }

    /// Errors are logged and otherwise ignored: the witness is the second line.
    pub(crate) fn write_witness(&self, synced: bool) {
        let mut witness = self.witness.lock();
        let marks = self.ledger.lock().marks();
        let written = if synced {
            witness.write_synced(&marks)
        } else {
            witness.write(&marks)
        };
        if let Err(error) = written {
            tracing::debug!(%error, "cannot write the outbox's witness");
        }
    }

    pub(crate) fn origin(&self, epoch: Epoch) -> Origin {
        Origin {
            site: SiteId::clone(&self.config.site),
            incarnation: self.incarnation,
            epoch,
        }
    }

    /// Whether a record may come in that already has its place in the queue. The writer checks the disk once more.
    pub(crate) fn admit(&self, len: usize) -> Result<(), AppendError> {
        let queued = self
            .config
            .queue_bytes
            .saturating_sub(self.queue.available_permits());
        let used_bytes = self.used_bytes.load(Ordering::Acquire);
        let quota_bytes = self.config.quota_bytes;
        if used_bytes + queued as u64 > quota_bytes {
            return Err(AppendError::Full {
                used_bytes,
                quota_bytes,
            });
        }
        if self.space_is_low.load(Ordering::Acquire) {
            self.check_space(len as u64)?;
        }
        Ok(())
    }

    /// Looks at the disk now. A file system that will not tell is taken to have space: a write will show.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<(), AppendError> {
        let min_free_bytes = self.config.min_free_bytes;
        let free_bytes = self.disk.free_bytes(&self.layout.root).unwrap_or(u64::MAX);
        let is_low = free_bytes < min_free_bytes.saturating_add(bytes);
        self.space_is_low.store(is_low, Ordering::Release);
        if is_low {
            return Err(AppendError::DiskFull {
                free_bytes,
                min_free_bytes,
            });
        }
        Ok(())
    }

    /// Called when the disk was full in spite of every check. True when that gave something back.
    pub(crate) fn release_reserve(&self, error: &io::Error) -> bool {
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if is_full {
            self.space_is_low.store(true, Ordering::Release);
        }
        is_full && self.disk.remove(&self.layout.reserve).is_ok()
    }

    pub(crate) fn announce(&self, last_batch: u64) {
        self.sealed.send_replace(last_batch);
    }

    pub(crate) fn last_batch(&self) -> BatchNo {
        BatchNo(*self.sealed.borrow())
    }
}
