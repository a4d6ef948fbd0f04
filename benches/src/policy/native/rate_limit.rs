//! The twin of policies/rate-limit, for limits of requests.

use examples::client::Error;
use guest_sdk::limits::Verdict;
use guest_sdk::settings;
use policy_host::{
    Algorithm, ExchangeContext, Native, NativeLimiter, Outcome, RateSpec, RateVerdict,
};
use policy_rate_limit::decide::{self, Plan, Unit};

use super::head::Head;
use super::{Subject, answer_with, respond};

pub struct Twin {
    plan: Plan,
    /// One per limit of the plan, in its order.
    limiters: Vec<NativeLimiter>,
    native: Native,
}

impl Twin {
    pub fn new(config: &str, native: Native) -> Result<Self, Error> {
        let plan = settings::read(config, Plan::read).map_err(|error| Error::of(&error))?;
        if !plan.gates().is_empty() {
            return Err(Error::new("the native twin of rate-limit has no gates"));
        }
        let mut limiters = Vec::with_capacity(plan.limits().len());
        for limit in plan.limits() {
            let algorithm = match limit.algorithm {
                decide::Algorithm::Gcra => Algorithm::Gcra,
                decide::Algorithm::SlidingWindow => Algorithm::SlidingWindow,
                decide::Algorithm::FixedWindow => Algorithm::FixedWindow,
            };
            let spec = RateSpec::new(algorithm, limit.limit, limit.per.millis(), limit.burst)
                .map_err(|error| Error::of(&error))?;
            let limiter = native.limiter(&limit.name, spec);
            limiters.push(limiter.map_err(|error| Error::of(&error))?);
        }
        Ok(Self {
            plan,
            limiters,
            native,
        })
    }
}

fn verdict(verdict: RateVerdict) -> Verdict {
    Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        limit: verdict.limit,
        retry_after: verdict.retry_after_ms,
        reset: verdict.reset_ms,
        degraded: false,
    }
}

impl Subject for Twin {
    fn on_request(&self, exchange: &mut ExchangeContext) -> Outcome {
        let charges = self.plan.charges(&Head::of(exchange), Unit::Requests);
        if charges.is_empty() {
            return Outcome::Continue;
        }
        let mut shares = Vec::with_capacity(charges.len());
        for charge in &charges {
            let limiter = &self.limiters[charge.limit];
            shares.push((limiter, charge.key.as_str(), charge.cost));
        }
        let verdicts = self.native.take_each(&shares);
        let verdicts: Vec<Verdict> = verdicts.into_iter().map(verdict).collect();
        if verdicts.iter().any(|verdict| !verdict.allowed) {
            return respond(self.plan.refusal(&charges, &verdicts));
        }
        if self.plan.tells_always() {
            let policy = self.plan.policy_field(&charges);
            answer_with(exchange, "ratelimit-policy", policy);
            let standing = self.plan.standing_field(&charges, &verdicts);
            answer_with(exchange, "ratelimit", standing);
        }
        Outcome::Continue
    }
}
