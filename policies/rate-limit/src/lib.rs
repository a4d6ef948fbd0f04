//! Rate limiting: several limits at once, all or none, decided in one host call. `decide` has the rules; this file asks the host.

pub mod decide;

use decide::{Charge, Plan, Settings};
use guest_sdk::limits::{self, Algorithm, Limiter, Share, Spec, Verdict};
use guest_sdk::{ConfigError, Decision, Policy, Request};

struct RateLimit {
    plan: Plan,
    /// One per limit of the plan, in its order.
    limiters: Vec<Limiter>,
}

impl Policy for RateLimit {
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        let plan = Plan::new(settings)?;
        let define = |(index, limit): (usize, &decide::Limit)| {
            let spec = Spec {
                algorithm: match limit.algorithm {
                    decide::Algorithm::Gcra => Algorithm::Gcra,
                    decide::Algorithm::SlidingWindow => Algorithm::SlidingWindow,
                    decide::Algorithm::FixedWindow => Algorithm::FixedWindow,
                },
                limit: limit.limit,
                per: limit.per.millis(),
                burst: limit.burst,
            };
            limits::define(&format!("limits[{index}]"), &limit.name, spec)
        };
        let limiters = plan
            .limits()
            .iter()
            .enumerate()
            .map(define)
            .collect::<Result<_, _>>()?;
        Ok(Self { plan, limiters })
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let charges = self.plan.charges(request);
        if charges.is_empty() {
            return Decision::next();
        }
        let tightest = self.take(&charges);
        if !tightest.allowed {
            let standing = self.standing(&charges, &tightest);
            return Decision::respond(self.plan.refusal(&tightest, &charges, &standing))
                .reason(decide::REFUSED);
        }
        if !self.plan.tells_always() {
            return Decision::next();
        }
        let standing = self.standing(&charges, &tightest);
        let (policy, now) = self.plan.fields(&charges, &standing);
        Decision::next()
            .response_header("ratelimit-policy", policy)
            .response_header("ratelimit", now)
    }
}

impl RateLimit {
    fn take(&self, charges: &[Charge]) -> Verdict {
        if let [charge] = charges {
            return self.limiters[charge.limit].take(&charge.key, charge.cost);
        }
        let share = |charge: &Charge| Share {
            limiter: &self.limiters[charge.limit],
            key: charge.key.clone(),
            cost: charge.cost,
        };
        limits::take_all(&charges.iter().map(share).collect::<Vec<_>>())
    }

    /// Where each limit stands after the decision. For a single one, the decision says it already.
    fn standing(&self, charges: &[Charge], tightest: &Verdict) -> Vec<Verdict> {
        match charges {
            [_] => vec![*tightest],
            several => several
                .iter()
                .map(|charge| self.limiters[charge.limit].peek(&charge.key))
                .collect(),
        }
    }
}

guest_sdk::export_policy!(RateLimit, "limit-policy");
