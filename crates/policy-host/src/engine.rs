//! The Wasm engine and what is set for all policies. One `PolicyHost` per process; it owns the thread that keeps deadlines.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::artifacts::Artifacts;
use crate::canary::Canary;
use crate::chain::Chain;
use crate::compile::Compiler;
use crate::direct;
use crate::error::{HostError, LoadError};
use crate::host;
use crate::instance::{Allowance, TICKS_UNTIL_YIELD};
use crate::maker::Maker;
use crate::module::{self, Linkers};
use crate::policy::{Kind, Parts, Policy};
use crate::primitives::{PrimitiveCaps, Primitives};
use crate::proxy_wasm::{self, Plugin};
use crate::services::Services;
use crate::spec::{Grant, HostConfig, OnFault, PolicySpec};
use crate::state::{
    CORE_INSTANCES_PER_COMPONENT, MAX_TABLE_ELEMENTS, MEMORIES_PER_COMPONENT, Shared,
    TABLES_PER_COMPONENT,
};
use crate::ticker::Ticker;
use crate::waits::MAX_IN_FLIGHT;

/// The stack of a guest. Policies are shallow; a recursion without end traps soon.
const GUEST_STACK_BYTES: usize = 512 * 1024;
/// Most instances of all policies together: each memory reserves 4 GiB of address space, of which there are 128 TiB.
const MAX_INSTANCES: usize = 4096;

const NO_SHARED_LIMITS: &str = "the limits of a proxy-wasm module are this gateway's own, its ABI cannot wait for a store: leave \
     `limits = \"shared\"` out, or build it as a component";

/// What a policy's file holds.
enum Code {
    Component(module::Module),
    Filter(proxy_wasm::Filter),
}

pub struct PolicyHost {
    compiler: Compiler,
    linkers: Linkers,
    ticker: Ticker,
    config: HostConfig,
}

impl PolicyHost {
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let failed = |error: wasmtime::Error| HostError::Engine(format!("{error:#}"));
        let engine = pooling_or_not(&config).map_err(failed)?;
        let mut basics = Linker::new(&engine);
        host::link_basics(&mut basics).map_err(failed)?;
        let direct = config.direct.then(|| direct::Host::new(&engine));
        let direct = direct.transpose().map_err(failed)?;
        let ticker = Ticker::start(&engine, config.tick).map_err(HostError::Ticker)?;
        let artifacts = config.artifacts.as_ref().and_then(|dir| {
            Artifacts::open(dir, &engine)
                .inspect_err(|error| {
                    tracing::warn!(target: "policy", %error, "compiled modules are not stored");
                })
                .ok()
        });
        Ok(Self {
            compiler: Compiler::new(
                engine,
                config.max_policies.saturating_mul(2),
                artifacts,
                config.compiler.clone(),
            ),
            linkers: Linkers { basics, direct },
            ticker,
            config,
        })
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Makes better code of a module that was loaded with `Effort::Soon`, and stores it: the next `load` has it. Takes up to minutes.
    /// An error says why there will be none.
    pub fn optimise(&self, wasm: &[u8]) -> Result<(), String> {
        let directly = direct::Core::of(wasm).ok();
        let known = directly.filter(|core| self.compiler.knows_module(core.module));
        let done = match known {
            Some(core) => self.compiler.optimise(core.module, false),
            None => self.compiler.optimise(wasm, !module::is_core_module(wasm)),
        };
        done.map_err(|error| format!("{error:#}"))
    }

    /// Loads it with state of its own and without services, and has it pass the canary. Nothing of it is left but the compiled module,
    /// which makes the `load` that follows short.
    pub fn try_out(&self, spec: &PolicySpec, canary: &Canary) -> Result<(), LoadError> {
        let mut spec = spec.clone();
        // A fault is to be seen.
        spec.on_fault = OnFault::Deny;
        let primitives = Primitives::new(PrimitiveCaps::default());
        let name = spec.name.clone();
        let policy = self.start(spec, &primitives, Services::default(), 1)?;
        canary
            .check(&Chain::new(vec![policy]))
            .map_err(|reason| LoadError::Canary {
                policy: name,
                reason,
            })
    }

    /// Compiles, checks, starts and configures. Takes from milliseconds to seconds, by the size of the module: never call it on the
    /// request path.
    pub fn load(
        &self,
        spec: PolicySpec,
        primitives: &Arc<Primitives>,
    ) -> Result<Arc<Policy>, LoadError> {
        let services = self.config.services.clone();
        self.start(spec, primitives, services, self.config.workers)
    }

