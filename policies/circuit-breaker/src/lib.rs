//! Circuit breaking: leaves an upstream alone while it fails. `decide` has the rules; this file asks the host, which keeps the state.

pub mod decide;

use decide::{Plan, Settings};
use guest_sdk::attempt::{Attempt, Choice};
use guest_sdk::breakers::{self, Admission, Breaker, Spec};
use guest_sdk::{ConfigError, Policy, Request};

struct CircuitBreaker {
    plan: Plan,
    /// One per rule of the plan, in its order.
    breakers: Vec<Breaker>,
}

impl Policy for CircuitBreaker {
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        let plan = Plan::new(settings)?;
        let define = |(index, rule): (usize, &decide::Rule)| {
            let spec = Spec {
                window: rule.window.millis(),
                min_calls: rule.min_calls,
                failure_rate: rule.failure_rate,
                slow_call: rule.slow_call.millis(),
                slow_rate: rule.slow_rate,
                open_for: rule.open_for.millis(),
                probes: rule.probes,
            };
            let breaker = breakers::define(&format!("breakers[{index}]"), &rule.name, spec)?;
            if rule.counts_its_own_way() {
                breaker.count(&rule.failure_status.ranges(), &rule.ignore_errors);
            }
            Ok::<_, ConfigError>(breaker)
        };
        let breakers = plan
            .rules()
            .iter()
            .enumerate()
            .map(define)
            .collect::<Result<_, _>>()?;
        Ok(Self { plan, breakers })
    }

    fn before_attempt(&self, request: &Request, attempt: &Attempt) -> Choice {
        let Some((index, key)) = self.plan.breaker_of(&attempt.upstream, request) else {
            return Choice::Default;
        };
        match self.breakers[index].admit(&key) {
            Admission::Pass | Admission::Probe => Choice::Default,
            Admission::Refuse(wait_ms) => Choice::Respond(decide::refusal(wait_ms)),
        }
    }
}

guest_sdk::export_policy!(CircuitBreaker, "breaker-policy");
