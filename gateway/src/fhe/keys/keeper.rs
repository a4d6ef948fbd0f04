//! The key store's own thread: expands keys before they are needed, one at a time, and sweeps by the clock.
//!
//! Its work never stands in a request's way: it computes on one thread, takes no room in memory that is in use, and its
//! queue is bounded; what does not fit into the queue is expanded when it is needed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernels::Accelerated;
use parking_lot::{Condvar, Mutex};

use super::{KeyStore, Name};

/// What has expired is gone from the disk so soon after.
const SWEEP: Duration = Duration::from_secs(60);
/// Keys that wait to be expanded; at the start there may be thousands on disk, and memory for a few.
const MAX_WAITING: usize = 256;

#[derive(Default)]
pub(super) struct Work {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    state: Running,
    to_warm: VecDeque<Name>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Running {
    /// Nobody expands ahead: nothing is queued.
    #[default]
    No,
    Yes,
    Stopping,
}

impl Work {
    pub fn warm(&self, name: Name) {
        let mut queue = self.queue.lock();
        if queue.state == Running::Yes && queue.to_warm.len() < MAX_WAITING {
            queue.to_warm.push_back(name);
            self.changed.notify_all();
        }
    }
}

/// The thread; it ends when this is dropped, after what it is at.
pub(in crate::fhe) struct Keeper {
    store: Arc<KeyStore>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// `warm`: with what to expand ahead of need; `None` to sweep only.
    pub fn start(store: Arc<KeyStore>, warm: Option<Accelerated>) -> std::io::Result<Self> {
        if warm.is_some() {
            let recent = store.index.lock().by_recency(store.now());
            let mut queue = store.work.queue.lock();
            queue.state = Running::Yes;
            queue.to_warm.extend(recent.into_iter().take(MAX_WAITING));
        }
        let of_thread = store.clone();
        let thread = std::thread::Builder::new()
            .name("fhe-keys".to_owned())
            .spawn(move || run(&of_thread, warm.as_ref()))?;
        Ok(Self {
            store,
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        {
            let mut queue = self.store.work.queue.lock();
            queue.state = Running::Stopping;
            queue.to_warm.clear();
            self.store.work.changed.notify_all();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the key store had failed");
        }
        self.store.write_uses(true);
    }
}

fn run(store: &KeyStore, warm: Option<&Accelerated>) {
    let mut next_sweep = Instant::now();
    loop {
        if Instant::now() >= next_sweep {
            store.sweep();
            next_sweep = Instant::now() + SWEEP;
        }
        let name = {
            let mut queue = store.work.queue.lock();
            if queue.state == Running::Stopping {
                return;
            }
            if queue.to_warm.is_empty() {
                store.work.changed.wait_until(&mut queue, next_sweep);
            }
            queue.to_warm.pop_front()
        };
        if let (Some(name), Some(backend)) = (name, warm) {
            // A panic in arithmetic is a bug of ours: it costs this key's head start, and not the sweeps.
            let warmed = catch_unwind(AssertUnwindSafe(|| store.warm(backend, &name)));
            if warmed.is_err() {
                tracing::error!(tenant = %name.0, key = %name.1, "expanding a key ahead of need failed with a panic");
            }
        }
    }
}
