//! One instance of a policy. A call lends it the exchange, arms its limits, and says what went wrong by kind. An instance that
//! failed is thrown away: nothing is known of its memory.

use std::time::Duration;

use wasmtime::{Store, Trap};

use crate::direct::Giving;
use crate::error::{Fault, FaultKind, HostRefusal, LoadError};
use crate::exchange::ExchangeContext;
use crate::hooks::{self, Answered, Given, Hooks, Pick};
use crate::module::Module;
use crate::standing::Standing;
use crate::state::HostState;

/// Starting and configuring happens at load, off the request path, and may take this many times a call's fuel and deadline.
const START_FACTOR: u32 = 100;
/// The longest that starting may take.
const MAX_START: Duration = Duration::from_secs(10);

/// Epoch ticks that an instance which may wait computes without a break; then other tasks of its worker have their turn.
pub(crate) const TICKS_UNTIL_YIELD: u64 = 1;

/// Fuel and epoch ticks of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) fuel: u64,
    /// For instances that may wait this is when they first yield; the fuel and `max_wait` end them.
    pub(crate) ticks: u64,
}

impl Allowance {
    /// For starting, given how long a call may take and how to count ticks.
    pub(crate) fn to_start(
        fuel: u64,
        deadline: Duration,
        ticks: impl FnOnce(Duration) -> u64,
    ) -> Self {
        let span = deadline
            .saturating_mul(START_FACTOR)
            .clamp(Duration::from_secs(1), MAX_START);
        Self {
            fuel: fuel.saturating_mul(u64::from(START_FACTOR)),
            ticks: ticks(span),
        }
    }
}

pub(crate) struct Instance {
    store: Store<HostState>,
    hooks: Hooks,
}

/// Why an instance could not be made.
pub(crate) enum StartError {
    Fault(Fault),
    /// `configure` said no.
    Refused(String),
}

impl StartError {
    pub(crate) fn into_load_error(self, policy: &str) -> LoadError {
        let policy = policy.to_owned();
        match self {
            StartError::Fault(fault) => LoadError::Start { policy, fault },
            StartError::Refused(message) => LoadError::Configure { policy, message },
        }
    }

    pub(crate) fn into_fault(self) -> Fault {
        match self {
            StartError::Fault(fault) => fault,
            StartError::Refused(message) => Fault::new(
                FaultKind::Instance,
                format!("a new instance refused the configuration: {message}"),
            ),
        }
    }
}

impl Instance {
    /// On the caller's thread; nothing that it does may wait.
    pub(crate) fn start(
        module: &Module,
        state: HostState,
        config: &str,
        allow: Allowance,
    ) -> Result<Self, StartError> {
        let mut store = store(module, state, allow)?;
        let hooks = module.code.instantiate(&mut store);
        let mut started = Self::started(store, hooks)?;
        if let Some(configure) = &started.hooks.configure {
            let answer = configure.call(&mut started.store, (config.to_owned(),), |answer| answer);
            started.configured(answer)?;
        }
        Ok(started)
    }

    /// One that may wait: while it computes it gives the worker to others at every tick.
    pub(crate) async fn start_waiting(
        module: &Module,
        state: HostState,
        config: &str,
        allow: Allowance,
    ) -> Result<Self, StartError> {
        let mut store = store(module, state, allow)?;
        store.epoch_deadline_async_yield_and_update(TICKS_UNTIL_YIELD);
        let hooks = module.code.instantiate_async(&mut store).await;
        let mut started = Self::started(store, hooks)?;
        if let Some(configure) = &started.hooks.configure {
            let params = (config.to_owned(),);
            let answer = configure
                .call_async(&mut started.store, params, |answer| answer)
                .await;
            started.configured(answer)?;
        }
        Ok(started)
    }

    fn started(
        mut store: Store<HostState>,
        hooks: wasmtime::Result<Hooks>,
    ) -> Result<Self, StartError> {
        let hooks = hooks.map_err(|error| {
            let kind = kind_of(&error, store.data().memory.refused).unwrap_or(FaultKind::Instance);
            StartError::Fault(Fault::new(kind, format!("{error:#}")))
        })?;
        store.data_mut().begin_call();
        Ok(Self { store, hooks })
    }

    fn configured(
        &mut self,
        answer: wasmtime::Result<(Result<(), String>,)>,
    ) -> Result<(), StartError> {
        self.store.data_mut().log_printed();
        self.store.data().report_dropped_lines();
        match answer {
            Ok((Ok(()),)) => Ok(()),
            Ok((Err(message),)) => Err(StartError::Refused(message)),
            Err(error) => Err(StartError::Fault(fault(&error, self.store.data()))),
        }
    }

