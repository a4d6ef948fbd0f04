//! One loaded policy: its code, its warm instances, its health, its counters. A fault ends here; it goes on as a refusal with a kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use wasmtime::Store;

use crate::decision::Cause;
use crate::error::{Fault, FaultKind, LoadError};
use crate::exchange::ExchangeContext;
use crate::health::{FaultRule, Health, Leave};
use crate::hooks::{Hook, Hooks};
use crate::instance::{Allowance, Instance};
use crate::module::Module;
use crate::pool::Pool;
use crate::spec::OnFault;
use crate::state::{HostState, Shared};

pub struct Policy {
    shared: Arc<Shared>,
    module: Module,
    config_json: String,
    memory_bytes: usize,
    on_fault: OnFault,
    asks_llm: bool,
    keys_cache: bool,
    to_start: Allowance,
    per_call: Allowance,
    pool: Pool,
    fault_rule: FaultRule,
    health: Mutex<Health>,
    /// Whether `health` has to be asked before a call: the one load that a healthy policy pays.
    ailing: AtomicBool,
    faults: [AtomicU64; FaultKind::ALL.len()],
}

/// The counters of one policy, for metrics and the admin page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStats {
    pub policy: String,
    pub calls: u64,
    /// Fuel used by calls that went well, all together.
    pub fuel: u64,
    pub faults: Vec<(FaultKind, u64)>,
    pub set_aside: bool,
}

/// What a policy is made of, once checked.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) module: Module,
    pub(crate) config_json: String,
    pub(crate) memory_bytes: usize,
    pub(crate) on_fault: OnFault,
    /// It was granted `llm`.
    pub(crate) asks_llm: bool,
    /// It was granted `cache`.
    pub(crate) keys_cache: bool,
    pub(crate) to_start: Allowance,
    pub(crate) per_call: Allowance,
    pub(crate) instances: usize,
    pub(crate) fault_rule: FaultRule,
}

impl Policy {
    /// Starts and configures every instance, so that what can fail fails here.
    pub(crate) fn start(parts: Parts) -> Result<Self, LoadError> {
        let policy = Self {
            pool: Pool::new(parts.instances),
            shared: parts.shared,
            module: parts.module,
            config_json: parts.config_json,
            memory_bytes: parts.memory_bytes,
            on_fault: parts.on_fault,
            asks_llm: parts.asks_llm,
            keys_cache: parts.keys_cache,
            to_start: parts.to_start,
            per_call: parts.per_call,
            fault_rule: parts.fault_rule,
            health: Mutex::new(Health::new()),
            ailing: AtomicBool::new(false),
            faults: Default::default(),
        };
        for mut slot in policy.pool.slots() {
            let state = HostState::new(policy.shared.clone(), policy.memory_bytes);
            let instance =
                Instance::start(&policy.module, state, &policy.config_json, policy.to_start)
                    .map_err(|error| error.into_load_error(&policy.shared.policy))?;
            slot.put_back(Box::new(instance));
        }
        Ok(policy)
    }

    pub fn name(&self) -> &str {
        &self.shared.policy
    }

    pub fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    pub fn has_request_hook(&self) -> bool {
        self.module.hooks.has(Hook::Request)
    }

    pub fn has_attempt_hook(&self) -> bool {
        self.module.hooks.has(Hook::Before)
    }

    pub fn has_outcome_hook(&self) -> bool {
        self.module.hooks.has(Hook::After)
    }

    pub fn has_response_hook(&self) -> bool {
        self.module.hooks.has(Hook::Response)
    }

    pub fn has_complete_hook(&self) -> bool {
        self.has(Hook::Complete)
    }

    pub fn has_tick_hook(&self) -> bool {
        self.has(Hook::Tick)
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.module.hooks.has(hook)
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.shared.max_body_bytes
    }

    pub(crate) fn keys_cache(&self) -> bool {
        self.keys_cache
    }

    pub(crate) fn asks_llm(&self) -> bool {
        self.asks_llm
    }

