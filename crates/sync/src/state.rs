//! What a site does next about its batches (pure): [`SyncState::handle`] takes what happened, [`SyncState::poll`]
//! says what to do, [`SyncState::wake_at`] when to ask again. Clock and chance are arguments.
//!
//! ```text
//! Waiting ─(time)→ Connecting ─→ Enrolling ─→ Surveying ─→ Sending ─(lost)→ Waiting
//!                                    ↑            │           │
//!                                    └──(time)── Blocked ←────┘ fenced, foreign epoch, wrong certificate
//! ```
//! Invariants: at most `max_in_flight` batches are on their way, none twice at once; the lowest go first; `Ack` and
//! `SetAside` follow only from the aggregator's word about that batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use edge_types::{BatchNo, Digest, Incarnation};

use crate::backoff::Backoff;
use crate::survey::{BatchRanges, Explained};

/// What a site remembers about the aggregator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    pub store: Option<Incarnation>,
    pub explained: Explained,
}

/// What to do. The caller does it, and reports with an [`Event`] where one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// → `Connected` or `Lost`
    Connect,
    /// → `Enrolled`, `Blocked` or `Failed`
    Enrol,
    /// → `Surveyed`, `Blocked` or `Failed`
    Survey,
    /// → `Put`
    Send(BatchNo),
    /// Tell the outbox that the aggregator has it.
    Ack(BatchNo),
    /// Set the batch aside in the outbox. → `SetAside`
    SetAside { no: BatchNo, reason: String },
    /// Tell the outbox to send what it still holds from this batch on.
    ResendFrom(BatchNo),
    /// Keep this for the next start.
    Remember(Memory),
}

/// What the aggregator said about a batch, or what kept it from saying anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutResult {
    /// It is stored, these bytes.
    Stored,
    /// It will never be taken.
    Refused { reason: String },
    /// Another batch has its name.
    Conflict {
        stored: Option<Digest>,
        ours: Digest,
    },
    /// A person has to act: a newer outbox has this site's name, or our certificate is another site's.
    Blocked { reason: String },
    /// The epoch is unknown there: enrol again.
    NotEnrolled,
    /// Not now.
    Later {
        retry_after: Option<Duration>,
        reason: String,
    },
    /// Our own disk did not give it.
    Unreadable { reason: String },
    /// The outbox no longer has it pending.
    Gone,
    /// The request failed on its way; the connection may be fine.
    Failed { reason: String },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Connected,
    /// The connection could not be made, or has ended.
    Lost {
        reason: String,
    },
    Enrolled,
    /// What the aggregator holds of this outbox.
    Surveyed {
        store: Incarnation,
        /// Batches that neither it nor the outbox has (see [`survey::holes`](crate::survey::holes)).
        holes: BatchRanges,
    },
    /// Enrolment or survey failed for now.
    Failed {
        retry_after: Option<Duration>,
        reason: String,
    },
    /// A person has to act; asked again from time to time all the same.
    Blocked {
        reason: String,
    },
    Put {
        no: BatchNo,
        result: PutResult,
    },
    SetAside {
        no: BatchNo,
        done: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Waiting { until: Instant },
    Connecting,
    Enrol,
    Enrolling,
    Survey,
    Surveying,
    Sending,
    Blocked { until: Instant },
}

/// Where things stand, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Waiting,
    Connecting,
    Enrolling,
    Sending,
    /// The aggregator has asked to wait.
    Paused,
    Blocked,
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub max_in_flight: usize,
    pub backoff_first: Duration,
    pub backoff_most: Duration,
}

/// A batch that our own side cannot deliver for now; the others go on.
#[derive(Debug, Clone)]
struct Deferred {
    until: Instant,
    backoff: Backoff,
}

#[derive(Debug)]
pub struct SyncState {
    limits: Limits,
    phase: Phase,
    connecting: Backoff,
    sending: Backoff,
    /// No batch before this moment.
    paused_until: Option<Instant>,
    in_flight: BTreeSet<BatchNo>,
    setting_aside: BTreeSet<BatchNo>,
    deferred: BTreeMap<BatchNo, Deferred>,
    memory: Memory,
    actions: VecDeque<Action>,
    problem: Option<String>,
}

