//! One loaded policy: its code, its instances, its health, its counters. A fault ends here; it goes on as a refusal with a kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::decision::Cause;
use crate::direct::Giving;
use crate::error::{Fault, FaultKind, LoadError};
use crate::exchange::{ExchangeContext, RequestParts};
use crate::health::{FaultRule, Health, Leave};
use crate::hooks::{Answered, Given, Hook, Pick};
use crate::instance::{Allowance, Instance, StartError};
use crate::maker::Maker;
use crate::pool::Pool;
use crate::proxy_wasm::{Plugin, Trouble};
use crate::spec::{InstanceChoice, OnFault};
use crate::standing::Standing;
use crate::state::Shared;
use crate::tier::Tier;
use crate::waiting::WaitingPool;

pub struct Policy {
    shared: Arc<Shared>,
    tier: Tier,
    instances: Instances,
    /// Whether an instance serves on after a call.
    choice: InstanceChoice,
    on_fault: OnFault,
    asks_llm: bool,
    keys_cache: bool,
    per_call: Allowance,
    fault_rule: FaultRule,
    /// What it said when it was configured, and the host does by itself.
    standing: Standing,
    health: Mutex<Health>,
    /// Whether `health` has to be asked before a call: the one load that a healthy policy pays.
    ailing: AtomicBool,
    faults: [AtomicU64; FaultKind::ALL.len()],
}

/// The kinds; a policy has one of them.
enum Instances {
    /// On the worker, never waiting.
    Warm { maker: Maker, pool: Pool },
    Waiting {
        maker: Maker,
        pool: WaitingPool,
        max_wait: Duration,
    },
    /// A proxy-wasm module: it has VMs of its own, and waits outside of them.
    Filter(Box<Plugin>),
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
    pub(crate) tier: Tier,
    pub(crate) on_fault: OnFault,
    /// It was granted `llm`.
    pub(crate) asks_llm: bool,
    /// It was granted `cache`.
    pub(crate) keys_cache: bool,
    pub(crate) per_call: Allowance,
    pub(crate) kind: Kind,
    pub(crate) choice: InstanceChoice,
    pub(crate) fault_rule: FaultRule,
}

/// Which kind of instances, and how many.
pub(crate) enum Kind {
    Warm {
        maker: Maker,
        instances: usize,
    },
    Waiting {
        maker: Maker,
        instances: usize,
        max_wait: Duration,
    },
    Filter(Box<Plugin>),
}