    pub fn stats(&self) -> PolicyStats {
        PolicyStats {
            policy: self.shared.policy.to_string(),
            calls: self.pool.calls(),
            fuel: self.pool.fuel(),
            faults: FaultKind::ALL
                .map(|kind| (kind, self.faults[kind.index()].load(Ordering::Relaxed)))
                .to_vec(),
            set_aside: !self.health.lock().is_serving(),
        }
    }

    /// Makes and configures one more instance, and throws it away: for those who measure what a fresh one takes.
    pub fn try_start(&self) -> Result<(), Fault> {
        self.another_instance().map(drop)
    }

    /// Linear memory of the largest of its warm instances.
    pub fn memory_bytes(&self) -> usize {
        let idle = self.pool.slots().map(|slot| slot.memory_bytes());
        idle.max().unwrap_or(0)
    }

    pub(crate) fn label(&self) -> &Arc<str> {
        &self.shared.policy
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.shared.clock.monotonic_ns()
    }

    /// One call of one hook. `read` turns the guest's answer into something checked; what it refuses is the guest's fault.
    pub(crate) fn call<A, R>(
        &self,
        exchange: &mut ExchangeContext,
        hook: impl FnOnce(&Hooks, &mut Store<HostState>) -> wasmtime::Result<A>,
        read: impl FnOnce(A) -> Result<R, &'static str>,
    ) -> Result<R, Cause> {
        let leave = self.leave()?;
        let answer = self.call_instance(exchange, hook).and_then(|answer| {
            read(answer).map_err(|refused| Fault::new(FaultKind::Decision, refused))
        });
        match answer {
            Ok(answer) => {
                if leave == Leave::Trial {
                    self.recovered();
                }
                Ok(answer)
            }
            Err(fault) => Err(self.failed(leave, &fault)),
        }
    }

    fn leave(&self) -> Result<Leave, Cause> {
        if !self.ailing.load(Ordering::Acquire) {
            return Ok(Leave::Call);
        }
        self.health
            .lock()
            .admit(self.now_ns())
            .ok_or(Cause::SetAside)
    }

    fn call_instance<A>(
        &self,
        exchange: &mut ExchangeContext,
        hook: impl FnOnce(&Hooks, &mut Store<HostState>) -> wasmtime::Result<A>,
    ) -> Result<A, Fault> {
        let mut slot = self.pool.checkout();
        let mut instance = match slot.take() {
            Some(instance) => instance,
            None => Box::new(self.another_instance()?),
        };
        let answer = instance.call(exchange, self.per_call, hook)?;
        slot.count_fuel(self.per_call.fuel.saturating_sub(instance.fuel_left()));
        slot.put_back(instance);
        Ok(answer)
    }

    fn another_instance(&self) -> Result<Instance, Fault> {
        let state = HostState::new(self.shared.clone(), self.memory_bytes);
        Instance::start(&self.module, state, &self.config_json, self.to_start)
            .map_err(|error| error.into_fault())
    }

    fn recovered(&self) {
        let mut health = self.health.lock();
        health.went_well(Leave::Trial, self.pool.calls(), self.now_ns());
        if health.is_serving() {
            self.ailing.store(false, Ordering::Release);
            tracing::info!(target: "policy", policy = %self.shared.policy, "the policy works again");
        }
    }

    fn failed(&self, leave: Leave, fault: &Fault) -> Cause {
        self.faults[fault.kind.index()].fetch_add(1, Ordering::Relaxed);
        metrics::counter!("gateway_policy_faults_total",
            "policy" => self.shared.policy.to_string(), "kind" => fault.kind.label())
        .increment(1);
        tracing::warn!(target: "policy", policy = %self.shared.policy, kind = fault.kind.label(), detail = %fault.detail,
            "a policy call failed");
        let mut health = self.health.lock();
        if health.failed(&self.fault_rule, leave, self.pool.calls(), self.now_ns()) {
            self.ailing.store(true, Ordering::Release);
            tracing::error!(target: "policy", policy = %self.shared.policy, on_fault = ?self.on_fault,
                "the policy is set aside after repeated faults; it is tried again after a pause");
        }
        Cause::Fault(fault.kind)
    }
}
