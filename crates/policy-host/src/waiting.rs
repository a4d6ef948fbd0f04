//! The instances of a policy that may wait: a bounded pool, shared by all workers. Each is checked out for one call and put back
//! after it. One that failed, or whose caller went away, is not put back: it is dropped with the checkout, and the next call makes
//! another.
//!
//! Invariant: as many permits are out as calls are under way, so there are never more instances than `instances`.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Fault, FaultKind};
use crate::instance::Instance;
use crate::pool::Tally;

/// How long a call waits for a free instance: longer than a burst lasts, and much shorter than a client's patience.
const MAX_QUEUED: Duration = Duration::from_secs(1);

pub(crate) struct WaitingPool {
    free: Semaphore,
    #[expect(
        clippy::vec_box,
        reason = "an instance is large: it moves as one pointer, from here into a call and back"
    )]
    idle: Mutex<Vec<Box<Instance>>>,
    pub(crate) tally: Tally,
}

pub(crate) struct Checkout<'a> {
    pool: &'a WaitingPool,
    _permit: SemaphorePermit<'a>,
}

impl WaitingPool {
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            free: Semaphore::new(instances.max(1)),
            idle: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// The right to call one instance.
    pub(crate) async fn checkout(&self) -> Result<Checkout<'_>, Fault> {
        self.tally.count_call();
        match tokio::time::timeout(MAX_QUEUED, self.free.acquire()).await {
            Ok(Ok(permit)) => Ok(Checkout {
                pool: self,
                _permit: permit,
            }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Fault::new(
                FaultKind::Busy,
                format!("no instance was free within {MAX_QUEUED:?}"),
            )),
        }
    }

    /// Bytes of memory.
    pub(crate) fn largest_idle(&self) -> Option<usize> {
        let idle = self.idle.lock();
        idle.iter().map(|instance| instance.memory_bytes()).max()
    }

    /// For the instance that is made when the policy is loaded.
    pub(crate) fn add(&self, instance: Box<Instance>) {
        self.idle.lock().push(instance);
    }
}

impl Checkout<'_> {
    /// The one used last: its memory is the warmest. None: one has to be made.
    pub(crate) fn take(&self) -> Option<Box<Instance>> {
        self.pool.idle.lock().pop()
    }

    pub(crate) fn put_back(self, instance: Box<Instance>) {
        self.pool.idle.lock().push(instance);
    }
}
