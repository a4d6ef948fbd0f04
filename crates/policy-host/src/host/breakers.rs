//! `breakers`: admission per attempt. A permit belongs to the attempt it was taken for, and the host settles it.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::bindings::veilgate::policy::breakers::{Admission, Host, HostBreaker, Spec, State};
use crate::bindings::veilgate::policy::types::Error;
use crate::error::HostRefusal;
use crate::exchange::Phase;
use crate::permits::Counting;
use crate::primitives::{self, Breaker, CircuitState, RawCircuitSpec};
use crate::standing::Guard;
use crate::state::{HostState, unknown_handle};

/// Of one `count`: a few classes of statuses.
const MAX_RANGES: usize = 16;
/// Of one `count`: RFC 9209 has 33 names, and each has at most this length.
const MAX_ERRORS: usize = 32;
const MAX_ERROR_BYTES: usize = 64;
/// Of one `guard`: upstreams, or routes.
const MAX_NAMES: usize = 64;
const MAX_NAME_BYTES: usize = 128;

pub struct BreakerHandle {
    breaker: Arc<Breaker>,
    /// What this policy counts as a failure, if it said so.
    counting: Option<Arc<Counting>>,
}

impl HostState {
    fn breaker(&self, handle: &Resource<BreakerHandle>) -> wasmtime::Result<Arc<Breaker>> {
        self.handles
            .get(handle)
            .map(|handle| handle.breaker.clone())
            .map_err(|_| unknown_handle())
    }

    /// Outside `attempt-hook.before` there is no attempt that a permit could belong to: it says what would be, and takes nothing.
    pub(crate) fn admit_by(
        &mut self,
        this: Resource<BreakerHandle>,
        key: &str,
    ) -> wasmtime::Result<Admission> {
        let now = self.now_ns();
        let handle = self.handles.get(&this).map_err(|_| unknown_handle())?;
        let Phase::Before { attempt } = self.exchange.phase else {
            return Ok(admission(handle.breaker.would_admit(key, now)));
        };
        let asked = (&handle.breaker, &handle.counting);
        let permits = &mut self.exchange.permits;
        Ok(admission(permits.admit(attempt, asked, key, now)))
    }
}

fn admission(admission: primitives::Admission) -> Admission {
    match admission {
        primitives::Admission::Pass => Admission::Pass,
        primitives::Admission::Probe => Admission::Probe,
        primitives::Admission::Refuse { retry_after_ms } => Admission::Refuse(retry_after_ms),
    }
}

impl Host for HostState {}

impl HostBreaker for HostState {
    fn define(
        &mut self,
        name: String,
        spec: Spec,
    ) -> wasmtime::Result<Result<Resource<BreakerHandle>, Error>> {
        let raw = RawCircuitSpec {
            window_ms: spec.window,
            min_calls: spec.min_calls,
            failure_rate: spec.failure_rate,
            slow_call_ms: spec.slow_call,
            slow_rate: spec.slow_rate,
            open_for_ms: spec.open_for,
            probes: spec.probes,
        };
        let breaker = self
            .shared
            .primitives
            .breaker(&self.shared.scope, &name, raw);
        let handle = |breaker| BreakerHandle {
            breaker,
            counting: None,
        };
        Ok(self.defined(&name, breaker, handle))
    }

    fn admit(&mut self, this: Resource<BreakerHandle>, key: String) -> wasmtime::Result<Admission> {
        self.admit_by(this, &key)
    }

    fn count_as(
        &mut self,
        this: Resource<BreakerHandle>,
        key: String,
        failure: bool,
    ) -> wasmtime::Result<()> {
        let breaker = self.breaker(&this)?;
        if let Phase::Before { attempt } | Phase::After { attempt } = self.exchange.phase {
            self.exchange
                .permits
                .count_as(attempt, &breaker, &key, failure);
        }
        Ok(())
    }

    fn count(
        &mut self,
        this: Resource<BreakerHandle>,
        failures: Vec<(u16, u16)>,
        ignored_errors: Vec<String>,
    ) -> wasmtime::Result<()> {
        let fits = failures.len() <= MAX_RANGES
            && ignored_errors.len() <= MAX_ERRORS
            && ignored_errors
                .iter()
                .all(|error| error.len() <= MAX_ERROR_BYTES);
        if !fits {
            return Err(
                HostRefusal("more than 16 ranges or 32 names of errors to count by").into(),
            );
        }
        let handle = self.handles.get_mut(&this).map_err(|_| unknown_handle())?;
        handle.counting = Some(Arc::new(Counting {
            failures: failures.into_iter().map(|(from, to)| from..=to).collect(),
            ignored_errors,
        }));
        Ok(())
    }

    fn guard(
        &mut self,
        this: Resource<BreakerHandle>,
        upstreams: Vec<String>,
        routes: Vec<String>,
        per_route: bool,
    ) -> wasmtime::Result<()> {
        self.only_in_configure("a guard that is set outside of configure")?;
        let short = |names: &[String]| {
            names.len() <= MAX_NAMES && names.iter().all(|name| name.len() <= MAX_NAME_BYTES)
        };
        let handle = self.handles.get(&this).map_err(|_| unknown_handle())?;
        let fits = short(&upstreams) && short(&routes);
        let guard = Guard {
            breaker: handle.breaker.clone(),
            counting: handle.counting.clone(),
            upstreams,
            routes,
            per_route,
        };
        if !(fits && self.standing.guards.add(guard)) {
            return Err(HostRefusal("more than 64 guards, or 64 names of one").into());
        }
        Ok(())
    }

    fn state(&mut self, this: Resource<BreakerHandle>, key: String) -> wasmtime::Result<State> {
        Ok(match self.breaker(&this)?.state(&key, self.now_ns()) {
            CircuitState::Closed => State::Closed,
            CircuitState::Open => State::Open,
            CircuitState::HalfOpen => State::HalfOpen,
        })
    }

    fn force(
        &mut self,
        this: Resource<BreakerHandle>,
        key: String,
        state: State,
        for_ms: u64,
    ) -> wasmtime::Result<()> {
        let state = match state {
            State::Closed => CircuitState::Closed,
            State::Open => CircuitState::Open,
            State::HalfOpen => CircuitState::HalfOpen,
        };
        self.breaker(&this)?
            .force(&key, state, for_ms, self.now_ns());
        Ok(())
    }

    fn drop(&mut self, this: Resource<BreakerHandle>) -> wasmtime::Result<()> {
        self.handles
            .delete(this)
            .map(|_| ())
            .map_err(|_| unknown_handle())
    }
}
