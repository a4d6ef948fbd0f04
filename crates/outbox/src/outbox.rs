//! The handle: what the gateway and the sync driver call.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use bytes::Bytes;
use edge_types::{BatchNo, Digest, Epoch, Incarnation, Receipt, Seq};
use parking_lot::Mutex;
use serde::Serialize;
use sync_wire::limits::MAX_RECORD_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::{
    config::{OutboxConfig, QUEUE_OVERHEAD},
    disk::{Disk, RealDisk},
    error::{AppendError, BatchAccessError, EpochError, OpenError},
    identity::Identity,
    keeper::Keeper,
    layout::Layout,
    recover::{self, Recovered, io_error},
    rows::{self, BatchRow, BatchState},
    shared::{Faults, Shared, StoreSlot, Wake, now_ms},
    status::{OpenReport, Status},
    writer::{Command, Entry, Writer},
};

/// Longest note, name and text together: notes are watermarks of other parts, not a place for data.
pub const MAX_NOTE_BYTES: usize = 1024;
/// Longest reason that a dead letter's gap record repeats.
const MAX_REASON_CHARS: usize = 500;

/// A sealed batch that waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BatchRef {
    pub no: BatchNo,
    /// BLAKE3 of all its bytes.
    pub hash: Digest,
    pub len: u64,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub count: u32,
}

impl BatchRef {
    pub(crate) fn new(no: u64, row: &BatchRow) -> Self {
        Self {
            no: BatchNo(no),
            hash: row.hash,
            len: row.len,
            first_seq: Seq(row.first_seq),
            last_seq: Seq(row.last_seq),
            count: row.count,
        }
    }
}

/// An open outbox. Clones are the same outbox; it closes when the last one is dropped, or at [`Outbox::close`].
#[derive(Clone)]
pub struct Outbox {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    identity: Mutex<Identity>,
    writer: Mutex<Option<Sender<Command>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.wake.stop();
    }
}

impl Outbox {
    /// Opens or makes the outbox of a directory, mending what a crash left. Blocks on the disk.
    pub fn open(config: OutboxConfig) -> Result<(Self, OpenReport), OpenError> {
        Self::open_on(config, Arc::new(RealDisk))
    }

    /// The same on another file system (tests inject faults there). The lock and the database are always on the real one.
    pub fn open_on(
        config: OutboxConfig,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, OpenReport), OpenError> {
        config.check()?;
        let layout = Layout::new(&config.dir);
        disk.create_dir_all(&layout.root)
            .map_err(io_error("create", &layout.root))?;
        let lock = take_lock(&layout)?;
        let Recovered {
            identity,
            ledger,
            witness,
            store,
            report,
        } = recover::recover(disk.as_ref(), &layout, &config, now_ms())?;
        let (writer, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            incarnation: identity.incarnation,
            tag: identity.incarnation.tag(),
            sealed: watch::Sender::new(ledger.last_batch),
            queue: Arc::new(Semaphore::new(config.queue_bytes)),
            used_bytes: AtomicU64::new(ledger.used_bytes()),
            ledger: Mutex::new(ledger),
            witness: Mutex::new(witness),
            store: Mutex::new(StoreSlot {
                store,
                retry_at: Instant::now(),
            }),
            maintenance: Mutex::new(()),
            wake: Wake::default(),
            seal_through: AtomicU64::new(0),
            space_is_low: AtomicBool::new(false),
            faults: Faults::default(),
            lock: Mutex::new(Some(lock)),
            config,
            layout,
            disk,
        });
        shared.write_witness(true);
        let threads = start_threads(&shared, &writer, inbox)?;
        let handle = Handle {
            identity: Mutex::new(identity),
            writer: Mutex::new(Some(writer)),
            threads: Mutex::new(threads),
            shared,
        };
        let handle = Arc::new(handle);
        Ok((Self { handle }, report))
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn send(&self, command: Command) -> Result<(), AppendError> {
        let writer = self.handle.writer.lock();
        let writer = writer.as_ref().ok_or(AppendError::Closed)?;
        writer.send(command).map_err(|_| AppendError::Closed)
    }

    // Records

    /// Accepts a record and returns when it is durable. Dropping the future does not take the record back.
    pub async fn append(&self, record: Bytes) -> Result<Receipt, AppendError> {
        let cost = queue_cost(&record)?;
        let queue = self.shared().queue.clone();
        let permit = queue
            .acquire_many_owned(cost)
            .await
            .map_err(|_| AppendError::Closed)?;
        self.shared().admit(record.len()).map_err(count)?;
        self.append_entry(record, Some(permit), false).await
    }

