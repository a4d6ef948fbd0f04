//! A graceful stop: what is told to whom, and how long is waited. `app.rs` calls these in order.
//!
//! not ready any more → no new connection → every connection told (GOAWAY, `connection: close`) → exchanges in flight finish, up to
//! the deadline → what is left is cut → records are flushed → the admin listener goes

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// No new connection; those that stand finish what they have.
    Draining,
    /// The deadline passed: close now.
    Cut,
    /// All is closed and flushed; the admin listener goes last.
    Over,
}

/// The switch. Clones of `Signal` see it.
#[derive(Debug)]
pub struct Switch(watch::Sender<Phase>);

/// What a listener or a connection watches.
#[derive(Debug, Clone)]
pub struct Signal(watch::Receiver<Phase>);

impl Switch {
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }

    pub fn signal(&self) -> Signal {
        Signal(self.0.subscribe())
    }

    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Goes on to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

impl Signal {
    /// Resolves once the stop has come to `phase` (or its switch is gone). Cancel-safe.
    pub async fn reached(&mut self, phase: Phase) {
        // An error means that the switch was dropped: the gateway is gone, which is past every phase.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }

    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}

/// Counts what is in progress, up to a limit, and tells when nothing is.
#[derive(Debug, Clone)]
pub struct Tally(Arc<Count>);

#[derive(Debug)]
struct Count {
    now: AtomicUsize,
    limit: usize,
    idle: Notify,
}

/// One thing in progress.
#[derive(Debug)]
pub struct Ticket(Arc<Count>);

impl Tally {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Count {
            now: AtomicUsize::new(0),
            limit,
            idle: Notify::new(),
        }))
    }

    /// `None` if the limit is reached.
    pub fn enter(&self) -> Option<Ticket> {
        let admitted = self
            .0
            .now
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < self.0.limit).then_some(now + 1)
            });
        admitted.ok().map(|_| Ticket(self.0.clone()))
    }

    pub fn len(&self) -> usize {
        self.0.now.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves when nothing is in progress.
    pub async fn idle(&self) {
        loop {
            let woken = self.0.idle.notified();
            if self.is_empty() {
                return;
            }
            woken.await;
        }
    }

    /// Whether nothing was in progress within `wait`.
    pub async fn idle_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.idle()).await.is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tally_is_bounded_and_tells_when_it_is_idle() {
        let tally = Tally::new(2);
        let (one, two) = (tally.enter().expect("room"), tally.enter().expect("room"));
        assert!(tally.enter().is_none());
        assert!(!tally.idle_within(Duration::from_millis(5)).await);
        drop(one);
        let waiting = tokio::spawn({
            let tally = tally.clone();
            async move { tally.idle().await }
        });
        drop(two);
        waiting.await.expect("idle");
        assert!(tally.is_empty());
    }

    #[tokio::test]
    async fn a_stop_goes_forward_only() {
        let switch = Switch::new();
        let mut signal = switch.signal();
        switch.advance(Phase::Cut);
        switch.advance(Phase::Draining);
        signal.reached(Phase::Draining).await;
        assert_eq!(signal.phase(), Phase::Cut);
    }
}
