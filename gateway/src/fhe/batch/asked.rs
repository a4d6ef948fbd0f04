//! A request from its admission to its answer: what it asks, which of its rows wait, and the results of those that do not.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_types::Digest;
use fhe::{KeyId, Program, Reply, Request};
use kernels::{Compiled, Timings};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::schedule::{BOOTSTRAP_COST, Class, Terms};
use crate::fhe::{Problem, Tenant};

/// Of every request, whatever it computes: its masks are expanded and its reply is packed, which is like ten terms.
pub(super) const REQUEST_COST: u64 = 10;
/// A request in the queue is its values and about so much around them.
const REQUEST_BYTES: usize = 512;

/// An evaluation that is done.
#[derive(Clone, Debug)]
pub struct Evaluated {
    pub reply: Bytes,
    /// From admission until the engine was free.
    pub queued: Duration,
    /// While others were waited for, to be computed together.
    pub gathered: Duration,
    /// Of the whole batches that its rows were part of.
    pub timings: Timings,
    /// Of the largest of them.
    pub batch_len: usize,
}

/// One checked request.
pub(in crate::fhe) struct Ask {
    pub program: Arc<Compiled>,
    pub request: Arc<Request>,
    /// Of the request's bytes.
    pub digest: Digest,
    pub tenant: Tenant,
    pub class: Class,
    /// Of the tenant, 0 to 9.
    pub priority: u8,
    /// 0 to 7, the most urgent first.
    pub urgency: u8,
    /// Afterwards nobody wants the answer.
    pub deadline: Option<Instant>,
    pub key: KeyId,
    pub given_up: GivenUp,
}

/// Said by who asked and wants no answer any more, though it still waits for one.
#[derive(Clone, Debug, Default)]
pub(in crate::fhe) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Ask {
    pub fn terms(&self) -> Terms {
        let rows = self.request.rows();
        Terms {
            tenant: self.tenant.clone(),
            class: self.class,
            priority: self.priority,
            urgency: self.urgency,
            cost: cost(self.program.program(), rows),
            bytes: rows * self.request.values_per_row() * 8 + REQUEST_BYTES,
            deadline: self.deadline,
        }
    }
}

/// What so many rows of a program cost, in the units of `schedule`.
fn cost(program: &Program, rows: usize) -> u64 {
    REQUEST_COST + rows as u64 * row_cost(program)
}

pub(super) fn row_cost(program: &Program) -> u64 {
    program.bootstraps_per_row() as u64 * BOOTSTRAP_COST + program.terms_per_row() as u64
}

/// Rows of a request that wait, or are computed.
pub(super) struct Waiting {
    pub asked: Arc<Asked>,
    pub rows: Range<usize>,
}

/// A request from its admission to its answer.
pub(super) struct Asked {
    pub ask: Ask,
    pub since: Instant,
    progress: Mutex<Progress>,
}

struct Progress {
    /// `None` once it is answered.
    answer: Option<oneshot::Sender<Result<Evaluated, Problem>>>,
    /// Results of its rows so far, in their order: one engine computes the parts one after another.
    words: Vec<u64>,
    /// Of its first part.
    waits: Option<Waits>,
    timings: Timings,
    batch_len: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Waits {
    pub queued: Duration,
    pub gathered: Duration,
}

impl Asked {
    pub fn answer(&self, outcome: Result<Evaluated, Problem>) {
        // Who stopped waiting does not mind.
        if let Some(answer) = self.progress.lock().answer.take() {
            let _ = answer.send(outcome);
        }
    }

    fn is_gone(&self) -> bool {
        let progress = self.progress.lock();
        progress
            .answer
            .as_ref()
            .is_none_or(|answer| answer.is_closed())
            || self.ask.given_up.is_given_up()
    }
}

impl Waiting {
    /// All rows of a request that comes now, and where its answer will be.
    pub fn new(ask: Ask, since: Instant) -> (Self, oneshot::Receiver<Result<Evaluated, Problem>>) {
        let (answer, receiver) = oneshot::channel();
        let waiting = Self {
            rows: 0..ask.request.rows(),
            asked: Arc::new(Asked {
                ask,
                since,
                progress: Mutex::new(Progress {
                    answer: Some(answer),
                    words: Vec::new(),
                    waits: None,
                    timings: Timings::default(),
                    batch_len: 0,
                }),
            }),
        };
        (waiting, receiver)
    }

    pub fn is_gone(&self) -> bool {
        self.asked.is_gone()
    }

    /// At least 1: what the batch counts.
    pub fn ciphertexts(&self) -> usize {
        (self.rows.len() * self.asked.ask.program.ciphertexts_per_row()).max(1)
    }

    /// Its results are there; those of the last rows make the answer.
    pub fn computed(self, words: Vec<u64>, waits: Waits, timings: Timings, batch_len: usize) {
        let asked = &self.asked;
        let evaluated = {
            let mut progress = asked.progress.lock();
            match progress.words.is_empty() {
                true => progress.words = words,
                false => progress.words.extend(words),
            }
            progress.timings.linear += timings.linear;
            progress.timings.keyswitch += timings.keyswitch;
            progress.timings.bootstrap += timings.bootstrap;
            progress.timings.bootstraps += timings.bootstraps;
            progress.batch_len = progress.batch_len.max(batch_len);
            let waits = *progress.waits.get_or_insert(waits);
            if self.rows.end < asked.ask.request.rows() {
                return;
            }
            let words = std::mem::take(&mut progress.words);
            reply(&asked.ask, &words).map(|reply| Evaluated {
                reply,
                queued: waits.queued,
                gathered: waits.gathered,
                timings: progress.timings,
                batch_len: progress.batch_len,
            })
        };
        asked.answer(evaluated);
    }

    /// The rows of its front that fit a cost, at least one, and what they take of its cost; `None` if
    /// that is all of them.
    pub fn part(&mut self, cost: u64) -> Option<(Self, u64)> {
        let of_row = row_cost(self.asked.ask.program.program()).max(1);
        let most = cost.saturating_sub(REQUEST_COST) / of_row;
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        if most >= self.rows.len() {
            return None;
        }
        let rows = self.rows.start..self.rows.start + most;
        self.rows.start = rows.end;
        let part = Self {
            asked: self.asked.clone(),
            rows,
        };
        Some((part, most as u64 * of_row))
    }
}

fn reply(ask: &Ask, words: &[u64]) -> Result<Bytes, Problem> {
    match Reply::to(&ask.request, ask.digest, ask.program.program(), words) {
        Ok(reply) => Ok(reply.to_bytes().into()),
        Err(error) => {
            tracing::error!(%error, "a reply could not be made");
            Err(Problem::internal())
        }
    }
}
