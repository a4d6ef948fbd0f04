//! The policies of a config, loaded: modules read and compiled, chains made of them for the routes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use policy_host::{
    ArtifactDir, Canary, Chain, Clock, Effort, Grant, HostConfig, HostError, Limits, LoadError,
    OnFault, Pin, Policy, PolicyHost, PolicySpec, PolicyStats, PrimitiveCaps, Primitives, Services,
    SystemClock,
};

use crate::config::{self, Config, PolicyConfig};
use crate::pipeline::{Route, Routes};

/// Why the policies of a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("policy {policy}: the module {path} cannot be read: {source}")]
    Read {
        policy: String,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("policy {policy}: {reason}")]
    Spec { policy: String, reason: String },
}

/// A policy, and which module it is.
#[derive(Clone)]
pub struct Loaded {
    pub policy: Arc<Policy>,
    pub digest: Pin,
    /// What the modules before this one counted, until they were swapped out.
    earlier: Option<PolicyStats>,
}

impl Loaded {
    fn new(
        host: &PolicyHost,
        spec: PolicySpec,
        primitives: &Arc<Primitives>,
    ) -> Result<Self, PolicyError> {
        let digest = Pin::blake3(&spec.wasm);
        Ok(Self {
            policy: host.load(spec, primitives)?,
            digest,
            earlier: None,
        })
    }

    fn stats(&self) -> PolicyStats {
        let mut stats = self.policy.stats();
        if let Some(earlier) = &self.earlier {
            stats.calls += earlier.calls;
            stats.fuel += earlier.fuel;
            for ((_, count), (_, before)) in stats.faults.iter_mut().zip(&earlier.faults) {
                *count += before;
            }
        }
        stats
    }
}

/// All policies, by name, and what they share. Keeps the host, whose thread watches over deadlines.
pub struct Policies {
    by_name: ArcSwap<HashMap<String, Loaded>>,
    pub primitives: Arc<Primitives>,
    /// The one that breakers count with.
    pub clock: Arc<dyn Clock>,
    host: Option<PolicyHost>,
}

