//! The twin of policies/circuit-breaker, for rules that count as the host does.

use examples::client::Error;
use guest_sdk::settings;
use policy_circuit_breaker::decide::{self, Plan, Rule, WhenOpen};
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, ExchangeContext, Native, NativeBreaker, RawCircuitSpec,
    Verdict,
};

use super::head::Head;
use super::{Subject, local};

pub struct Twin {
    plan: Plan,
    /// One per rule of the plan, in its order.
    breakers: Vec<NativeBreaker>,
    native: Native,
}

fn spec(rule: &Rule) -> RawCircuitSpec {
    RawCircuitSpec {
        window_ms: rule.window.millis(),
        min_calls: rule.min_calls,
        failure_rate: rule.failure_rate,
        slow_call_ms: rule.slow_call.millis(),
        slow_rate: rule.slow_rate,
        open_for_ms: rule.open_for.millis(),
        probes: rule.probes,
    }
}

impl Twin {
    pub fn new(config: &str, native: Native) -> Result<Self, Error> {
        let plan = settings::read(config, Plan::read).map_err(|error| Error::of(&error))?;
        if plan.rules().iter().any(Rule::counts_its_own_way) {
            let message = "the native twin of circuit-breaker counts as the host does";
            return Err(Error::new(message));
        }
        let breakers = plan.rules().iter();
        let breakers = breakers.map(|rule| native.breaker(&rule.name, spec(rule)));
        let breakers = breakers.collect::<Result<_, _>>();
        Ok(Self {
            breakers: breakers.map_err(|error| Error::of(&error))?,
            plan,
            native,
        })
    }
}

impl Subject for Twin {
    fn before_attempt(&self, exchange: &mut ExchangeContext, attempt: &Attempt) -> AttemptChoice {
        let found = self.plan.breaker_of(&attempt.upstream, &Head::of(exchange));
        let Some((index, key)) = found else {
            return AttemptChoice::Default;
        };
        let breaker = (&self.breakers[index], &*key);
        match self.native.admit(exchange, attempt.number, breaker) {
            Ok(()) => AttemptChoice::Default,
            Err(wait_ms) => match &self.plan.rules()[index].when_open {
                WhenOpen::Refuse => AttemptChoice::Respond(local(decide::refusal(wait_ms))),
                WhenOpen::Stale => AttemptChoice::GiveUp,
                WhenOpen::Answer(fallback) => {
                    AttemptChoice::Respond(local(fallback.response(wait_ms)))
                }
            },
        }
    }

    fn after_attempt(
        &self,
        exchange: &mut ExchangeContext,
        attempt: &Attempt,
        outcome: &AttemptOutcome,
    ) -> Verdict {
        self.native.settle(exchange, attempt.number, outcome);
        Verdict::Accept
    }
}
