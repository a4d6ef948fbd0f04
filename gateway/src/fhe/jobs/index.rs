//! Which jobs there are, what they take, and whose is next: in memory, and nothing else.
//!
//! Invariants: what is counted is what is there; count and bytes exceed their limits only by what a start found; tenants
//! take turns, whatever they have waiting.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{JobError, JobId, Note, State, Status};
use crate::fhe::Tenant;
use crate::fhe::batch::GivenUp;

#[derive(Clone, Copy, Debug)]
pub(in crate::fhe) struct Limits {
    /// Of all tenants and of one.
    pub jobs: usize,
    pub bytes: u64,
    pub tenant_jobs: usize,
    pub tenant_bytes: u64,
}

/// ```text
/// Arriving → Queued ⇄ Running → Ended
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Being written; nobody knows of it.
    Arriving,
    Queued,
    Running,
    Ended,
}

pub(super) struct Job {
    pub note: Note,
    pub given_up: GivenUp,
    /// The attempt of this process is one of those that its note counts.
    pub is_counted: bool,
    phase: Phase,
    bytes: u64,
}

impl Job {
    pub fn new(note: Note, phase: Phase, bytes: u64) -> Self {
        Self {
            note,
            given_up: GivenUp::default(),
            is_counted: false,
            phase,
            bytes,
        }
    }