impl Policy {
    /// Starts and configures instances, so that what can fail fails here: every warm one, and the first of those that may wait.
    pub(crate) fn start(parts: Parts) -> Result<Self, LoadError> {
        let shared = parts.shared;
        let failed = |error: StartError| error.into_load_error(&shared.policy);
        let mut standing = None;
        let instances = match parts.kind {
            Kind::Warm { maker, instances } => {
                let pool = Pool::new(instances);
                for mut slot in pool.slots() {
                    let mut instance = maker.warm().map_err(failed)?;
                    standing.get_or_insert_with(|| instance.take_standing());
                    slot.put_back(instance);
                }
                Instances::Warm { maker, pool }
            }
            Kind::Waiting {
                maker,
                instances,
                max_wait,
            } => {
                let pool = WaitingPool::new(instances);
                let mut instance = maker.first_waiting().map_err(failed)?;
                standing = Some(instance.take_standing());
                pool.add(instance);
                Instances::Waiting {
                    maker,
                    pool,
                    max_wait,
                }
            }
            Kind::Filter(plugin) => Instances::Filter(plugin),
        };
        Ok(Self {
            shared,
            tier: parts.tier,
            instances,
            choice: parts.choice,
            on_fault: parts.on_fault,
            asks_llm: parts.asks_llm,
            keys_cache: parts.keys_cache,
            per_call: parts.per_call,
            fault_rule: parts.fault_rule,
            standing: standing.unwrap_or_default(),
            health: Mutex::new(Health::new()),
            ailing: AtomicBool::new(false),
            faults: Default::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.shared.policy
    }

    /// How well its code is compiled.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Whether a hook of it may be suspended.
    pub fn may_wait(&self) -> bool {
        match &self.instances {
            Instances::Warm { .. } => false,
            Instances::Waiting { .. } | Instances::Filter(_) => true,
        }
    }

    /// Whether its hooks are called without the component model between.
    pub fn is_direct(&self) -> bool {
        match &self.instances {
            Instances::Warm { maker, .. } | Instances::Waiting { maker, .. } => {
                maker.module.code.is_direct()
            }
            Instances::Filter(_) => false,
        }
    }

    /// Whether it is a proxy-wasm module.
    pub fn is_filter(&self) -> bool {
        self.plugin().is_some()
    }

    pub fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    pub fn has_request_hook(&self) -> bool {
        self.has(Hook::Request)
    }

    /// Whether it is there for this one.
    pub(crate) fn is_for(&self, request: &RequestParts) -> bool {
        let scope = self.standing.scope.as_ref();
        scope.is_none_or(|scope| scope.fits(request))
    }

    /// Whether its limits, which the host takes by itself, let this request pass.
    pub(crate) fn takes(&self, exchange: &ExchangeContext) -> bool {
        let shares = &self.standing.shares;
        !shares.is_empty() && shares.take(exchange, self.now_ns())
    }

    /// Whether the attempt may begin without calling it.
    pub(crate) fn guards(
        &self,
        exchange: &mut ExchangeContext,
        attempt: u32,
        upstream: &str,
    ) -> bool {
        let guards = &self.standing.guards;
        !guards.is_empty() && guards.admit(exchange, (attempt, upstream), self.now_ns())
    }

    pub fn has_attempt_hook(&self) -> bool {
        self.has(Hook::Before)
    }

    pub fn has_outcome_hook(&self) -> bool {
        self.has(Hook::After)
    }

    pub fn has_response_hook(&self) -> bool {
        self.has(Hook::Response)
    }

    pub fn has_complete_hook(&self) -> bool {
        self.has(Hook::Complete)
    }

    pub fn has_tick_hook(&self) -> bool {
        self.has(Hook::Tick)
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        match &self.instances {
            Instances::Warm { maker, .. } | Instances::Waiting { maker, .. } => {
                maker.module.code.has(hook)
            }
            Instances::Filter(plugin) => plugin.has(hook),
        }
    }

    /// None: it is a component.
    pub(crate) fn plugin(&self) -> Option<&Plugin> {
        match &self.instances {
            Instances::Warm { .. } | Instances::Waiting { .. } => None,
            Instances::Filter(plugin) => Some(plugin),
        }
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
            calls: self.calls(),
            fuel: match &self.instances {
                Instances::Warm { pool, .. } => pool.fuel(),
                Instances::Waiting { pool, .. } => pool.tally.fuel(),
                Instances::Filter(plugin) => plugin.fuel(),
            },
            faults: FaultKind::ALL
                .map(|kind| (kind, self.faults[kind.index()].load(Ordering::Relaxed)))
                .to_vec(),
            set_aside: !self.health.lock().is_serving(),
        }
    }

    /// Makes and configures one more instance, and throws it away: for those who measure what a fresh one takes.
    pub fn try_start(&self) -> Result<(), Fault> {
        let made = match &self.instances {
            Instances::Warm { maker, .. } => maker.warm(),
            Instances::Waiting { maker, .. } => maker.first_waiting(),
            Instances::Filter(plugin) => return plugin.try_start(),
        };
        made.map(drop).map_err(StartError::into_fault)
    }

    /// Linear memory of the largest of its idle instances.
    pub fn memory_bytes(&self) -> usize {
        match &self.instances {
            Instances::Warm { pool, .. } => pool.slots().map(|slot| slot.memory_bytes()).max(),
            Instances::Waiting { pool, .. } => pool.largest_idle(),
            Instances::Filter(plugin) => Some(plugin.memory_bytes()),
        }
        .unwrap_or(0)
    }

    pub(crate) fn label(&self) -> &Arc<str> {
        &self.shared.policy
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.shared.clock.monotonic_ns()
    }

    fn calls(&self) -> u64 {
        match &self.instances {
            Instances::Warm { pool, .. } => pool.calls(),
            Instances::Waiting { pool, .. } => pool.tally.calls(),
            Instances::Filter(plugin) => plugin.calls(),
        }
    }

    /// One call of one hook, on an instance of the policy's kind. `read` turns the guest's answer into something checked; what it
    /// refuses is the guest's fault. Ready at once unless the policy may wait.
    pub(crate) async fn call<P, R, X>(
        &self,
        exchange: &mut ExchangeContext,
        hook: Pick<P, R>,
        given: impl Giving<P>,
        read: impl FnOnce(R) -> Result<X, &'static str>,
    ) -> Result<X, Cause>
    where
        P: Given,
        R: Answered,
    {
        let leave = self.leave()?;
        let answer = match &self.instances {
            Instances::Warm { maker, pool } => {
                self.call_warm((maker, pool), exchange, (hook, given), read)
            }
            // Boxed, so that only calls which may wait pay for what they keep meanwhile.
            Instances::Waiting {
                maker,
                pool,
                max_wait,
            } => {
                let how = (maker, pool, *max_wait);
                let calling = self.call_waiting(how, exchange, (hook, given), read);
                Box::pin(calling).await
            }
            Instances::Filter(_) => Err(Fault::new(
                FaultKind::Instance,
                "a proxy-wasm module has none of a component's hooks",
            )),
        };
        let answer = answer
            .and_then(|answer| answer.map_err(|refused| Fault::new(FaultKind::Decision, refused)));
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

    /// The same accounts for a call of a filter, which does more than one instance's call.
    pub(crate) async fn account<R>(
        &self,
        call: impl Future<Output = Result<R, Trouble>>,
    ) -> Result<R, Cause> {
        let leave = self.leave()?;
        match call.await {
            Ok(answer) => {
                if leave == Leave::Trial {
                    self.recovered();
                }
                Ok(answer)
            }
            // The call that broke the VM was counted.
            Err(Trouble::Lost) => Err(Cause::Fault(FaultKind::Instance)),
            Err(Trouble::Fault(fault)) => Err(self.failed(leave, &fault)),
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

    fn call_warm<P, R, X>(
        &self,
        (maker, pool): (&Maker, &Pool),
        exchange: &mut ExchangeContext,
        hook: (Pick<P, R>, impl Giving<P>),
        read: impl FnOnce(R) -> X,
    ) -> Result<X, Fault>
    where
        P: Given,
        R: Answered,
    {
        let mut slot = pool.checkout();
        let mut instance = match slot.take() {
            Some(instance) => instance,
            None => maker.warm().map_err(StartError::into_fault)?,
        };
        let answer = instance.call(exchange, self.per_call, hook, read)?;
        slot.count_fuel(self.used(&instance));
        // Dropped otherwise: the slot is empty, and the next call makes its own.
        if self.choice == InstanceChoice::Warm {
            slot.put_back(instance);
        }
        Ok(answer)
    }

    async fn call_waiting<P, R, X>(
        &self,
        (maker, pool, max_wait): (&Maker, &WaitingPool, Duration),
        exchange: &mut ExchangeContext,
        hook: (Pick<P, R>, impl Giving<P>),
        read: impl FnOnce(R) -> X,
    ) -> Result<X, Fault>
    where
        P: Given,
        R: Answered,
    {
        let place = pool.checkout().await?;
        let call = async {
            let mut instance = match place.take() {
                Some(instance) => instance,
                None => maker.waiting().await.map_err(StartError::into_fault)?,
            };
            let answer = instance
                .call_waiting(exchange, self.per_call, hook, read)
                .await?;
            Ok((instance, answer))
        };
        let (instance, answer) = tokio::time::timeout(max_wait, call).await.map_err(|_| {
            let detail = format!("the call was not over after {max_wait:?}");
            Fault::new(FaultKind::Wait, detail)
        })??;
        pool.tally.count_fuel(self.used(&instance));
        if self.choice == InstanceChoice::Warm {
            place.put_back(instance);
        }
        Ok(answer)
    }

    fn used(&self, instance: &Instance) -> u64 {
        self.per_call.fuel.saturating_sub(instance.fuel_left())
    }

    fn recovered(&self) {
        let mut health = self.health.lock();
        health.went_well(Leave::Trial, self.calls(), self.now_ns());
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
        if !fault.kind.is_the_policys() {
            return Cause::Fault(fault.kind);
        }
        let mut health = self.health.lock();
        if health.failed(&self.fault_rule, leave, self.calls(), self.now_ns()) {
            self.ailing.store(true, Ordering::Release);
            tracing::error!(target: "policy", policy = %self.shared.policy, on_fault = ?self.on_fault,
                "the policy is set aside after repeated faults; it is tried again after a pause");
        }
        Cause::Fault(fault.kind)
    }
}