    /// Accepts a record that is durable a few milliseconds later, with the next commit; a crash before that loses it.
    pub fn append_later(&self, record: Bytes) -> Result<(), AppendError> {
        let cost = queue_cost(&record)?;
        let queue = self.shared().queue.clone();
        let permit = queue
            .try_acquire_many_owned(cost)
            .map_err(|_| count(AppendError::QueueFull))?;
        self.shared().admit(record.len()).map_err(count)?;
        self.send(Command::Append(Entry {
            body: record,
            reply: None,
            essential: false,
            _permit: Some(permit),
        }))
    }

    async fn append_entry(
        &self,
        body: Bytes,
        permit: Option<OwnedSemaphorePermit>,
        essential: bool,
    ) -> Result<Receipt, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Append(Entry {
            body,
            reply: Some(reply),
            essential,
            _permit: permit,
        }))?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Returns when everything accepted before is durable or refused.
    pub async fn flush(&self) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Flush(reply))?;
        answer.await.map_err(|_| AppendError::Closed)
    }

    // Enrolment

    pub fn incarnation(&self) -> Incarnation {
        self.shared().incarnation
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.shared().ledger.lock().epoch
    }

    /// Notes the epoch that the aggregator gave, durably; sealing starts now. The same one again is fine. Blocks on the disk.
    pub fn set_epoch(&self, epoch: Epoch) -> Result<(), EpochError> {
        if epoch.0 == 0 {
            return Err(EpochError::Zero);
        }
        let mut identity = self.handle.identity.lock();
        match identity.epoch {
            Some(have) if have == epoch => return Ok(()),
            Some(have) => {
                return Err(EpochError::Fixed {
                    have: have.0,
                    given: epoch.0,
                });
            }
            None => {}
        }
        let enrolled = Identity {
            epoch: Some(epoch),
            ..identity.clone()
        };
        let shared = self.shared();
        enrolled
            .write(shared.disk.as_ref(), &shared.layout)
            .map_err(|e| EpochError::Io(e.to_string()))?;
        *identity = enrolled;
        shared.change(|ledger| {
            ledger.epoch = Some(epoch);
            ledger.note_meta();
        });
        shared.write_witness(false);
        shared.wake.ring();
        Ok(())
    }

    // Batches

    /// Seals what is durable now without waiting for size or age. Nothing is sealed before the outbox has an epoch.
    pub fn seal_now(&self) {
        let shared = self.shared();
        let through = shared.ledger.lock().next_seq - 1;
        shared.seal_through.fetch_max(through, Ordering::AcqRel);
        shared.wake.ring();
    }

    /// The last batch that was sealed; 0 for none.
    pub fn last_batch(&self) -> BatchNo {
        self.shared().last_batch()
    }

    /// Waits until a batch after this one is sealed; returns the last one's number.
    pub async fn wait_sealed(&self, after: BatchNo) -> BatchNo {
        let mut sealed = self.shared().sealed.subscribe();
        match sealed.wait_for(|last| *last > after.0).await {
            Ok(last) => BatchNo(*last),
            // The sender lives in `shared`, which this handle keeps.
            Err(_) => after,
        }
    }

    /// Changes whenever a batch is sealed and whenever batches are to be sent again.
    pub fn watch_sealed(&self) -> watch::Receiver<u64> {
        self.shared().sealed.subscribe()
    }

    /// Batches that are not acknowledged, in order, at most `max` of those after `after`.
    pub fn pending_batches(&self, after: BatchNo, max: usize) -> Vec<BatchRef> {
        let pending = self.shared().ledger.lock().pending_after(after.0, max);
        pending
            .iter()
            .map(|(no, row)| BatchRef::new(*no, row))
            .collect()
    }

    /// A batch's bytes, every one checked. One whose file is damaged is made anew first (from segments where they still have
    /// the records, else as a gap): compare the returned hash, not an earlier one.
    pub async fn read_batch(&self, no: BatchNo) -> Result<(BatchRef, Bytes), BatchAccessError> {
        let handle = self.handle.clone();
        blocking(no, move || handle.shared.read_batch(no.0)).await
    }

    /// Notes that the aggregator has the batch. False when it was not pending.
    pub fn ack(&self, no: BatchNo) -> bool {
        let acked = self.shared().change(|ledger| ledger.ack(no.0, now_ms()));
        if acked {
            metrics::counter!("gateway_outbox_acked_batches_total").increment(1);
        }
        acked
    }

    /// Sets a batch aside that was refused for good. A gap record in the lane tells the aggregator what it will not get; a
    /// crash in between may leave a second one. Nothing happens when the batch is not pending.
    pub async fn dead_letter(
        &self,
        no: BatchNo,
        reason: &str,
    ) -> Result<Option<Receipt>, BatchAccessError> {
        let row = self.shared().ledger.lock().batches.get(&no.0).copied();
        let row = row.ok_or(BatchAccessError::Unknown(no))?;
        if row.state != BatchState::Pending {
            return Ok(None);
        }
        let record = gap_record(no.0, &row, reason, self.epoch());
        let receipt = self.append_entry(record, None, true).await?;
        let handle = self.handle.clone();
        blocking(no, move || handle.shared.set_aside(no.0)).await?;
        metrics::counter!("gateway_outbox_dead_letters_total").increment(1);
        tracing::error!(batch = no.0, reason, "batch refused for good and set aside");
        Ok(Some(receipt))
    }

    /// Makes acknowledged batches from `no` on pending again, those that are still kept: for a centre that lost them.
    pub fn resend_from(&self, no: BatchNo) -> u64 {
        let shared = self.shared();
        let again = shared.change(|ledger| ledger.resend_from(no.0));
        if again > 0 {
            shared.announce(shared.last_batch().0);
        }
        again
    }

    // Notes and figures

    /// A small value kept in the database for the caller: lost when the database is.
    pub fn note(&self, name: &str) -> Option<String> {
        self.shared().ledger.lock().notes.get(name).cloned()
    }

    /// False when it is too long.
    pub fn set_note(&self, name: &str, text: &str) -> bool {
        if name.len() + text.len() > MAX_NOTE_BYTES {
            return false;
        }
        self.shared().change(|ledger| {
            ledger.notes.insert(name.to_string(), text.to_string());
            let change = (rows::note_key(name), Some(rows::value(&text)));
            ledger.changes.push(change);
        });
        true
    }

    pub fn status(&self) -> Status {
        self.shared().status()
    }

    pub fn config(&self) -> &OutboxConfig {
        &self.shared().config
    }

    /// Writes everything accepted, closes the database and gives the directory back. Appends are refused from now on.
    pub async fn close(&self) {
        let handle = self.handle.clone();
        // The only failure is a runtime that shuts down: then the threads end by themselves.
        let _ = tokio::task::spawn_blocking(move || handle.close_blocking()).await;
    }
}

