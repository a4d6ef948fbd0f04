//! Admission, and the gathering of requests of any keys and programs into batches for one engine.
//!
//! Invariants: the queue is bounded, in requests and in the time it would take; a batch never holds more ciphertexts
//! than the engine takes, nor keys that do not fit the cache together; a request that fails, fails alone; whoever
//! stopped waiting is not computed for.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_types::Digest;
use fhe::wire::{Reply, ReplyHeader};
use fhe::{Entropy, KeyId, OsEntropy, ParamSet, Request};
use kernels::cpu::CpuKey;
use kernels::{Compiled, CpuBackend, Engine, Job, MAX_CIPHERTEXTS, Timings};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::keys::KeyStore;
use super::{FheOptions, Problem, Tenant};

/// A request that would wait longer is refused at once: its client can do something better.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// What one ciphertext is taken to cost until the first batch was measured: a bootstrap on one slow core.
const FIRST_ESTIMATE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    batch_size: usize,
    batch_wait: Duration,
    max_queue: usize,
}

impl Limits {
    pub fn of(options: &FheOptions) -> Self {
        Self {
            batch_size: options.batch_size.max(1),
            batch_wait: options.batch_wait,
            max_queue: options.max_queue.max(1),
        }
    }
}

/// The queue is full, or too slow for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    pub retry_after_s: u64,
}

/// An evaluation that is done.
#[derive(Clone, Debug)]
pub struct Evaluated {
    pub reply: Bytes,
    /// From admission until its batch began.
    pub queued: Duration,
    /// Of the whole batch that it was part of.
    pub timings: Timings,
    pub batch_len: usize,
}

/// One checked request.
pub(super) struct Ask {
    pub program: Arc<Compiled>,
    pub request: Request,
    /// Of the request's bytes.
    pub digest: Digest,
    pub tenant: Tenant,
    pub key: KeyId,
    pub set: ParamSet,
}

impl Ask {
    /// At least 1: what the batch and the estimate count.
    fn ciphertexts(&self) -> usize {
        (self.request.rows() * self.program.ciphertexts_per_row()).max(1)
    }
}

struct Waiting {
    ask: Ask,
    since: Instant,
    answer: oneshot::Sender<Result<Evaluated, Problem>>,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    ciphertexts: usize,
    /// Measured, and smoothed over batches.
    each: Duration,
    closed: bool,
}

struct Shared {
    name: &'static str,
    limits: Limits,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// One engine with its queue and its thread.
pub(super) struct Batcher(Arc<Shared>);

impl Drop for Batcher {
    /// The thread ends after the batch it is at; those still waiting are told that nobody will answer.
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.waiting.clear();
        self.0.changed.notify_all();
    }
}

impl Batcher {
    pub fn start(
        name: &'static str,
        engine: Engine<CpuBackend>,
        keys: Arc<KeyStore>,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            name,
            limits,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                ciphertexts: 0,
                each: FIRST_ESTIMATE,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let worker = Worker {
            shared: shared.clone(),
            engine,
            keys,
        };
        std::thread::Builder::new()
            .name(format!("fhe-{name}"))
            .spawn(move || worker.run())?;
        Ok(Self(shared))
    }

    /// Takes the request in, or says when to come again. The receiver fails if the gateway stops first.
    pub fn submit(&self, ask: Ask) -> Result<oneshot::Receiver<Result<Evaluated, Problem>>, Busy> {
        let shared = &self.0;
        let mut queue = shared.queue.lock();
        let wait = queue.each.saturating_mul(queue.ciphertexts as u32);
        if queue.waiting.len() >= shared.limits.max_queue || wait > MAX_WAIT || queue.closed {
            metrics::counter!("gateway_fhe_refused_total", "engine" => shared.name).increment(1);
            // Half of the queue's time: then there is room again.
            let retry_after_s = (wait / 2).as_secs().clamp(1, MAX_WAIT.as_secs());
            return Err(Busy { retry_after_s });
        }
        let (answer, receiver) = oneshot::channel();
        queue.ciphertexts += ask.ciphertexts();
        queue.waiting.push_back(Waiting {
            ask,
            since: Instant::now(),
            answer,
        });
        metrics::gauge!("gateway_fhe_queue_len", "engine" => shared.name)
            .set(queue.waiting.len() as f64);
        shared.changed.notify_all();
        Ok(receiver)
    }
}

struct Worker {
    shared: Arc<Shared>,
    engine: Engine<CpuBackend>,
    keys: Arc<KeyStore>,
}

impl Worker {
    fn run(self) {
        while let Some(batch) = self.next_batch() {
            let ciphertexts: usize = batch.iter().map(|one| one.ask.ciphertexts()).sum();
            let started = Instant::now();
            self.evaluate(batch);
            self.learn(started.elapsed(), ciphertexts);
        }
    }