    fn start(
        &self,
        spec: PolicySpec,
        primitives: &Arc<Primitives>,
        services: Services,
        instances: usize,
    ) -> Result<Arc<Policy>, LoadError> {
        if let Some(reason) = spec.problem(&self.config) {
            return Err(LoadError::Spec {
                policy: spec.name,
                reason,
            });
        }
        if spec.wasm.len() > self.config.max_module_bytes {
            let (bytes, limit) = (spec.wasm.len(), self.config.max_module_bytes);
            return Err(LoadError::TooLarge {
                policy: spec.name,
                bytes,
                limit,
            });
        }
        if let Some(expected) = spec.pin {
            let found = expected.same_hash_of(&spec.wasm);
            if found != expected {
                return Err(LoadError::OtherDigest {
                    policy: spec.name,
                    expected,
                    found,
                });
            }
        }
        let code = if module::is_core_module(&spec.wasm) {
            if spec.shared_limits {
                return Err(LoadError::Spec {
                    policy: spec.name,
                    reason: NO_SHARED_LIMITS.to_owned(),
                });
            }
            Code::Filter(proxy_wasm::load(&self.compiler, &spec)?)
        } else {
            Code::Component(module::load(&self.compiler, &self.linkers, &spec)?)
        };
        let tier = match &code {
            Code::Component(module) => module.tier,
            Code::Filter(filter) => filter.tier,
        };
        let limits = spec.limits;
        let shared = Arc::new(Shared {
            policy: Arc::from(spec.name.as_str()),
            // A slash is in no policy's name: a shared scope never meets a policy's own.
            scope: spec
                .shared_scope
                .as_ref()
                .map_or_else(|| spec.name.clone(), |scope| format!("shared/{scope}")),
            shared_limits: spec.shared_limits,
            kv_shared: spec.kv_shared.clone(),
            calls: spec.calls.clone(),
            calls_in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            max_wait: limits.max_wait,
            primitives: primitives.clone(),
            clock: self.config.clock.clone(),
            services,
            max_body_bytes: spec.max_body_bytes,
        });
        let keys_cache = spec.grants.contains(&Grant::Cache);
        let asks_llm = spec.grants.contains(&Grant::Llm);
        let waits = matches!(&code, Code::Component(module) if module.waits);
        let ticks = |span| match waits {
            true => TICKS_UNTIL_YIELD,
            false => self.ticker.ticks(span),
        };
        let to_start = Allowance::to_start(limits.fuel, limits.deadline, ticks);
        let per_call = Allowance {
            fuel: limits.fuel,
            ticks: ticks(limits.deadline),
        };
        let maker = |module| Maker {
            shared: shared.clone(),
            module,
            config_json: spec.config_json.clone(),
            memory_bytes: limits.memory_bytes,
            to_start,
        };
        let kind = match code {
            Code::Component(module) if waits => Kind::Waiting {
                maker: maker(module),
                instances: limits.instances,
                max_wait: limits.max_wait,
            },
            Code::Component(module) => Kind::Warm {
                maker: maker(module),
                instances,
            },
            Code::Filter(filter) => {
                let start = proxy_wasm::Start {
                    shared: shared.clone(),
                    to_start,
                    per_call,
                    workers: instances,
                };
                Kind::Filter(Box::new(Plugin::start(filter, &spec, start)?))
            }
        };
        let policy = Policy::start(Parts {
            choice: spec.instance,
            tier,
            shared,
            on_fault: spec.on_fault,
            asks_llm,
            keys_cache,
            per_call,
            kind,
            fault_rule: self.config.fault_rule,
        })?;
        Ok(Arc::new(policy))
    }
}

/// With its memories reserved at once, where there is room for them: small machines have an address space of 512 GiB or less.
fn pooling_or_not(host: &HostConfig) -> wasmtime::Result<Engine> {
    let mut config = engine_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(host)));
    Engine::new(&config).or_else(|error| {
        tracing::warn!(%error, "no room to reserve memory for policies at once; it is allocated one by one");
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

/// What holds for all code, whoever compiles it.
pub(crate) fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
    config
}

fn pool_config(host: &HostConfig) -> PoolingAllocationConfig {
    let warm = host.workers.max(1).saturating_mul(host.max_policies.max(1));
    // During a swap there are the new one, the old one, and one before it whose last exchanges are not over.
    let wanted = warm
        .saturating_add(host.waiting_instances)
        .saturating_mul(3);
    let instances = u32::try_from(wanted.min(MAX_INSTANCES)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(stacks(host))
        // only counted, not reserved
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(
            instances
                .saturating_mul(MEMORIES_PER_COMPONENT)
                .min(MAX_INSTANCES as u32),
        )
        .total_tables(instances.saturating_mul(4))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memory_size(host.max_memory_bytes)
        .table_elements(MAX_TABLE_ELEMENTS);
    pool
}

/// One for every call under way that may wait, and some for policies that are being loaded.
fn stacks(host: &HostConfig) -> u32 {
    let calls = host.waiting_instances.saturating_add(host.max_policies);
    u32::try_from(calls.saturating_mul(2).min(MAX_INSTANCES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_cannot_hold_the_pool_gets_an_engine_without() {
        // More than a memory's reservation: the pool is refused.
        let host = HostConfig {
            max_memory_bytes: 1 << 40,
            ..HostConfig::default()
        };
        let mut pooled = engine_config();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(&host)));
        assert!(Engine::new(&pooled).is_err());
        assert!(PolicyHost::new(host).is_ok());
    }
}
