//! The open connections of one endpoint: idle HTTP/1.1 ones, last used first, and one HTTP/2 connection that all share.
//!
//! Invariants: a connection in the idle list carries no request; one that was given up mid-response never comes back; the list is
//! bounded, and what is idle for too long is dropped by `sweep`, used or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use metrics::Counter;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{Connector, Sender, Speech};
use super::fault;
use crate::body::Body;
use crate::error::ProxyError;

/// A connection whose last response has just ended may need a moment until its driver says so.
const SETTLE: Duration = Duration::from_millis(5);

/// The connections of one endpoint.
pub struct Pool {
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<http2::SendRequest<Body>>>,
    /// Held while the shared connection is being opened, so that a burst opens one, not one each.
    opening: tokio::sync::Mutex<()>,
    /// The last connection turned out to be HTTP/1.1: no need to wait for one that could be shared.
    speaks_h1: AtomicBool,
    idle_timeout: Duration,
    max_idle: usize,
    opened: Counter,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

/// A connection for one request.
pub struct Lease {
    pub sender: Sender,
    /// It served a request before, so that the peer may have closed it meanwhile.
    pub reused: bool,
}

impl Pool {
    pub fn new(speech: &Speech, idle_timeout: Duration, max_idle: usize, opened: Counter) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            shared: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            speaks_h1: AtomicBool::new(matches!(speech, Speech::H1)),
            idle_timeout,
            max_idle,
            opened,
        }
    }

    /// A connection that is open, or a new one.
    pub async fn lease(
        &self,
        connector: &Connector,
        deadline: Option<Instant>,
    ) -> Result<Lease, ProxyError> {
        if let Some(sender) = self.share() {
            return Ok(Lease {
                sender,
                reused: true,
            });
        }
        while let Some(mut idle) = self.pop() {
            if !idle.is_ready() && !matches!(timeout(SETTLE, idle.ready()).await, Ok(Ok(()))) {
                continue;
            }
            return Ok(Lease {
                sender: Sender::H1(idle),
                reused: true,
            });
        }
        self.open(connector, deadline).await
    }

    /// A connection that nobody used before, or the shared one that somebody opened meanwhile.
    pub async fn open(
        &self,
        connector: &Connector,
        deadline: Option<Instant>,
    ) -> Result<Lease, ProxyError> {
        let sender = if self.speaks_h1.load(Ordering::Relaxed) {
            let sender = connector.open(deadline).await?;
            if let Sender::H2(sender) = &sender {
                *self.shared.lock() = Some(sender.clone());
            }
            sender
        } else {
            let own = super::after(Instant::now(), connector.connect_timeout);
            let until = deadline.map_or(own, |deadline| deadline.min(own));
            let Ok(_opening) = timeout_at(until, self.opening.lock()).await else {
                return Err(fault::connect_timeout(
                    &connector.address,
                    connector.connect_timeout,
                ));
            };
            if let Some(sender) = self.share() {
                return Ok(Lease {
                    sender,
                    reused: true,
                });
            }
            let sender = connector.open(Some(until)).await?;
            // Before the lock goes: the next in line finds it.
            if let Sender::H2(sender) = &sender {
                *self.shared.lock() = Some(sender.clone());
            }
            sender
        };
        self.speaks_h1
            .store(matches!(sender, Sender::H1(_)), Ordering::Relaxed);
        self.opened.increment(1);
        Ok(Lease {
            sender,
            reused: false,
        })
    }

    /// Takes a connection back whose response was read to its end.
    pub fn give_back(&self, sender: http1::SendRequest<Body>) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Drops what has been idle for too long or was closed by the peer.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle
            .lock()
            .retain(|idle| !idle.sender.is_closed() && now - idle.since < self.idle_timeout);
        let mut shared = self.shared.lock();
        if shared.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *shared = None;
        }
    }

    #[cfg(test)]
    pub fn idle_len(&self) -> usize {
        self.idle.lock().len()
    }

    fn share(&self) -> Option<Sender> {
        let shared = self.shared.lock();
        let sender = shared.as_ref().filter(|sender| !sender.is_closed())?;
        Some(Sender::H2(sender.clone()))
    }

    fn pop(&self) -> Option<http1::SendRequest<Body>> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        while let Some(last) = idle.pop() {
            if !last.sender.is_closed() && now - last.since < self.idle_timeout {
                return Some(last.sender);
            }
        }
        None
    }
}