impl SyncState {
    /// `memory` is from before, or empty. The first attempt comes within `backoff_first`, at a moment that
    /// chance decides: many sites that start together do not connect together.
    pub fn new(limits: Limits, memory: Memory, now: Instant, chance: f64) -> Self {
        let backoff = Backoff::new(limits.backoff_first, limits.backoff_most);
        // A small share of the first bound: a single site should not be seen to wait.
        let until = now + limits.backoff_first.mul_f64(chance.clamp(0.0, 1.0) / 4.0);
        Self {
            limits,
            phase: Phase::Waiting { until },
            connecting: backoff.clone(),
            sending: backoff,
            paused_until: None,
            in_flight: BTreeSet::new(),
            setting_aside: BTreeSet::new(),
            deferred: BTreeMap::new(),
            memory,
            actions: VecDeque::new(),
            problem: None,
        }
    }

    /// The next thing to do, `None` for nothing now. `pending` are the outbox's unacknowledged batches, ascending; it
    /// is enough to give [`Self::window`] of them.
    pub fn poll(&mut self, now: Instant, pending: &[BatchNo]) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                self.phase = Phase::Connecting;
                Some(Action::Connect)
            }
            Phase::Blocked { until } if until <= now => {
                self.phase = Phase::Enrolling;
                Some(Action::Enrol)
            }
            Phase::Enrol => {
                self.phase = Phase::Enrolling;
                Some(Action::Enrol)
            }
            Phase::Survey => {
                self.phase = Phase::Surveying;
                Some(Action::Survey)
            }
            Phase::Sending => self.next_batch(now, pending).map(Action::Send),
            Phase::Waiting { .. }
            | Phase::Blocked { .. }
            | Phase::Connecting
            | Phase::Enrolling
            | Phase::Surveying => None,
        }
    }

    /// How many pending batches `poll` may have to look at.
    pub fn window(&self) -> usize {
        self.limits.max_in_flight
            + self.in_flight.len()
            + self.setting_aside.len()
            + self.deferred.len()
    }

    /// When `poll` may have something to do though nothing has happened.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } | Phase::Blocked { until } => Some(until),
            Phase::Sending => {
                let deferred = self.deferred.values().map(|deferred| deferred.until);
                // What is due already waits for something to happen, not for time.
                self.paused_until
                    .into_iter()
                    .chain(deferred)
                    .filter(|at| *at > now)
                    .min()
            }
            Phase::Connecting
            | Phase::Enrol
            | Phase::Enrolling
            | Phase::Survey
            | Phase::Surveying => None,
        }
    }

    /// What stands in the way, if anything does.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub fn stage(&self, now: Instant) -> Stage {
        match self.phase {
            Phase::Waiting { .. } => Stage::Waiting,
            Phase::Connecting => Stage::Connecting,
            Phase::Enrol | Phase::Enrolling | Phase::Survey | Phase::Surveying => Stage::Enrolling,
            Phase::Sending if self.paused_until.is_some_and(|until| until > now) => Stage::Paused,
            Phase::Sending => Stage::Sending,
            Phase::Blocked { .. } => Stage::Blocked,
        }
    }

    /// The store that the aggregator was last seen to have.
    pub fn store(&self) -> Option<Incarnation> {
        self.memory.store
    }

    /// Batches that are on their way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes in what happened. `chance` is uniform in 0..1.
    pub fn handle(&mut self, now: Instant, event: Event, chance: f64) {
        match event {
            Event::Connected => self.phase = Phase::Enrol,
            Event::Lost { reason } => self.lost(now, reason, chance),
            Event::Enrolled => self.phase = Phase::Survey,
            Event::Surveyed { store, holes } => self.surveyed(store, holes),
            Event::Failed {
                retry_after,
                reason,
            } => {
                let wait = self.connecting.after_failure(chance, retry_after);
                self.problem = Some(reason);
                self.phase = Phase::Blocked { until: now + wait };
            }
            Event::Blocked { reason } => self.block(now, reason, chance),
            Event::Put { no, result } => self.put(now, no, result, chance),
            Event::SetAside { no, done } => {
                self.setting_aside.remove(&no);
                if !done {
                    self.defer(now, no, chance);
                }
            }
        }
    }

    fn next_batch(&mut self, now: Instant, pending: &[BatchNo]) -> Option<BatchNo> {
        if self.in_flight.len() >= self.limits.max_in_flight
            || self.paused_until.is_some_and(|until| until > now)
        {
            return None;
        }
        self.paused_until = None;
        let free = |no: &&BatchNo| {
            !self.in_flight.contains(no)
                && !self.setting_aside.contains(no)
                && self
                    .deferred
                    .get(no)
                    .is_none_or(|deferred| deferred.until <= now)
        };
        let no = *pending.iter().find(free)?;
        self.in_flight.insert(no);
        Some(no)
    }

    fn lost(&mut self, now: Instant, reason: String, chance: f64) {
        self.in_flight.clear();
        self.problem = Some(reason);
        self.phase = Phase::Waiting {
            until: now + self.connecting.after_failure(chance, None),
        };
    }

    fn block(&mut self, now: Instant, reason: String, chance: f64) {
        self.problem = Some(reason);
        // Only a batch that gets through ends this row of failures: enrolling alone proves nothing.
        self.phase = Phase::Blocked {
            until: now + self.sending.after_failure(chance, None),
        };
    }

    /// What the store lacks and the outbox had confirmed is sent again, as far as the outbox still holds it.
    fn surveyed(&mut self, store: Incarnation, holes: BatchRanges) {
        let before = self.memory.clone();
        if self.memory.store != Some(store) {
            self.memory = Memory {
                store: Some(store),
                explained: Explained::default(),
            };
        }
        if let Some(first_lost) = self.memory.explained.learn(holes) {
            self.actions.push_back(Action::ResendFrom(first_lost));
        }
        if self.memory != before {
            self.actions
                .push_back(Action::Remember(self.memory.clone()));
        }
        self.connecting.reset();
        self.problem = None;
        self.phase = Phase::Sending;
    }

    fn put(&mut self, now: Instant, no: BatchNo, result: PutResult, chance: f64) {
        // A word from an earlier connection counts if it is about the batch, and not if it is about the link.
        let expected = self.in_flight.remove(&no);
        match result {
            PutResult::Stored => self.stored(no),
            PutResult::Conflict {
                stored: Some(stored),
                ours,
            } if stored == ours => self.stored(no),
            PutResult::Refused { reason } => self.set_aside(no, reason),
            PutResult::Conflict { stored, .. } => {
                let there =
                    stored.map_or("another batch".to_owned(), |hash| format!("batch {hash}"));
                self.set_aside(
                    no,
                    format!("the aggregator holds {there} under this number"),
                );
            }
            _ if !expected => {}
            PutResult::Gone => {
                self.deferred.remove(&no);
            }
            PutResult::Blocked { reason } => self.block(now, reason, chance),
            PutResult::NotEnrolled => self.enrol_again(now, chance),
            PutResult::Later {
                retry_after,
                reason,
            } => {
                let until = now + self.sending.after_failure(chance, retry_after);
                self.paused_until =
                    Some(self.paused_until.map_or(until, |paused| paused.max(until)));
                self.problem = Some(reason);
            }
            PutResult::Unreadable { reason } | PutResult::Failed { reason } => {
                self.problem = Some(reason);
                self.defer(now, no, chance);
            }
        }
    }

    fn stored(&mut self, no: BatchNo) {
        self.deferred.remove(&no);
        self.sending.reset();
        if matches!(self.phase, Phase::Sending) && self.paused_until.is_none() {
            self.problem = None;
        }
        // First, so that a crash in between does not leave a batch both confirmed and excused.
        if self.memory.explained.forget(no) {
            self.actions
                .push_back(Action::Remember(self.memory.clone()));
        }
        self.actions.push_back(Action::Ack(no));
    }

    fn set_aside(&mut self, no: BatchNo, reason: String) {
        self.deferred.remove(&no);
        if self.setting_aside.insert(no) {
            self.problem = Some(format!("batch {no} was refused and set aside: {reason}"));
            self.actions.push_back(Action::SetAside { no, reason });
        }
    }

    /// Once at a time, and not at once: a store that forgets epochs must not be asked in a loop.
    fn enrol_again(&mut self, now: Instant, chance: f64) {
        if self.phase == Phase::Sending {
            self.block(
                now,
                "the aggregator does not know this outbox's epoch".to_owned(),
                chance,
            );
        }
    }

    fn defer(&mut self, now: Instant, no: BatchNo, chance: f64) {
        let limits = &self.limits;
        let fresh = || Deferred {
            until: now,
            backoff: Backoff::new(limits.backoff_first, limits.backoff_most),
        };
        let deferred = self.deferred.entry(no).or_insert_with(fresh);
        deferred.until = now + deferred.backoff.after_failure(chance, None);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
