//! The thread that closes windows by the clock and gives their records to the outbox.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Append, Counters};
use crate::fhe::keys::Clock;

/// How soon after its time a window is closed, and how often what failed is tried again.
const TICK: Duration = Duration::from_secs(1);

/// Appends a record to the outbox and returns when it is durable; the reason, if it was not taken. Blocks.
pub type CounterSink = Arc<dyn Fn(Vec<u8>) -> Result<(), String> + Send + Sync>;

#[derive(Default)]
struct Stop {
    wanted: Mutex<bool>,
    changed: Condvar,
}

/// Ends with what it is at when this is dropped.
pub(in crate::fhe) struct Closer {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Closer {
    /// `sink`: none where there is no outbox.
    pub fn start(
        counters: Arc<Counters>,
        sink: Option<CounterSink>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let of_thread = stop.clone();
        let thread = std::thread::Builder::new()
            .name("fhe-counters".to_owned())
            .spawn(move || run(&counters, sink.as_ref(), &clock, &of_thread))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        *self.stop.wanted.lock() = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the counters had failed");
        }
    }
}

fn run(counters: &Counters, sink: Option<&CounterSink>, clock: &Clock, stop: &Stop) {
    let mut failing = false;
    loop {
        let done = counters
            .close_due(clock())
            .and_then(|()| counters.record_closed(sink.map(|sink| &**sink as Append<'_>)));
        match done {
            Ok(()) => failing = false,
            // Once, not every second: what is not recorded stays, and is tried again.
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "a window of counters could not be closed and recorded; it is tried again");
            }
            Err(_) => {}
        }
        let mut wanted = stop.wanted.lock();
        if !*wanted {
            stop.changed.wait_for(&mut wanted, TICK);
        }
        if *wanted {
            return;
        }
    }
}
