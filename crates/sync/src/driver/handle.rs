//! What the rest of the process holds of a running driver.

use std::sync::Arc;

use edge_types::BatchNo;
use outbox::Outbox;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::status::SyncStatus;

/// A running driver. Clones are handles of the same one; it goes on when they are all dropped.
#[derive(Clone)]
pub struct SyncHandle {
    pub(super) outbox: Outbox,
    pub(super) status: watch::Receiver<SyncStatus>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl SyncHandle {
    pub fn status(&self) -> SyncStatus {
        self.status.borrow().clone()
    }

    /// Changes with every step.
    pub fn subscribe(&self) -> watch::Receiver<SyncStatus> {
        self.status.clone()
    }

    /// Waits until every batch that is sealed is confirmed or set aside. Seal first (`Outbox::seal_now`) what is not.
    pub async fn drained(&self) {
        let mut status = self.status.clone();
        loop {
            let idle = status.borrow_and_update().in_flight == 0;
            if idle && self.outbox.pending_batches(BatchNo(0), 1).is_empty() {
                return;
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops: replies under way are awaited for a moment, then the connection is closed.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task {
            // The only failure is a panic of the driver, which was reported where it happened.
            let _ = task.await;
        }
    }
}
