//! What a test file's policy runs on: a host of its own with a clock that stands still, and state that nobody else sees.

use std::sync::Arc;

use bytes::Bytes;
use policy_host::{
    ArtifactDir, Chain, Clock, FaultRule, Grant, HostConfig, HostError, LoadError, ManualClock,
    Policy, PolicyHost, PolicySpec, PrimitiveCaps, Primitives, UpstreamView,
};

use super::file::TestFile;
use super::log::Log;
use super::meter::Meter;
use super::metrics::Metrics;
use super::services::StandIns;
use super::stubs::Upstreams;
use crate::config::{DEFAULT_CACHE_BYTES, user_cache_dir};

pub(crate) struct Bed {
    pub policy: Arc<Policy>,
    pub chain: Chain,
    primitives: Arc<Primitives>,
    kv_shared: Vec<String>,
    pub clock: Arc<ManualClock>,
    pub log: Log,
    pub metrics: Metrics,
    pub upstreams: Arc<dyn UpstreamView>,
    pub services: StandIns,
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
        let services = StandIns::new(clock.clone(), file.calls.clone());
        let host = PolicyHost::new(HostConfig {
            workers: 1,
            max_policies: 1,
            max_memory_bytes: defaults.max_memory_bytes.max(part.limits.memory_bytes),
            clock: clock.clone(),
            artifacts: artifacts(),
            services: services.services(),
            compiler: crate::cli::compile::program(),
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
        spec.kv_shared.clone_from(&part.kv_shared);
        spec.calls = file.called_upstreams();
        spec.limits = part.limits;
        spec.max_body_bytes = part.max_body_bytes.unwrap_or(spec.max_body_bytes);
        spec.on_fault = part.on_fault;
        let primitives = Primitives::new(PrimitiveCaps::default());
        let metrics = Metrics::new();
        let counting = metrics.begin();
        let policy = host.load(spec, &primitives)?;
        drop(counting);
        Ok(Self {
            chain: Chain::new(vec![policy.clone()]),
            policy,
            primitives,
            kv_shared: part.kv_shared.clone(),
            clock,
            log: Log::default(),
            metrics,
            meter: None,
            services,
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

    /// What the policy finds under this key.
    pub(crate) fn stored(&self, store: &str, key: &str) -> Option<Bytes> {
        let shared = self.kv_shared.iter().any(|name| name == store);
        let policy = (!shared).then(|| self.policy.name());
        self.primitives
            .stored(policy, store, key, self.clock.monotonic_ns())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }
}

/// Where the gateway of this user keeps compiled modules: a language runtime takes seconds to compile.
pub(crate) fn artifacts() -> Option<ArtifactDir> {
    let path = user_cache_dir(|name| std::env::var_os(name))?;
    Some(ArtifactDir {
        path,
        max_bytes: DEFAULT_CACHE_BYTES,
    })
}
