//! Jobs: requests that are answered at once with a promise, evaluated while nobody waits, and whose results stay until
//! they are fetched and deleted, or expire.
//!
//! ```text
//! POST evaluate, Prefer: respond-async → disk → 202     GET jobs/{id} → index     GET …/result → disk
//!                                          ↓ a few at a time, tenant after tenant
//!                                        feeders → scorer (behind everybody who waits) → disk
//! ```
//!
//! Invariants: a job is on disk before anybody is told of it, and its result before it counts as done; one file a job,
//! whole at every moment; a job is only ever found by its tenant; count and bytes are bounded, of each tenant and in all,
//! and what a result will take is set aside when the job begins; a job that had not ended when the gateway did is
//! evaluated again, but not for ever: see `attempts`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_types::Digest;
use fhe::wire::Reply;
use fhe::{Entropy, OsEntropy};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::batch::{Ask, Evaluated, GivenUp};
use super::keys::Clock;
use super::{Problem, Tenant};

mod attempts;
mod disk;
mod error;
mod feeders;
mod index;

pub use error::JobError;
pub(super) use feeders::Feeders;
pub(super) use index::Limits;

use disk::Layout;
use index::{Index, Job, Phase};

/// Of one tenant, and of all: each takes a few hundred bytes of memory.
pub(super) const MAX_TENANT_JOBS: usize = 512;
pub(super) const MAX_JOBS: usize = 4096;
/// What has expired is gone from the disk so soon after.
const SWEEP: Duration = Duration::from_secs(60);
/// A note beside the request or the reply, at most.
const NOTE_BYTES: u64 = 2 << 10;

/// 32 hexadecimal digits that nobody guesses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct JobId(Arc<str>);

impl JobId {
    fn new() -> Result<Self, JobError> {
        let bits = OsEntropy.seed().map_err(JobError::Entropy)?;
        Ok(Self(format!("{bits:032x}").into()))
    }

    /// `None` for what no job is called: it is also the name of a file.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a job ended. What it ended with follows the note in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Its request follows.
    Waiting,
    /// Its reply follows.
    Done {
        finished: u64,
        server_timing: String,
    },
    /// Nothing follows; the problem as its client is told it (RFC 9457).
    Failed { finished: u64, problem: Value },
}

/// What is known of a job. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub program: String,
    pub key: Digest,
    pub created: u64,
    pub expires: u64,
    pub state: State,
    /// Of its tenant, when it began.
    priority: u8,
    urgency: u8,
    /// What it takes on disk at most, until it has ended.
    reserved: u64,
    /// How often it was begun, by gateways that did not live to its end.
    #[serde(default)]
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    Running,
    Done,
    Failed,
}

/// A job as its tenant sees it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub id: JobId,
    pub status: Status,
    pub note: Note,
}

pub(super) struct JobOptions {
    pub dir: PathBuf,
    pub ttl: Duration,
    pub limits: Limits,
    pub clock: Clock,
}

/// Every job, on disk and in the index.
pub(super) struct Jobs {
    layout: Layout,
    ttl_s: u64,
    clock: Clock,
    /// Held while a file of a job that others can name is written or removed. Taken before `inner`.
    disk: Mutex<()>,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Shared by jobs that are evaluated beside others, and had alone by one that may have ended a gateway.
    beside: RwLock<()>,
}

struct Inner {
    index: Index,
    next_sweep: Instant,
    is_stopping: bool,
}

/// A job to be evaluated now.
struct Turn {
    tenant: Tenant,
    id: JobId,
    note: Note,
    /// The attempt of this process is on disk already: it was put back.
    is_counted: bool,
    given_up: GivenUp,
}

impl Jobs {
    /// Reads which jobs are there. Those that have not ended wait again.
    pub fn open(options: JobOptions) -> Result<Self, JobError> {
        let layout = Layout::new(&options.dir);
        let mut found = layout.scan().map_err(JobError::io(&options.dir))?;
        found.sort_by(|a, b| (a.note.created, &a.id).cmp(&(b.note.created, &b.id)));
        let mut index = Index::new(options.limits);
        for one in found {
            let (phase, bytes) = match one.note.state {
                State::Waiting => (Phase::Queued, one.note.reserved.max(one.bytes)),
                State::Done { .. } | State::Failed { .. } => (Phase::Ended, one.bytes),
            };
            index.restore(one.tenant, one.id, Job::new(one.note, phase, bytes));
        }
        let jobs = Self {
            layout,
            ttl_s: options.ttl.as_secs(),
            clock: options.clock,
            disk: Mutex::new(()),
            inner: Mutex::new(Inner {
                index,
                next_sweep: Instant::now(),
                is_stopping: false,
            }),
            changed: Condvar::new(),
            beside: RwLock::new(()),
        };
        jobs.show(&jobs.inner.lock());
        Ok(jobs)
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }

    fn show(&self, inner: &Inner) {
        metrics::gauge!("gateway_fhe_jobs").set(inner.index.len() as f64);
        metrics::gauge!("gateway_fhe_job_store_bytes").set(inner.index.bytes() as f64);
    }