    pub fn status(&self) -> Status {
        match (self.phase, &self.note.state) {
            (_, State::Done { .. }) => Status::Done,
            (_, State::Failed { .. }) => Status::Failed,
            (Phase::Running, State::Waiting) => Status::Running,
            (Phase::Arriving | Phase::Queued | Phase::Ended, State::Waiting) => Status::Queued,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Usage {
    jobs: usize,
    bytes: u64,
}

type Name = (Tenant, JobId);
/// By urgency, then in their order.
type Line = BTreeSet<(u8, u64, JobId)>;

pub(super) struct Index {
    limits: Limits,
    jobs: HashMap<Name, Job>,
    usage: HashMap<Tenant, Usage>,
    total: Usage,
    /// Tenants with something waiting, the next one first.
    lines: VecDeque<(Tenant, Line)>,
    arrivals: u64,
}

impl Index {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            jobs: HashMap::new(),
            usage: HashMap::new(),
            total: Usage::default(),
            lines: VecDeque::new(),
            arrivals: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.total.jobs
    }

    pub fn bytes(&self) -> u64 {
        self.total.bytes
    }

    pub fn add(&mut self, tenant: &Tenant, id: &JobId, job: Job) -> Result<(), JobError> {
        let (own, limits) = (self.usage.get(tenant).copied(), self.limits);
        let own = own.unwrap_or_default();
        if own.jobs >= limits.tenant_jobs {
            return Err(JobError::TooMany {
                limit: limits.tenant_jobs,
            });
        }
        if own.bytes.saturating_add(job.bytes) > limits.tenant_bytes {
            return Err(JobError::TooMuch {
                limit: limits.tenant_bytes,
            });
        }
        if self.total.jobs >= limits.jobs
            || self.total.bytes.saturating_add(job.bytes) > limits.bytes
        {
            return Err(JobError::Full);
        }
        self.insert((tenant.clone(), id.clone()), job);
        Ok(())
    }

    /// One that a start found, whatever the limits are now.
    pub fn restore(&mut self, tenant: Tenant, id: JobId, job: Job) {
        let waits = job.phase == Phase::Queued;
        self.insert((tenant.clone(), id.clone()), job);
        if waits {
            self.enqueue(&tenant, &id);
        }
    }

    fn insert(&mut self, name: Name, job: Job) {
        self.count(&name.0, |usage| {
            usage.jobs += 1;
            usage.bytes += job.bytes;
        });
        self.jobs.insert(name, job);
    }

    fn count(&mut self, tenant: &Tenant, change: impl Fn(&mut Usage)) {
        change(&mut self.total);
        let own = self.usage.entry(tenant.clone()).or_default();
        change(own);
        if own.jobs == 0 {
            self.usage.remove(tenant);
        }
    }

    /// At the end of its tenant's line.
    pub fn enqueue(&mut self, tenant: &Tenant, id: &JobId) {
        let Some(job) = self.jobs.get_mut(&(tenant.clone(), id.clone())) else {
            return;
        };
        job.phase = Phase::Queued;
        self.arrivals += 1;
        let place = (job.note.urgency, self.arrivals, id.clone());
        match self.lines.iter_mut().find(|(of, _)| of == tenant) {
            Some((_, line)) => {
                line.insert(place);
            }
            None => self
                .lines
                .push_back((tenant.clone(), BTreeSet::from([place]))),
        }
    }

    /// Taken out of its line; its tenant is the last to have a turn again.
    pub fn next(&mut self) -> Option<Name> {
        while let Some((tenant, mut line)) = self.lines.pop_front() {
            let first = line.pop_first();
            if !line.is_empty() {
                self.lines.push_back((tenant.clone(), line));
            }
            if let Some((_, _, id)) = first {
                return Some((tenant, id));
            }
        }
        None
    }

    /// `None` if it was deleted while it waited.
    pub fn start(&mut self, tenant: &Tenant, id: &JobId) -> Option<&Job> {
        let job = self.jobs.get_mut(&(tenant.clone(), id.clone()))?;
        job.phase = Phase::Running;
        Some(job)
    }

    /// What to write before it is evaluated; `None` if this process has done so, or it was deleted.
    pub fn to_count(&self, tenant: &Tenant, id: &JobId) -> Option<Note> {
        let job = self.jobs.get(&(tenant.clone(), id.clone()))?;
        let attempts = job.note.attempts.saturating_add(1);
        (!job.is_counted).then(|| Note {
            attempts,
            ..job.note.clone()
        })
    }

    /// That is on disk.
    pub fn count_attempt(&mut self, tenant: &Tenant, id: &JobId, attempts: u32) {
        if let Some(job) = self.jobs.get_mut(&(tenant.clone(), id.clone())) {
            (job.note.attempts, job.is_counted) = (attempts, true);
        }
    }

    /// Those that this process began and did not end.
    pub fn counted(&self) -> Vec<Name> {
        let is_open = |job: &Job| job.is_counted && job.phase != Phase::Ended;
        let open = self.jobs.iter().filter(|(_, job)| is_open(job));
        open.map(|(name, _)| name.clone()).collect()
    }

    pub fn end(&mut self, tenant: &Tenant, id: &JobId, note: Note, bytes: u64) {
        let Some(job) = self.jobs.get_mut(&(tenant.clone(), id.clone())) else {
            return;
        };
        let before = std::mem::replace(&mut job.bytes, bytes);
        (job.note, job.phase) = (note, Phase::Ended);
        self.count(tenant, |usage| {
            usage.bytes = usage.bytes - before + bytes;
        });
    }

    /// One that its tenant may know of.
    pub fn visible(&self, tenant: &Tenant, id: &JobId, now: u64) -> Option<&Job> {
        let job = self.jobs.get(&(tenant.clone(), id.clone()))?;
        let is_there = match job.phase {
            Phase::Arriving => false,
            // What is being evaluated is let end, and then has its time.
            Phase::Running => true,
            Phase::Queued | Phase::Ended => job.note.expires > now,
        };
        is_there.then_some(job)
    }

    pub fn is_there(&self, tenant: &Tenant, id: &JobId) -> bool {
        self.jobs.contains_key(&(tenant.clone(), id.clone()))
    }

    pub fn remove(&mut self, tenant: &Tenant, id: &JobId) {
        let Some(job) = self.jobs.remove(&(tenant.clone(), id.clone())) else {
            return;
        };
        self.count(tenant, |usage| {
            usage.jobs -= 1;
            usage.bytes -= job.bytes;
        });
        for (of, line) in &mut self.lines {
            if of == tenant {
                line.retain(|(_, _, one)| one != id);
            }
        }
        self.lines.retain(|(_, line)| !line.is_empty());
    }

    pub fn expired(&self, now: u64) -> Vec<Name> {
        let is_over = |job: &Job| match job.phase {
            Phase::Arriving | Phase::Running => false,
            Phase::Queued | Phase::Ended => job.note.expires <= now,
        };
        let over = self.jobs.iter().filter(|(_, job)| is_over(job));
        over.map(|(name, _)| name.clone()).collect()
    }
}