    /// Waits for a first request, then a little for others. `None` when the service has gone.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let limits = self.shared.limits;
        let mut queue = self.shared.queue.lock();
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            self.shared.changed.wait(&mut queue);
        }
        let until = queue.waiting.front()?.since + limits.batch_wait;
        while queue.waiting.len() < limits.batch_size && !queue.closed {
            if self
                .shared
                .changed
                .wait_until(&mut queue, until)
                .timed_out()
            {
                break;
            }
        }
        let batch = self.take(&mut queue);
        metrics::gauge!("gateway_fhe_queue_len", "engine" => self.shared.name)
            .set(queue.waiting.len() as f64);
        Some(batch)
    }

    /// From the front, as much as fits together. The first always does.
    fn take(&self, queue: &mut Queue) -> Vec<Waiting> {
        let budget = self.keys.cache_budget();
        let (mut batch, mut ciphertexts, mut key_bytes) = (Vec::new(), 0, 0);
        let mut keys = HashSet::new();
        while let Some(next) = queue.waiting.front() {
            let more = next.ask.ciphertexts();
            let more_bytes = match keys.contains(&next.ask.key) {
                true => 0,
                false => self
                    .keys
                    .expanded_bytes(self.engine.backend(), next.ask.program.params()),
            };
            let fits = batch.len() < self.shared.limits.batch_size
                && ciphertexts + more <= MAX_CIPHERTEXTS
                && key_bytes + more_bytes <= budget;
            if !fits && !batch.is_empty() {
                break;
            }
            keys.insert(next.ask.key);
            (ciphertexts, key_bytes) = (ciphertexts + more, key_bytes + more_bytes);
            queue.ciphertexts -= more;
            batch.extend(queue.waiting.pop_front());
        }
        batch
    }

    fn learn(&self, took: Duration, ciphertexts: usize) {
        let measured = took / (ciphertexts.max(1) as u32);
        let mut queue = self.shared.queue.lock();
        queue.each = (queue.each * 3 + measured) / 4;
    }

    fn evaluate(&self, batch: Vec<Waiting>) {
        let began = Instant::now();
        let mut ready = Vec::new();
        for one in batch.into_iter().filter(|one| !one.answer.is_closed()) {
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
        self.evaluate_ready(ready, began);
    }

    fn evaluate_ready(&self, ready: Vec<(Waiting, Arc<CpuKey>)>, began: Instant) {
        if ready.is_empty() {
            return;
        }
        let jobs: Vec<Job<CpuKey>> = ready
            .iter()
            .map(|(one, key)| Job {
                program: one.ask.program.clone(),
                key: key.clone(),
                request: Arc::new(one.ask.request.clone()),
            })
            .collect();
        // A panic in arithmetic is a bug of ours: it costs this batch, and not the engine.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            fresh_seed().and_then(|seed| self.engine.run(&jobs, seed))
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
                return self.one_by_one(ready, began);
            }
        };
        self.count(&ready, &timings);
        let batch_len = ready.len();
        for ((one, _), words) in ready.into_iter().zip(results) {
            let evaluated = reply(&one.ask, &words).map(|reply| Evaluated {
                reply,
                queued: began.saturating_duration_since(one.since),
                timings,
                batch_len,
            });
            // Who stopped waiting does not mind.
            let _ = one.answer.send(evaluated);
        }
    }

    /// A failed batch again, each alone, so that only the request at fault fails.
    fn one_by_one(&self, ready: Vec<(Waiting, Arc<CpuKey>)>, began: Instant) {
        if ready.len() > 1 {
            ready
                .into_iter()
                .for_each(|one| self.evaluate_ready(vec![one], began));
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

/// New and secret for each batch: linear results are hidden with it.
fn fresh_seed() -> Result<[u8; 32], kernels::KernelError> {
    let mut seed = [0; 32];
    for half in seed.chunks_exact_mut(16) {
        half.copy_from_slice(&OsEntropy.seed()?.to_le_bytes());
    }
    Ok(seed)
}

fn reply(ask: &Ask, words: &[u64]) -> Result<Bytes, Problem> {
    let program = ask.program.program();
    let header = ReplyHeader {
        params: ask.set,
        program: program.digest(),
        version: program.version(),
        key: ask.key,
        request: ask.digest,
        rows: ask.request.rows(),
        results_per_row: program.result_count(),
        bits: program.file().result.bits,
    };
    match Reply::round(header, words) {
        Ok(reply) => Ok(reply.to_bytes().into()),
        Err(error) => {
            tracing::error!(%error, "a reply could not be made");
            Err(Problem::internal())
        }
    }
}