impl Policies {
    /// Reads, compiles and configures every policy. Takes seconds: not for a worker thread. `services` is what policies may ask of
    /// the rest of the gateway; without them (to check a config) nothing outside can be asked.
    pub fn load(config: &Config, services: Services) -> Result<Self, PolicyError> {
        let primitives = Primitives::new(PrimitiveCaps {
            kv_max_bytes: config.limits.kv_max_bytes,
            ..PrimitiveCaps::default()
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        if config.policies.is_empty() {
            return Ok(Self {
                by_name: ArcSwap::default(),
                primitives,
                clock,
                host: None,
            });
        }
        let host = PolicyHost::new(host_config(config, clock.clone(), services))?;
        let mut by_name = HashMap::new();
        for policy in &config.policies {
            let spec = spec(policy, Self::read(policy)?)?;
            if let Some(canary) = &policy.canary {
                host.try_out(&spec, canary)?;
            }
            let loaded = Loaded::new(&host, spec, &primitives)?;
            check_tick(&loaded.policy, policy.tick)?;
            by_name.insert(policy.name.clone(), loaded);
        }
        Ok(Self {
            by_name: ArcSwap::from_pointee(by_name),
            primitives,
            clock,
            host: Some(host),
        })
    }

    /// The routes with their chains. A chain that names an unknown policy cannot be: the config was checked.
    pub fn routes(&self, config: &Config) -> Routes {
        let by_name = self.by_name.load();
        let route = |route: &config::RouteConfig| {
            let named = |name: &String| by_name.get(name).map(|loaded| loaded.policy.clone());
            let grants = |name: &String| {
                config
                    .policies
                    .iter()
                    .find(|policy| policy.name == *name)
                    .map(|policy| &policy.grants)
            };
            let cache = Grant::Cache.name();
            Route {
                name: Arc::from(route.name.as_str()),
                chain: Chain::new(route.policies.iter().filter_map(named).collect()),
                may_cache: config.cache.is_some()
                    && route
                        .policies
                        .iter()
                        .filter_map(grants)
                        .flatten()
                        .any(|grant| grant == cache),
                config: route.clone(),
            }
        };
        Routes::new(config.routes.iter().map(route).collect())
    }

    /// The policy of this name that is in force.
    pub fn named(&self, name: &str) -> Option<Arc<Policy>> {
        self.by_name
            .load()
            .get(name)
            .map(|loaded| loaded.policy.clone())
    }

    /// Those in force that are proxy-wasm modules.
    pub fn filters(&self) -> Vec<Arc<Policy>> {
        let by_name = self.by_name.load();
        let all = by_name.values().map(|loaded| &loaded.policy);
        all.filter(|policy| policy.is_filter()).cloned().collect()
    }

    /// Of each policy, all modules that served as it together.
    pub fn stats(&self) -> Vec<PolicyStats> {
        self.by_name.load().values().map(Loaded::stats).collect()
    }

    /// None: there is no such policy.
    pub fn digest(&self, name: &str) -> Option<Pin> {
        self.by_name.load().get(name).map(|loaded| loaded.digest)
    }

    /// The module's file as it is now.
    pub fn read(policy: &PolicyConfig) -> Result<Vec<u8>, PolicyError> {
        std::fs::read(&policy.module).map_err(|source| PolicyError::Read {
            policy: policy.name.clone(),
            path: policy.module.clone(),
            source,
        })
    }

    /// Another module for a policy that is there: compiled quickly if it is new, tried out, loaded, and not used yet. Limiters, breakers and stores are those of the
    /// module before it.
    pub fn renew(&self, policy: &PolicyConfig, wasm: Vec<u8>) -> Result<Loaded, PolicyError> {
        let Some(host) = &self.host else {
            return Err(PolicyError::Spec {
                policy: policy.name.clone(),
                reason: "the gateway was started without policies".to_owned(),
            });
        };
        let mut spec = spec(policy, wasm)?;
        spec.effort = Effort::Soon;
        let plain = Canary::default();
        host.try_out(&spec, policy.canary.as_ref().unwrap_or(&plain))?;
        let loaded = Loaded::new(host, spec, &self.primitives)?;
        check_tick(&loaded.policy, policy.tick)?;
        Ok(loaded)
    }

    /// Makes better code of a module that serves with code made quickly; `renew` has it then. Takes up to minutes.
    pub fn optimise(&self, wasm: &[u8]) -> Result<(), String> {
        match &self.host {
            Some(host) => host.optimise(wasm),
            None => Err("the gateway was started without policies".to_owned()),
        }
    }

    /// From here on `routes` makes chains of these.
    pub fn install(&self, renewed: Vec<Loaded>) {
        let mut by_name = HashMap::clone(&self.by_name.load());
        for mut loaded in renewed {
            let name = loaded.policy.name().to_owned();
            loaded.earlier = by_name.get(&name).map(Loaded::stats);
            by_name.insert(name, loaded);
        }
        self.by_name.store(Arc::new(by_name));
    }
}

/// A tick that nobody would hear is a mistake.
fn check_tick(policy: &Policy, every: Option<Duration>) -> Result<(), PolicyError> {
    if every.is_none() || policy.has_tick_hook() {
        return Ok(());
    }
    Err(PolicyError::Spec {
        policy: policy.name().to_owned(),
        reason: "`tick` is set, but the module exports no `tick-hook`; leave it out".to_owned(),
    })
}

fn instances(policy: &PolicyConfig) -> usize {
    let given = policy
        .instances
        .and_then(|count| usize::try_from(count).ok());
    given.unwrap_or(Limits::default().instances)
}

fn host_config(config: &Config, clock: Arc<dyn Clock>, services: Services) -> HostConfig {
    let defaults = HostConfig::default();
    let largest = config
        .policies
        .iter()
        .filter_map(|policy| policy.max_memory_bytes)
        .max();
    let largest = largest
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(0);
    HostConfig {
        workers: config.server.workers.unwrap_or(defaults.workers),
        max_policies: config.policies.len().max(1),
        waiting_instances: config.policies.iter().map(instances).sum(),
        max_memory_bytes: defaults.max_memory_bytes.max(largest),
        artifacts: config
            .policy_host
            .cache_dir
            .as_ref()
            .map(|dir| ArtifactDir {
                path: dir.clone(),
                max_bytes: config.policy_host.cache_bytes,
            }),
        compiler: config.policy_host.compiler.clone(),
        clock,
        services,
        ..defaults
    }
}

fn spec(policy: &PolicyConfig, wasm: Vec<u8>) -> Result<PolicySpec, PolicyError> {
    let grant = |name: &String| {
        name.parse::<Grant>().map_err(|error| PolicyError::Spec {
            policy: policy.name.clone(),
            reason: error.to_string(),
        })
    };
    let defaults = Limits::default();
    let mut spec = PolicySpec::new(policy.name.clone(), wasm);
    spec.grants = policy.grants.iter().map(grant).collect::<Result<_, _>>()?;
    spec.kv_shared.clone_from(&policy.kv_shared);
    spec.calls.clone_from(&policy.calls);
    spec.shared_limits = policy.shared_limits;
    spec.pin = policy.digest;
    spec.instance = policy.instance;
    spec.config_json.clone_from(&policy.config_json);
    spec.on_fault = match policy.on_fault {
        config::OnFault::Deny => OnFault::Deny,
        config::OnFault::Skip => OnFault::Skip,
    };
    if let Some(bytes) = policy.max_body_bytes {
        spec.max_body_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    spec.limits = Limits {
        memory_bytes: policy
            .max_memory_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(defaults.memory_bytes),
        fuel: policy.fuel.unwrap_or(defaults.fuel),
        deadline: policy.deadline.unwrap_or(defaults.deadline),
        instances: instances(policy),
        max_wait: policy.max_wait.unwrap_or(defaults.max_wait),
    };
    Ok(spec)
}
