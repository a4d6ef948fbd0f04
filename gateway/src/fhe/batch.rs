//! One engine with its queue and its thread: requests of any keys and programs are admitted, gathered into batches, and
//! answered. Who is next and who is turned away is decided in `schedule`.
//!
//! Invariants: the queue is bounded, in requests, in bytes and in the time it would take; a batch never holds more
//! ciphertexts than the engine takes, nor keys that do not fit the cache together; a request that fails, fails alone;
//! whoever stopped waiting, or whose deadline has passed, is not computed for.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_types::Digest;
use fhe::{Entropy, KeyId, OsEntropy, Program, Reply, Request};
use kernels::cpu::CpuKey;
use kernels::{Compiled, CpuBackend, Engine, Job, KernelError, MAX_CIPHERTEXTS, Timings};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::keys::KeyStore;
use super::{FheOptions, FheStartError, Problem, Tenant};

mod nice;
pub(super) mod schedule;

pub(super) use schedule::Class;
use schedule::{BOOTSTRAP_COST, Fit, Scheduler, Terms};
pub use schedule::{Busy, Refusal};

/// Of every request, whatever it computes: its masks are expanded and its reply is packed, which is like ten terms.
const REQUEST_COST: u64 = 10;
/// A request in the queue is its values and about so much around them.
const REQUEST_BYTES: usize = 512;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    batch_size: usize,
    batch_wait: Duration,
    batch_time: Duration,
    queue: schedule::Limits,
    nice: u8,
}

impl Limits {
    pub fn of(options: &FheOptions) -> Self {
        let half = (options.max_queue / 2).max(1);
        Self {
            batch_size: options.batch_size.max(1),
            batch_wait: options.batch_wait,
            batch_time: options.batch_time,
            queue: schedule::Limits {
                requests: options.max_queue.max(1),
                bytes: options.queue_bytes,
                tenant_requests: options.max_tenant_queue.unwrap_or(half).max(1),
                tenant_bytes: options.queue_bytes / 2,
                max_wait: options.max_wait,
            },
            nice: options.nice,
        }
    }
}

/// An evaluation that is done.
#[derive(Clone, Debug)]
pub struct Evaluated {
    pub reply: Bytes,
    /// From admission until the engine was free.
    pub queued: Duration,
    /// While others were waited for, to be computed together.
    pub gathered: Duration,
    /// Of the whole batch that it was part of.
    pub timings: Timings,
    pub batch_len: usize,
}