    /// On disk when this returns. `request` is what `ask` was made of. Waits for the disk.
    pub fn begin(&self, ask: &Ask, request: &Bytes) -> Result<View, JobError> {
        let program = ask.program.program();
        let reply = Reply::max_bytes(
            ask.request.rows(),
            program.result_count(),
            program.file().result.bits,
        );
        let created = self.now();
        let note = Note {
            program: program.name().to_owned(),
            key: ask.key.0,
            created,
            expires: created.saturating_add(self.ttl_s),
            state: State::Waiting,
            priority: ask.priority,
            urgency: ask.urgency,
            reserved: NOTE_BYTES + reply.max(request.len()) as u64,
            attempts: 0,
        };
        let id = JobId::new()?;
        let tenant = &ask.tenant;
        let job = Job::new(note.clone(), Phase::Arriving, note.reserved);
        self.inner.lock().index.add(tenant, &id, job)?;
        let written = self.layout.write(tenant, &id, &note, request);
        let mut inner = self.inner.lock();
        match written {
            Ok(_) => inner.index.enqueue(tenant, &id),
            Err(error) => {
                inner.index.remove(tenant, &id);
                return Err(JobError::io(&self.layout.job(tenant, &id))(error));
            }
        }
        self.show(&inner);
        self.changed.notify_one();
        Ok(View {
            id,
            status: Status::Queued,
            note,
        })
    }

    pub fn view(&self, tenant: &Tenant, id: &JobId) -> Result<View, JobError> {
        let inner = self.inner.lock();
        let job = inner.index.visible(tenant, id, self.now());
        let job = job.ok_or(JobError::Unknown)?;
        Ok(View {
            id: id.clone(),
            status: job.status(),
            note: job.note.clone(),
        })
    }

    /// The bytes of the reply of a job that is done. Waits for the disk.
    pub fn reply(&self, tenant: &Tenant, id: &JobId) -> Result<Bytes, JobError> {
        let path = self.layout.job(tenant, id);
        match self.layout.read(tenant, id) {
            Ok((_, body)) => Ok(body),
            // Deleted or expired since it was looked up.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(JobError::Unknown),
            Err(error) => Err(JobError::io(&path)(error)),
        }
    }

    /// Gone from the disk when this returns. Waits for the disk.
    pub fn remove(&self, tenant: &Tenant, id: &JobId) -> Result<(), JobError> {
        let _disk = self.disk.lock();
        let now = self.now();
        let given_up = {
            let inner = self.inner.lock();
            let job = inner.index.visible(tenant, id, now);
            job.ok_or(JobError::Unknown)?.given_up.clone()
        };
        self.layout
            .remove(tenant, id)
            .map_err(JobError::io(&self.layout.job(tenant, id)))?;
        given_up.give_up();
        let mut inner = self.inner.lock();
        inner.index.remove(tenant, id);
        self.show(&inner);
        Ok(())
    }

    /// The job whose turn it is, waited for; `None` once the gateway stops. Sweeps in between.
    fn next(&self) -> Option<Turn> {
        let mut inner = self.inner.lock();
        loop {
            if inner.is_stopping {
                return None;
            }
            if Instant::now() >= inner.next_sweep {
                inner.next_sweep = Instant::now() + SWEEP;
                MutexGuard::unlocked(&mut inner, || self.sweep());
                continue;
            }
            if let Some((tenant, id)) = inner.index.next()
                && let Some(job) = inner.index.start(&tenant, &id)
            {
                return Some(Turn {
                    note: job.note.clone(),
                    is_counted: job.is_counted,
                    given_up: job.given_up.clone(),
                    tenant,
                    id,
                });
            }
            let until = inner.next_sweep;
            self.changed.wait_until(&mut inner, until);
        }
    }

    /// Back to the end of its tenant's line, after a while.
    fn put_back(&self, turn: &Turn, after: Duration) {
        let until = Instant::now() + after;
        let mut inner = self.inner.lock();
        while !inner.is_stopping
            && !self.changed.wait_until(&mut inner, until).timed_out()
            && Instant::now() < until
        {}
        inner.index.enqueue(&turn.tenant, &turn.id);
    }

    /// The result is on disk before the job counts as ended. One that was deleted meanwhile leaves nothing.
    fn finish(&self, turn: Turn, outcome: Result<Evaluated, Problem>, timing: String) {
        let finished = self.now();
        let (result, state, body) = match outcome {
            Ok(evaluated) => {
                let state = State::Done {
                    finished,
                    server_timing: timing,
                };
                ("done", state, evaluated.reply)
            }
            Err(problem) => {
                let problem = problem.document();
                ("failed", State::Failed { finished, problem }, Bytes::new())
            }
        };
        let mut note = Note {
            state,
            expires: finished.saturating_add(self.ttl_s),
            ..turn.note
        };
        let _disk = self.disk.lock();
        if !self.inner.lock().index.is_there(&turn.tenant, &turn.id) {
            return;
        }
        let written = self.layout.write(&turn.tenant, &turn.id, &note, &body);
        let bytes = written.unwrap_or_else(|error| {
            // On disk it still waits: the next start tries again.
            tracing::error!(%error, job = turn.id.as_str(), "the result of an FHE job cannot be written; is the disk full?");
            let problem = Problem::internal().document();
            note.state = State::Failed { finished, problem };
            note.reserved
        });
        let mut inner = self.inner.lock();
        inner.index.end(&turn.tenant, &turn.id, note, bytes);
        self.show(&inner);
        metrics::counter!("gateway_fhe_jobs_ended_total", "result" => result).increment(1);
    }

    /// Deletes what has expired.
    fn sweep(&self) {
        let expired = self.inner.lock().index.expired(self.now());
        for (tenant, id) in expired {
            let _disk = self.disk.lock();
            if let Err(error) = self.layout.remove(&tenant, &id) {
                tracing::warn!(%error, job = id.as_str(), "an expired FHE job cannot be deleted; it is tried again");
                continue;
            }
            let mut inner = self.inner.lock();
            inner.index.remove(&tenant, &id);
            self.show(&inner);
            metrics::counter!("gateway_fhe_jobs_ended_total", "result" => "expired").increment(1);
        }
    }

    fn stop(&self) {
        self.inner.lock().is_stopping = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
