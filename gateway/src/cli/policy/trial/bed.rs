//! What a test file's policy runs on: a host of its own with a clock that stands still, and state that nobody else sees.

use std::sync::Arc;

use policy_host::{
    Chain, Clock, FaultRule, Grant, HostConfig, HostError, LoadError, ManualClock, Policy,
    PolicyHost, PolicySpec, PrimitiveCaps, Primitives, UpstreamView,
};

use super::file::TestFile;
use super::log::Log;
use super::meter::Meter;
use super::stubs::Upstreams;

pub(crate) struct Bed {
    pub policy: Arc<Policy>,
    pub chain: Chain,
    pub clock: Arc<ManualClock>,
    pub log: Log,
    pub upstreams: Arc<dyn UpstreamView>,
    /// Set by those who measure.
    pub meter: Option<Meter>,
    /// Its thread watches over deadlines.
    _host: PolicyHost,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BedError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Bed {
    /// Loads and configures the policy. `name` and `grants` are used where the file gives none.
    pub(crate) fn lay(
        file: &TestFile,
        wasm: Vec<u8>,
        name: &str,
        grants: &[Grant],
    ) -> Result<Self, BedError> {
        let clock = Arc::new(ManualClock::starting_at_ms(file.start_ms));
        let part = &file.policy;
        let defaults = HostConfig::default();
        let host = PolicyHost::new(HostConfig {
            workers: 1,
            max_policies: 1,
            max_memory_bytes: defaults.max_memory_bytes.max(part.limits.memory_bytes),
            clock: clock.clone(),
            // Never set aside: a test sees each fault.
            fault_rule: FaultRule {
                faults: u32::MAX,
                ..FaultRule::default()
            },
            ..defaults
        })?;
        let mut spec = PolicySpec::new(part.name.as_deref().unwrap_or(name), wasm);
        spec.config_json.clone_from(&part.config_json);
        spec.grants = part.grants.clone().unwrap_or_else(|| grants.to_vec());
        spec.limits = part.limits;
        spec.on_fault = part.on_fault;
        let policy = host.load(spec, &Primitives::new(PrimitiveCaps::default()))?;
        Ok(Self {
            chain: Chain::new(vec![policy.clone()]),
            policy,
            clock,
            log: Log::default(),
            meter: None,
            upstreams: Arc::new(Upstreams(file.upstreams.clone())),
            _host: host,
        })
    }

    /// A step in which the policy's hook of this name is called, if it has it.
    pub(crate) async fn step<R>(&self, hook: &'static str, call: impl Future<Output = R>) -> R {
        match &self.meter {
            Some(meter) => meter.call(hook, &self.policy, call).await,
            None => call.await,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }
}
