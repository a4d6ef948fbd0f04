//! Rate limiting: several limits at once, all or none, decided in one host call. `decide` has the rules; this file asks the host.

pub mod decide;

use decide::tokens::{self, Note};
use decide::{Charge, Plan, Unit};
use guest_sdk::limits::{
    self, Algorithm, Gate, KeySource, Limiter, Share, Spec, StandingShare, Verdict,
};
use guest_sdk::{
    BodyDecision, BodyNeed, ConfigError, Decision, Policy, Request, Summary, llm, scope, settings,
};

struct RateLimit {
    plan: Plan,
    /// One per limit of the plan, in its order.
    limiters: Vec<Limiter>,
    /// One per gate of the plan, in its order.
    gates: Vec<Gate>,
    /// Whether the host takes the limits by itself: what comes here it refused, mostly.
    host_looks: bool,
}

impl settings::Settings for Plan {
    fn from_json(text: &str) -> Result<Self, ConfigError> {
        settings::read(text, Plan::read)
    }
}

impl Policy for RateLimit {
    type Config = Plan;

    fn configure(plan: Plan) -> Result<Self, ConfigError> {
        let mut limiters = Vec::with_capacity(plan.limits().len());
        for limit in plan.limits() {
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
            let key = settings::element("limits", limiters.len());
            limiters.push(limits::define(&key, &limit.name, spec)?);
        }
        let mut gates = Vec::with_capacity(plan.gates().len());
        for gate in plan.gates() {
            let key = settings::element("in-flight", gates.len());
            gates.push(limits::define_gate(&key, &gate.name, gate.limit)?);
        }
        scope::only(plan.matches());
        let standing = plan.standing();
        let host_looks = standing.is_some();
        if let Some(shares) = standing {
            stand(&limiters, shares);
        }
        Ok(Self {
            plan,
            limiters,
            gates,
            host_looks,
        })
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        for (gate, rule) in self.gates.iter().zip(self.plan.gates()) {
            if let Some(key) = rule.key(request)
                && !gate.enter(&key)
            {
                return Decision::respond(decide::crowded(&rule.name)).reason(decide::CROWDED);
            }
        }
        let mut charges = self.plan.charges(request, Unit::Requests);
        let decision = self.decide(&mut charges);
        if decision.response().is_none() && self.plan.counts_tokens(request) {
            return decision.body(BodyNeed::Whole);
        }
        decision.done()
    }

    fn on_request_body(&self, request: &mut Request, _body: Vec<u8>) -> BodyDecision {
        let Some(usage) = llm::usage_of() else {
            return Decision::next().done().into();
        };
        let mut charges = self.plan.charges(request, Unit::Tokens);
        for charge in &mut charges {
            charge.cost = self.plan.estimate(charge.limit, usage.prompt);
        }
        let note = tokens::write(&charges);
        let decision = self.decide(&mut charges);
        if decision.response().is_some() || note.is_empty() {
            return decision.done().into();
        }
        request.set_attr(self.plan.attr(), &note);
        decision.into()
    }

    fn on_complete(&self, request: &Request, summary: &Summary) {
        let Some(note) = request.attr(self.plan.attr()) else {
            return;
        };
        let used = llm::usage_of();
        for Note {
            limit,
            charged,
            key,
        } in tokens::read(&note)
        {
            let answered = summary.upstream.is_some();
            let delta = tokens::correction(charged, used.as_ref(), answered);
            if let Some(limiter) = self.limiters.get(limit).filter(|_| delta != 0) {
                limiter.settle(key, delta);
            }
        }
    }
}

impl RateLimit {
    /// Takes from every limit or from none, in one call. The keys of `charges` are moved out.
    fn decide(&self, charges: &mut [Charge]) -> Decision {
        if charges.is_empty() {
            return Decision::next();
        }
        let mut shares = Vec::with_capacity(charges.len());
        for charge in &mut *charges {
            shares.push(Share {
                limiter: &self.limiters[charge.limit],
                key: std::mem::take(&mut charge.key),
                cost: charge.cost,
            });
        }
        if !self.plan.tells_always()
            && !self.host_looks
            && let Some(passed) = passed(&shares)
        {
            return passed;
        }
        // A first look that was refused took nothing: this one decides. Should there be room again by now, the request passes, and
        // is charged once.
        let verdicts = take_each(&shares);
        let degraded = verdicts.iter().any(|verdict| verdict.degraded);
        if verdicts.iter().any(|verdict| !verdict.allowed) {
            let reason = if degraded {
                decide::REFUSED_DEGRADED
            } else {
                decide::REFUSED
            };
            return Decision::respond(self.plan.refusal(charges, &verdicts)).reason(reason);
        }
        let decision = go_on(degraded);
        if !self.plan.tells_always() {
            return decision;
        }
        decision
            .response_header("ratelimit-policy", self.plan.policy_field(charges))
            .response_header("ratelimit", self.plan.standing_field(charges, &verdicts))
    }
}

/// The host takes them by itself; the policy is called for what is refused.
fn stand(limiters: &[Limiter], shares: Vec<(KeySource, u64)>) {
    let share = |(limiter, (key, cost))| StandingShare { limiter, key, cost };
    let shares: Vec<_> = limiters.iter().zip(shares).map(share).collect();
    limits::stand(&shares);
}

/// Whoever is not told where the limits stand needs one verdict for all of them. None: it is a refusal, or there is only one limit,
/// whose verdict says everything.
fn passed(shares: &[Share<'_>]) -> Option<Decision> {
    if shares.len() == 1 {
        return None;
    }
    let verdict = limits::take_all(shares);
    verdict.allowed.then(|| go_on(verdict.degraded))
}

fn take_each(shares: &[Share<'_>]) -> Vec<Verdict> {
    match shares {
        [share] => vec![share.limiter.take(&share.key, share.cost)],
        several => limits::take_each(several),
    }
}

fn go_on(degraded: bool) -> Decision {
    match degraded {
        true => Decision::next().reason(decide::DEGRADED),
        false => Decision::next(),
    }
}

guest_sdk::export_policy!(RateLimit, "limit-policy");
