//! How long the calls of hooks take, and what fuel they burn, for `policy bench`. Nothing is kept for tests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use policy_host::Policy;

/// Calls kept of one hook: enough for a sound 99th percentile; later ones are only counted.
const MAX_SAMPLES: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Meter {
    hooks: Mutex<BTreeMap<&'static str, Samples>>,
}

#[derive(Default)]
pub(crate) struct Samples {
    pub calls: u64,
    /// One for each call, until there are `MAX_SAMPLES`.
    pub took: Vec<Duration>,
    /// Of all calls together.
    pub fuel: u64,
}

impl Meter {
    pub(crate) fn into_samples(self) -> BTreeMap<&'static str, Samples> {
        self.hooks.into_inner()
    }

    /// One step of an exchange, in which the policy has this hook called or not.
    pub(crate) async fn call<R>(
        &self,
        hook: &'static str,
        policy: &Policy,
        call: impl Future<Output = R>,
    ) -> R {
        let before = policy.stats();
        let began = Instant::now();
        let answer = call.await;
        let took = began.elapsed();
        let after = policy.stats();
        if after.calls > before.calls && after.faults == before.faults {
            let mut hooks = self.hooks.lock();
            let samples = hooks.entry(hook).or_default();
            samples.calls += 1;
            samples.fuel += after.fuel.saturating_sub(before.fuel);
            if samples.took.len() < MAX_SAMPLES {
                samples.took.push(took);
            }
        }
        answer
    }
}
