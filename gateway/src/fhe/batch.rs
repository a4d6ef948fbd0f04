//! One engine with its queue and its thread: requests of any keys and programs are admitted, gathered into batches, and
//! answered. Who is next and who is turned away is decided in `schedule`. A request of more rows than a batch has time for is
//! computed in parts, in the order of its rows, between which others have their turn.
//!
//! Invariants: the queue is bounded, in requests, in bytes and in the time it would take; a batch never holds more
//! ciphertexts than the engine takes, nor keys that do not fit the cache together; a request that fails, fails alone;
//! whoever stopped waiting, or whose deadline has passed, is not computed for.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fhe::{Entropy, OsEntropy};
use kernels::{
    Accelerated, AcceleratedKey, CpuBackend, Engine, Gpus, Job, KernelError, MAX_CIPHERTEXTS,
    Timings,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::keys::KeyStore;
use super::{FheOptions, FheStartError, Problem, devices};

mod asked;
mod nice;
pub(super) mod schedule;

pub use asked::Evaluated;
pub(super) use asked::{Ask, GivenUp};
use asked::{REQUEST_COST, Waiting, Waits, row_cost};
pub(super) use schedule::Class;
pub use schedule::{Busy, Refusal};
use schedule::{Fit, Scheduler};

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

    /// `threads` as the CPU takes them. They are started by the engine's own thread, and so run as low as it does.
    pub fn start(
        name: &'static str,
        threads: Option<usize>,
        gpus: Option<Arc<Gpus>>,
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
            match CpuBackend::new(threads) {
                Ok(cpu) => {
                    let engine = Engine::new(Accelerated::new(cpu, gpus.clone()));
                    let _ = told.send(Ok(()));
                    let shared = of_worker;
                    Worker {
                        shared,
                        engine,
                        gpus,
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
        let terms = ask.terms();
        let (waiting, receiver) = Waiting::new(ask, now);
        if queue.closed {
            // The receiver tells.
            return Ok(receiver);
        }
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
    engine: Engine<Accelerated>,
    /// Those of the engine.
    gpus: Option<Arc<Gpus>>,
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
        let fits = |next: &mut Waiting, left: u64, len: usize| {
            let ask = &next.asked.ask;
            let params = ask.program.params();
            let key = (ask.key, params);
            let more_bytes = match keys.contains(&key) {
                true => 0,
                false => self.keys.expanded_bytes(self.engine.backend(), params),
            };
            let least = REQUEST_COST + row_cost(ask.program.program());
            let has_room = len < limits.batch_size && key_bytes + more_bytes <= budget;
            if len > 0 && (!has_room || least > left) {
                return Fit::No;
            }
            // What is left of the batch's time is filled with rows, and never more ciphertexts than there is room for.
            let per_row = ask.program.ciphertexts_per_row().max(1);
            let rows = (MAX_CIPHERTEXTS - ciphertexts) / per_row;
            if len > 0 && rows == 0 {
                return Fit::No;
            }
            let room = REQUEST_COST + rows as u64 * row_cost(ask.program.program());
            let part = next.part(left.min(room));
            let taken = part.as_ref().map_or(&*next, |(part, _)| part);
            (ciphertexts, key_bytes) = (ciphertexts + taken.ciphertexts(), key_bytes + more_bytes);
            keys.insert(key);
            match part {
                Some((part, cost)) => Fit::Part(part, cost),
                None => Fit::Whole,
            }
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
            one.asked.answer(Err(Problem::too_late(1)));
        }
        taken.batch
    }

    fn evaluate(&self, batch: Vec<Waiting>, gathering: Instant, began: Instant) {
        let mut ready = Vec::new();
        for one in batch.into_iter().filter(|one| !one.is_gone()) {
            match self.keys.expanded(
                self.engine.backend(),
                &one.asked.ask.tenant,
                one.asked.ask.key,
                one.asked.ask.program.params(),
            ) {
                Ok(key) => ready.push((one, key)),
                Err(error) => one.asked.answer(Err(error.into())),
            }
        }
        self.evaluate_ready(ready, gathering, began);
    }

    fn evaluate_ready(
        &self,
        ready: Vec<(Waiting, Arc<AcceleratedKey>)>,
        gathering: Instant,
        began: Instant,
    ) {
        if ready.is_empty() {
            return;
        }
        let jobs: Vec<Job<AcceleratedKey>> = ready
            .iter()
            .map(|(one, key)| Job {
                program: one.asked.ask.program.clone(),
                key: key.clone(),
                request: one.asked.ask.request.clone(),
                rows: one.rows.clone(),
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
            let since = one.asked.since;
            let waits = Waits {
                queued: gathering.saturating_duration_since(since),
                gathered: began.saturating_duration_since(gathering.max(since)),
            };
            one.computed(words, waits, timings, batch_len);
        }
    }

    /// A failed batch again, each alone, so that only the request at fault fails.
    fn one_by_one(
        &self,
        ready: Vec<(Waiting, Arc<AcceleratedKey>)>,
        gathering: Instant,
        began: Instant,
    ) {
        if ready.len() > 1 {
            ready
                .into_iter()
                .for_each(|one| self.evaluate_ready(vec![one], gathering, began));
            return;
        }
        for (one, _) in ready {
            one.asked.answer(Err(Problem::internal()));
        }
    }

    fn count(&self, ready: &[(Waiting, Arc<AcceleratedKey>)], timings: &Timings) {
        let engine = self.shared.name;
        let rows: usize = ready.iter().map(|(one, _)| one.rows.len()).sum();
        metrics::counter!("gateway_fhe_rows_total", "engine" => engine).increment(rows as u64);
        metrics::counter!("gateway_fhe_bootstraps_total").increment(timings.bootstraps as u64);
        devices::count(self.gpus.as_deref(), timings.bootstraps as u64);
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