impl Handle {
    fn close_blocking(&self) {
        *self.writer.lock() = None;
        self.shared.wake.stop();
        for thread in self.threads.lock().drain(..) {
            // A panic there was reported where it happened.
            let _ = thread.join();
        }
        let store = self.shared.store.lock().store.take();
        if let Some(store) = store.and_then(Arc::into_inner) {
            store.close(self.shared.config.store_timeout);
        }
        *self.shared.lock.lock() = None;
    }
}

/// One process at a time: two would give numbers twice.
fn take_lock(layout: &Layout) -> Result<File, OpenError> {
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&layout.lock)
        .map_err(io_error("open", &layout.lock))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(layout.root.clone())),
        Err(TryLockError::Error(e)) => Err(io_error("lock", &layout.lock)(e)),
    }
}

fn start_threads(
    shared: &Arc<Shared>,
    writer: &Sender<Command>,
    inbox: Receiver<Command>,
) -> Result<Vec<JoinHandle<()>>, OpenError> {
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .map_err(io_error("start a thread for", &shared.layout.root))
    };
    let writing = Writer::new(shared.clone(), inbox);
    let keeper = Keeper::new(shared.clone(), writer.clone());
    Ok(vec![
        spawn("outbox-writer", Box::new(|| writing.run()))?,
        spawn("outbox-keeper", Box::new(|| keeper.run()))?,
    ])
}

/// Bytes of the queue that a record takes; refuses one that is too long for the format.
fn queue_cost(record: &Bytes) -> Result<u32, AppendError> {
    let len = record.len();
    u32::try_from(len + QUEUE_OVERHEAD)
        .ok()
        .filter(|_| len <= MAX_RECORD_BYTES)
        .ok_or_else(|| {
            count(AppendError::TooLarge {
                len,
                limit: MAX_RECORD_BYTES,
            })
        })
}

fn count(error: AppendError) -> AppendError {
    metrics::counter!("gateway_outbox_append_errors_total", "kind" => error.kind()).increment(1);
    error
}

async fn blocking<T: Send + 'static>(
    no: BatchNo,
    work: impl FnOnce() -> Result<T, BatchAccessError> + Send + 'static,
) -> Result<T, BatchAccessError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        let source = Arc::new(io::Error::other(e));
        Err(BatchAccessError::Io { no, source })
    })
}

/// An ordinary record of the lane, so that the aggregator learns of the loss in order.
fn gap_record(no: u64, row: &BatchRow, reason: &str, epoch: Option<Epoch>) -> Bytes {
    let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
    let record = serde_json::json!({
        "v": 1,
        "kind": "gap",
        "cause": "dead_letter",
        "epoch": epoch,
        "batch_no": no,
        "batch_hash": row.hash,
        "first_seq": row.first_seq,
        "last_seq": row.last_seq,
        "records": row.count,
        "reason": reason,
        "t_ms": now_ms(),
    });
    Bytes::from(record.to_string())
}
