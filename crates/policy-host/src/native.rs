//! The limiters and breakers for code that is no guest: a policy's logic compiled into a program finds the same decisions here, and
//! pays for nothing else. Benchmarks hold guests against it.

use std::sync::Arc;

use crate::clock::Clock;
use crate::decision::AttemptOutcome;
use crate::exchange::ExchangeContext;
use crate::primitives::{
    self, Admission, Breaker, DefineError, Limiter, Primitives, RateSpec, RateVerdict,
    RawCircuitSpec,
};

/// The shared state as one policy sees it.
pub struct Native {
    primitives: Arc<Primitives>,
    scope: String,
    clock: Arc<dyn Clock>,
}

pub struct NativeLimiter(Arc<Limiter>);
pub struct NativeBreaker(Arc<Breaker>);

impl Native {
    /// `scope` is the name of the policy that it stands for.
    pub fn new(
        primitives: Arc<Primitives>,
        scope: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            primitives,
            scope: scope.into(),
            clock,
        }
    }

    /// The same name and specification is the same limiter.
    pub fn limiter(&self, name: &str, spec: RateSpec) -> Result<NativeLimiter, DefineError> {
        let limiter = self.primitives.limiter(&self.scope, name, spec)?;
        Ok(NativeLimiter(limiter))
    }

    /// The same name and specification is the same breaker.
    pub fn breaker(&self, name: &str, spec: RawCircuitSpec) -> Result<NativeBreaker, DefineError> {
        let breaker = self.primitives.breaker(&self.scope, name, spec)?;
        Ok(NativeBreaker(breaker))
    }

    /// All or none: (limiter, key, cost) each, and a verdict for each in their order.
    pub fn take_each(&self, shares: &[(&NativeLimiter, &str, u64)]) -> Vec<RateVerdict> {
        let mut parts = Vec::with_capacity(shares.len());
        for (limiter, key, cost) in shares {
            parts.push(primitives::Share {
                limiter: &limiter.0,
                key,
                cost: *cost,
            });
        }
        primitives::take_each(&parts, self.clock.monotonic_ns())
    }

    /// Leave for this attempt, which the exchange keeps until [`settle`](Self::settle); an error says for how many milliseconds there
    /// is none.
    pub fn admit(
        &self,
        exchange: &mut ExchangeContext,
        attempt: u32,
        (breaker, key): (&NativeBreaker, &str),
    ) -> Result<(), u64> {
        let now = self.clock.monotonic_ns();
        match exchange
            .permits
            .admit(attempt, (&breaker.0, &None), key, now)
        {
            Admission::Pass | Admission::Probe => Ok(()),
            Admission::Refuse { retry_after_ms } => Err(retry_after_ms),
        }
    }

    /// The attempt has ended, and its breakers are told.
    pub fn settle(&self, exchange: &mut ExchangeContext, attempt: u32, outcome: &AttemptOutcome) {
        let now = self.clock.monotonic_ns();
        exchange.permits.settle(attempt, outcome, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::primitives::{Algorithm, PrimitiveCaps};

    fn native() -> Native {
        let clock = Arc::new(ManualClock::starting_at_ms(1));
        Native::new(Primitives::new(PrimitiveCaps::default()), "p", clock)
    }

    #[test]
    fn what_one_limit_refuses_is_taken_from_none() {
        let native = native();
        let limiter = |name, limit| {
            let spec = RateSpec::new(Algorithm::Gcra, limit, 1000, 0).expect("a spec");
            native.limiter(name, spec).expect("a limiter")
        };
        let (wide, narrow) = (limiter("wide", 10), limiter("narrow", 1));
        let remaining = || {
            let verdicts = native.take_each(&[(&wide, "k", 1), (&narrow, "k", 1)]);
            (verdicts[0].remaining, verdicts[1].allowed)
        };
        assert_eq!(remaining(), (9, true));
        assert_eq!(remaining(), (9, false));
    }

    #[test]
    fn a_breaker_opens_by_what_is_settled() {
        let native = native();
        let spec = RawCircuitSpec {
            window_ms: 1000,
            min_calls: 1,
            failure_rate: 0.5,
            slow_call_ms: 0,
            slow_rate: 0.0,
            open_for_ms: 500,
            probes: 1,
        };
        let breaker = native.breaker("b", spec).expect("a breaker");
        let mut exchange = ExchangeContext::vacant();
        assert_eq!(native.admit(&mut exchange, 1, (&breaker, "u")), Ok(()));
        let failed = AttemptOutcome {
            status: Some(503),
            ..AttemptOutcome::default()
        };
        native.settle(&mut exchange, 1, &failed);
        assert_eq!(native.admit(&mut exchange, 2, (&breaker, "u")), Err(500));
    }
}
