//! Better code for modules that serve with what was made quickly: compiled in the background, one after the other, then swapped in
//! like any other module, after the same canary. What cannot be optimised serves on as it is.

use std::sync::Arc;

use parking_lot::Mutex;
use policy_host::Pin;

use super::Reloader;

/// A module that is to be optimised.
pub(super) struct Job {
    pub(super) policy: String,
    pub(super) digest: Pin,
    pub(super) wasm: Vec<u8>,
}

/// What waits: of each policy, its newest module.
#[derive(Default)]
pub(super) struct Bench {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// There is a thread that takes them.
    manned: bool,
}

impl Bench {
    /// Whether the caller has to start the thread that takes them.
    fn add(&self, jobs: Vec<Job>) -> bool {
        let mut waiting = self.waiting.lock();
        for job in jobs {
            waiting.jobs.retain(|older| older.policy != job.policy);
            waiting.jobs.push(job);
        }
        let alone = !waiting.jobs.is_empty() && !waiting.manned;
        waiting.manned |= alone;
        alone
    }

    /// None: the thread is to end.
    fn take(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        if waiting.jobs.is_empty() {
            waiting.manned = false;
            return None;
        }
        Some(waiting.jobs.remove(0))
    }

    /// No thread could be started.
    fn abandon(&self) {
        *self.waiting.lock() = Waiting::default();
    }
}

impl Reloader {
    /// Returns at once.
    pub(super) fn improve(self: &Arc<Self>, quick: Vec<Job>) {
        if !self.bench.add(quick) {
            return;
        }
        let reloader = self.clone();
        let work = move || {
            while let Some(job) = reloader.bench.take() {
                reloader.optimise(job);
            }
        };
        let thread = std::thread::Builder::new().name("policy-optimise".into());
        if let Err(error) = thread.spawn(work) {
            tracing::warn!(%error, "no thread to optimise policies could be started; they serve as they are");
            self.bench.abandon();
        }
    }

    fn optimise(&self, job: Job) {
        let name = job.policy.clone();
        let result = match self.optimised(job) {
            Ok(true) => "replaced",
            Ok(false) => "outdated",
            Err(reason) => {
                tracing::warn!(policy = name, %reason, "the policy's module is not optimised; it serves as it is");
                "failed"
            }
        };
        metrics::counter!("gateway_policy_optimised_total", "policy" => name, "result" => result)
            .increment(1);
    }

    /// False: another module serves by now.
    fn optimised(&self, job: Job) -> Result<bool, String> {
        self.policies.optimise(&job.wasm)?;
        let _turn = self.turn.lock();
        let policy = self
            .config
            .policies
            .iter()
            .find(|policy| policy.name == job.policy);
        let Some(policy) = policy else {
            return Ok(false);
        };
        if self.policies.digest(&job.policy) != Some(job.digest) {
            return Ok(false);
        }
        let loaded = self
            .policies
            .renew(policy, job.wasm)
            .map_err(|error| error.to_string())?;
        self.install(vec![loaded]);
        tracing::info!(
            policy = job.policy,
            "the policy's module serves with optimised code"
        );
        Ok(true)
    }
}