/// One checked request.
pub(super) struct Ask {
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
pub(super) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Ask {
    /// At least 1: what the batch counts.
    fn ciphertexts(&self) -> usize {
        (self.request.rows() * self.program.ciphertexts_per_row()).max(1)
    }

    fn terms(&self) -> Terms {
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
    let row = program.bootstraps_per_row() as u64 * BOOTSTRAP_COST + program.terms_per_row() as u64;
    REQUEST_COST + rows as u64 * row
}

struct Waiting {
    ask: Ask,
    since: Instant,
    answer: oneshot::Sender<Result<Evaluated, Problem>>,
}

impl Waiting {
    fn is_gone(&self) -> bool {
        self.answer.is_closed() || self.ask.given_up.is_given_up()
    }
}

struct Queue {
    scheduler: Scheduler<Waiting>,
    /// When the first of an empty queue came: others are waited for from then on.
    first: Option<Instant>,
    closed: bool,
}

struct Shared {
    name: &'static str,
    limits: Limits,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn show_len(&self, queue: &Queue) {
        metrics::gauge!("gateway_fhe_queue_len", "engine" => self.name)
            .set(queue.scheduler.len() as f64);
    }
}

/// One engine with its queue and its thread.
pub(super) struct Batcher(Arc<Shared>);

impl Drop for Batcher {
    fn drop(&mut self) {
        self.close();
    }
}

impl Batcher {
    /// The thread ends after the batch it is at; those still waiting are told that nobody will answer.
    pub fn close(&self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.scheduler.clear();
        self.0.changed.notify_all();
    }

    /// `threads` as the backend takes them. They are started by the engine's own thread, and so run as low as it does.
    pub fn start(
        name: &'static str,
        threads: Option<usize>,
        keys: Arc<KeyStore>,
        limits: Limits,
    ) -> Result<Self, FheStartError> {
        let shared = Arc::new(Shared {
            name,
            limits,
            queue: Mutex::new(Queue {
                scheduler: Scheduler::new(limits.queue),
                first: None,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let (told, started) = mpsc::channel();
        let of_worker = shared.clone();
        let work = move || {
            nice::lower_this_thread(limits.nice);
            match CpuBackend::new(threads).map(Engine::new) {
                Ok(engine) => {
                    let _ = told.send(Ok(()));
                    let shared = of_worker;
                    Worker {
                        shared,
                        engine,
                        keys,
                    }
                    .run();
                }
                Err(error) => {
                    let _ = told.send(Err(error));
                }
            }
        };
        std::thread::Builder::new()
            .name(format!("fhe-{name}"))
            .spawn(work)
            .map_err(FheStartError::Thread)?;
        let ended = |_| KernelError::Threads("its thread ended".to_owned());
        started.recv().map_err(ended).flatten()?;
        Ok(Self(shared))
    }

    /// Takes the request in, or says when to come again. The receiver fails if the gateway stops first.
    pub fn submit(&self, ask: Ask) -> Result<oneshot::Receiver<Result<Evaluated, Problem>>, Busy> {
        let shared = &self.0;
        let now = Instant::now();
        let mut queue = shared.queue.lock();
        let (answer, receiver) = oneshot::channel();
        if queue.closed {
            // The receiver tells.
            return Ok(receiver);
        }
        let terms = ask.terms();
        let waiting = Waiting {
            ask,
            since: now,
            answer,
        };
        if let Err((_, busy)) = queue.scheduler.admit(now, terms, waiting) {
            let reason = match busy.refusal {
                Refusal::TenantFull => "tenant",
                Refusal::Full => "full",
                Refusal::TooLate => "late",
            };
            metrics::counter!("gateway_fhe_refused_total", "engine" => shared.name, "reason" => reason)
                .increment(1);
            return Err(busy);
        }
        queue.first.get_or_insert(now);
        shared.show_len(&queue);
        shared.changed.notify_all();
        Ok(receiver)
    }
}

struct Worker {
    shared: Arc<Shared>,
    engine: Engine<CpuBackend>,
    keys: Arc<KeyStore>,
}

/// A batch, and when its gathering began.
struct Batch {
    requests: Vec<Waiting>,
    gathering: Instant,
}

impl Worker {
    fn run(self) {
        while let Some(batch) = self.next_batch() {
            if batch.requests.is_empty() {
                continue;
            }
            let began = Instant::now();
            self.evaluate(batch.requests, batch.gathering, began);
            self.shared.queue.lock().scheduler.finished(began.elapsed());
        }
    }

    /// Waits for a first request, then a little for others. `None` when the service has gone.
    fn next_batch(&self) -> Option<Batch> {
        let limits = self.shared.limits;
        let free = Instant::now();
        let mut queue = self.shared.queue.lock();
        while queue.scheduler.len() == 0 {
            if queue.closed {
                return None;
            }
            self.shared.changed.wait(&mut queue);
        }
        // What is left over from the batch before has waited already.
        let gathering = queue.first.take().unwrap_or(free).max(free);
        let until = gathering + limits.batch_wait;
        while queue.scheduler.len() < limits.batch_size && !queue.closed {
            if self
                .shared
                .changed
                .wait_until(&mut queue, until)
                .timed_out()
            {
                break;
            }
        }
        queue.first = None;
        let requests = self.take(&mut queue);
        self.shared.show_len(&queue);
        Some(Batch {
            requests,
            gathering,
        })
    }

    /// As much as fits together, in the order of the scheduler. The first always does.
    fn take(&self, queue: &mut Queue) -> Vec<Waiting> {
        let limits = self.shared.limits;
        let budget = self.keys.cache_budget();
        let (mut ciphertexts, mut key_bytes) = (0, 0);
        let mut keys = HashSet::new();
        let fits = |next: &mut Waiting, _, len: usize| {
            let more = next.ask.ciphertexts();
            let params = next.ask.program.params();
            let more_bytes = match keys.contains(&(next.ask.key, params)) {
                true => 0,
                false => self.keys.expanded_bytes(self.engine.backend(), params),
            };
            let fits = len < limits.batch_size
                && ciphertexts + more <= MAX_CIPHERTEXTS
                && key_bytes + more_bytes <= budget;
            if !fits && len > 0 {
                return Fit::No;
            }
            keys.insert((next.ask.key, params));
            (ciphertexts, key_bytes) = (ciphertexts + more, key_bytes + more_bytes);
            Fit::Whole
        };
        let now = Instant::now();
        let taken = queue
            .scheduler
            .take(now, limits.batch_time, Waiting::is_gone, fits);
        let dropped = [("late", taken.late.len()), ("gone", taken.gone)];
        for (reason, count) in dropped {
            metrics::counter!("gateway_fhe_dropped_total", "engine" => self.shared.name, "reason" => reason)
                .increment(count as u64);
        }
        for one in taken.late {
            let _ = one.answer.send(Err(Problem::too_late(1)));
        }
        taken.batch
    }

    fn evaluate(&self, batch: Vec<Waiting>, gathering: Instant, began: Instant) {
        let mut ready = Vec::new();
        for one in batch.into_iter().filter(|one| !one.is_gone()) {
            match self.keys.expanded(
                self.engine.backend(),
                &one.ask.tenant,
                one.ask.key,
                one.ask.program.params(),
            ) {
                Ok(key) => ready.push((one, key)),
                Err(error) => {
                    let _ = one.answer.send(Err(error.into()));
                }
            }
        }
        self.evaluate_ready(ready, gathering, began);
    }

    fn evaluate_ready(
        &self,
        ready: Vec<(Waiting, Arc<CpuKey>)>,
        gathering: Instant,
        began: Instant,
    ) {
        if ready.is_empty() {
            return;
        }
        let jobs: Vec<Job<CpuKey>> = ready
            .iter()
            .map(|(one, key)| Job {
                program: one.ask.program.clone(),
                key: key.clone(),
                request: one.ask.request.clone(),
            })
            .collect();
        // A panic in arithmetic is a bug of ours: it costs this batch, and not the engine.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // New and secret for each batch: linear results are hidden with it.
            let seed = OsEntropy.secret()?;
            self.engine.run(&jobs, seed)
        }));
        let (results, timings) = match outcome {
            Ok(Ok(done)) => done,
            failed => {
                let error = failed.map_or_else(
                    |_| "a panic".to_owned(),
                    |r| r.err().map_or_else(String::new, |e| e.to_string()),
                );
                tracing::error!(
                    error,
                    requests = ready.len(),
                    engine = self.shared.name,
                    "an FHE batch failed"
                );
                return self.one_by_one(ready, gathering, began);
            }
        };
        self.count(&ready, &timings);
        let batch_len = ready.len();
        for ((one, _), words) in ready.into_iter().zip(results) {
            let evaluated = reply(&one.ask, &words).map(|reply| Evaluated {
                reply,
                queued: gathering.saturating_duration_since(one.since),
                gathered: began.saturating_duration_since(gathering.max(one.since)),
                timings,
                batch_len,
            });
            // Who stopped waiting does not mind.
            let _ = one.answer.send(evaluated);
        }
    }

    /// A failed batch again, each alone, so that only the request at fault fails.
    fn one_by_one(&self, ready: Vec<(Waiting, Arc<CpuKey>)>, gathering: Instant, began: Instant) {
        if ready.len() > 1 {
            ready
                .into_iter()
                .for_each(|one| self.evaluate_ready(vec![one], gathering, began));
            return;
        }
        for (one, _) in ready {
            let _ = one.answer.send(Err(Problem::internal()));
        }
    }

    fn count(&self, ready: &[(Waiting, Arc<CpuKey>)], timings: &Timings) {
        let engine = self.shared.name;
        let rows: usize = ready.iter().map(|(one, _)| one.ask.request.rows()).sum();
        metrics::counter!("gateway_fhe_rows_total", "engine" => engine).increment(rows as u64);
        metrics::counter!("gateway_fhe_bootstraps_total").increment(timings.bootstraps as u64);
        metrics::histogram!("gateway_fhe_batch_requests", "engine" => engine)
            .record(ready.len() as f64);
        let parts = [
            ("linear", timings.linear),
            ("keyswitch", timings.keyswitch),
            ("bootstrap", timings.bootstrap),
        ];
        for (part, time) in parts {
            metrics::histogram!("gateway_fhe_batch_seconds", "part" => part, "engine" => engine)
                .record(time.as_secs_f64());
        }
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
