//! The thread that moves the engine's epoch on, so that a call past its deadline ends. It stops when its owner is dropped.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    every: Duration,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine, every: Duration) -> std::io::Result<Self> {
        let every = every.max(Duration::from_millis(1));
        let engine = engine.weak();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("policy-deadline".into())
            .spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    let Some(engine) = engine.upgrade() else {
                        return;
                    };
                    engine.increment_epoch();
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            every,
        })
    }

    /// Ticks that are not over before `span` is: the tick under way may end at once.
    pub(crate) fn ticks(&self, span: Duration) -> u64 {
        u64::try_from(span.as_nanos().div_ceil(self.every.as_nanos()))
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported on its thread; there is nothing left to end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_never_cut_short() -> std::io::Result<()> {
        let ticker = Ticker::start(&Engine::default(), Duration::from_millis(10))?;
        assert_eq!(ticker.ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticker.ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticker.ticks(Duration::from_millis(11)), 3);
        Ok(())
    }
}
