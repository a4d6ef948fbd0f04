//! Circuit breaking: leaves an upstream alone while it fails. `decide` has the rules; this file asks the host, which keeps the state.

pub mod decide;

use decide::{Plan, WhenOpen};
use guest_sdk::attempt::{Attempt, Choice};
use guest_sdk::breakers::{self, Admission, Breaker, Spec};
use guest_sdk::{ConfigError, Policy, Request, settings};

struct CircuitBreaker {
    plan: Plan,
    /// One per rule of the plan, in its order.
    breakers: Vec<Breaker>,
}

impl settings::Settings for Plan {
    fn from_json(text: &str) -> Result<Self, ConfigError> {
        settings::read(text, Plan::read)
    }
}

impl Policy for CircuitBreaker {
    type Config = Plan;

    fn configure(plan: Plan) -> Result<Self, ConfigError> {
        let mut breakers = Vec::with_capacity(plan.rules().len());
        for rule in plan.rules() {
            let spec = Spec {
                window: rule.window.millis(),
                min_calls: rule.min_calls,
                failure_rate: rule.failure_rate,
                slow_call: rule.slow_call.millis(),
                slow_rate: rule.slow_rate,
                open_for: rule.open_for.millis(),
                probes: rule.probes,
            };
            let key = settings::element("breakers", breakers.len());
            let breaker = breakers::define(&key, &rule.name, spec)?;
            if rule.counts_its_own_way() {
                breaker.count(&rule.failure_status.ranges(), &rule.ignore_errors);
            }
            breakers.push(breaker);
        }
        // All or none: the host takes an attempt that no guard is for to be nobody's.
        if plan.rules().iter().all(decide::Rule::can_guard) {
            for (breaker, rule) in breakers.iter().zip(plan.rules()) {
                breaker.guard(&rule.upstreams, &rule.routes, rule.per_route);
            }
        }
        Ok(Self { plan, breakers })
    }

    fn before_attempt(&self, request: &Request, attempt: &Attempt) -> Choice {
        let Some((index, key)) = self.plan.breaker_of(&attempt.upstream, request) else {
            return Choice::Default;
        };
        match self.breakers[index].admit(&key) {
            Admission::Pass | Admission::Probe => Choice::Default,
            Admission::Refuse(wait_ms) => match &self.plan.rules()[index].when_open {
                WhenOpen::Refuse => Choice::Respond(decide::refusal(wait_ms)),
                WhenOpen::Stale => Choice::GiveUp,
                WhenOpen::Answer(fallback) => Choice::Respond(fallback.response(wait_ms)),
            },
        }
    }
}

guest_sdk::export_policy!(CircuitBreaker, "breaker-policy");
