//! `breakers`: admission per attempt. A permit belongs to the attempt it was taken for, and the host settles it.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::bindings::veilgate::policy::breakers::{Admission, Host, HostBreaker, Spec, State};
use crate::bindings::veilgate::policy::types::Error;
use crate::exchange::Phase;
use crate::primitives::{self, Breaker, CircuitState, RawCircuitSpec};
use crate::state::{HostState, unknown_handle};

pub struct BreakerHandle(Arc<Breaker>);

impl HostState {
    fn breaker(&self, handle: &Resource<BreakerHandle>) -> wasmtime::Result<Arc<Breaker>> {
        self.handles
            .get(handle)
            .map(|breaker| breaker.0.clone())
            .map_err(|_| unknown_handle())
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
        Ok(self.defined(&name, breaker, BreakerHandle))
    }

    /// Outside `attempt-hook.before` there is no attempt that a permit could belong to: it says what would be, and takes nothing.
    fn admit(&mut self, this: Resource<BreakerHandle>, key: String) -> wasmtime::Result<Admission> {
        let (breaker, now) = (self.breaker(&this)?, self.now_ns());
        let Phase::Before { attempt } = self.exchange.phase else {
            return Ok(admission(breaker.would_admit(&key, now)));
        };
        if self.exchange.permits.is_full() {
            return Ok(admission(breaker.would_admit(&key, now)));
        }
        let (decided, permit) = breaker.admit(&key, now);
        if let Some(permit) = permit {
            self.exchange.permits.hold(attempt, permit);
        }
        Ok(admission(decided))
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