    /// Lends the exchange for one call. It comes back whatever happens, but for a panic of the host, which drops it.
    /// `read` makes of the answer what is handed on.
    pub(crate) fn call<P, R, X>(
        &mut self,
        exchange: &mut ExchangeContext,
        allow: Allowance,
        (hook, given): (Pick<P, R>, impl Giving<P>),
        read: impl FnOnce(R) -> X,
    ) -> Result<X, Fault>
    where
        P: Given,
        R: Answered,
    {
        arm(&mut self.store, allow)?;
        self.store.data_mut().begin_call();
        self.store.data_mut().swap(exchange);
        let answer =
            hooks::the(hook(&self.hooks)).and_then(|hook| hook.call(&mut self.store, given, read));
        let state = self.store.data_mut();
        state.swap(exchange);
        state.report_dropped_lines();
        answer.map_err(|error| fault(&error, self.store.data()))
    }

    /// What its policy left with the host; once.
    pub(crate) fn take_standing(&mut self) -> Standing {
        std::mem::take(&mut self.store.data_mut().standing)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory.used()
    }

    /// The same, suspended where the guest waits. If the caller goes away, the exchange comes back all the same; the instance must
    /// not be used again.
    pub(crate) async fn call_waiting<P, R, X>(
        &mut self,
        exchange: &mut ExchangeContext,
        allow: Allowance,
        (hook, given): (Pick<P, R>, impl Giving<P>),
        read: impl FnOnce(R) -> X,
    ) -> Result<X, Fault>
    where
        P: Given,
        R: Answered,
    {
        arm(&mut self.store, allow)?;
        self.store.data_mut().begin_call();
        self.store.data_mut().serves();
        let lent = Lent::new(&mut self.store, exchange);
        let answer = match hooks::the(hook(&self.hooks)) {
            Ok(hook) => hook.call_async(&mut *lent.store, given, read).await,
            Err(error) => Err(error),
        };
        // While the exchange is lent: lines carry its id.
        lent.store.data_mut().log_printed();
        drop(lent);
        self.store.data().report_dropped_lines();
        answer.map_err(|error| fault(&error, self.store.data()))
    }

    /// What the last call left of its fuel.
    pub(crate) fn fuel_left(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }
}

/// An exchange in the store of an instance that may be dropped while it waits.
struct Lent<'a> {
    store: &'a mut Store<HostState>,
    exchange: &'a mut ExchangeContext,
}

impl<'a> Lent<'a> {
    fn new(store: &'a mut Store<HostState>, exchange: &'a mut ExchangeContext) -> Self {
        store.data_mut().swap(exchange);
        Self { store, exchange }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.store.data_mut().swap(self.exchange);
    }
}

fn store(
    module: &Module,
    state: HostState,
    allow: Allowance,
) -> Result<Store<HostState>, StartError> {
    let mut store = Store::new(module.code.engine(), state);
    store.limiter(|state| &mut state.memory);
    let host_call_bytes = store.data().host_call_bytes();
    store.set_hostcall_fuel(host_call_bytes);
    arm(&mut store, allow).map_err(StartError::Fault)?;
    Ok(store)
}

fn arm(store: &mut Store<HostState>, allow: Allowance) -> Result<(), Fault> {
    store.set_epoch_deadline(allow.ticks);
    store
        .set_fuel(allow.fuel)
        .map_err(|error| Fault::new(FaultKind::Instance, format!("{error:#}")))
}

pub(crate) fn fault(error: &wasmtime::Error, state: &HostState) -> Fault {
    let kind = kind_of(error, state.memory.refused).unwrap_or(FaultKind::Trap);
    Fault::new(kind, format!("{error:#}"))
}

/// None: it says nothing of its kind. Running out of memory shows as whatever the guest does next, mostly `unreachable`.
fn kind_of(error: &wasmtime::Error, memory_refused: bool) -> Option<FaultKind> {
    if error.downcast_ref::<HostRefusal>().is_some() {
        return Some(FaultKind::HostLimit);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Some(FaultKind::Fuel),
        Some(Trap::Interrupt) => Some(FaultKind::Deadline),
        _ if memory_refused => Some(FaultKind::Memory),
        Some(_) => Some(FaultKind::Trap),
        None => None,
    }
}
