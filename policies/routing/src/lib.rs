//! Routing: which upstream serves a request, and where it is tried again. `decide` has the rules; this file asks the host.

pub mod decide;

use decide::{Answer, FALLBACK, Known, Plan, Standing};
use guest_sdk::attempt::{Attempt, Choice, Outcome, Verdict};
use guest_sdk::{
    BodyDecision, BodyNeed, ConfigError, Decision, Policy, Request, RouteChoice, host, llm, scope,
    settings, upstreams,
};

struct Routing(Plan);

impl settings::Settings for Plan {
    fn from_json(text: &str) -> Result<Self, ConfigError> {
        settings::read(text, Plan::read)
    }
}

impl Policy for Routing {
    type Config = Plan;

    fn configure(plan: Plan) -> Result<Self, ConfigError> {
        if !plan.has_default() {
            scope::only(plan.matches());
        }
        Ok(Self(plan))
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let (answer, needs_body) = self.0.choose(request, Known::Head, standing, host::random);
        if needs_body {
            // What is chosen without the body stands if there is none.
            return match answer {
                Answer::Defer => Decision::next(),
                answer => self.decide(request, &answer),
            }
            .body(BodyNeed::Whole);
        }
        let decision = self.decide(request, &answer);
        match &answer {
            Answer::Route(chosen) if chosen.has_fallback => decision,
            _ => decision.done(),
        }
    }

    fn on_request_body(&self, request: &mut Request, _body: Vec<u8>) -> BodyDecision {
        let model = llm::model();
        let known = Known::Model(model.as_deref());
        let (answer, _) = self.0.choose(request, known, standing, host::random);
        let chosen = match &answer {
            Answer::Route(chosen) => Some(chosen),
            Answer::None | Answer::Defer => None,
        };
        if let Some(name) = chosen.and_then(|chosen| chosen.model) {
            llm::set_model(name);
        }
        if !chosen.is_some_and(|chosen| chosen.has_fallback) {
            // What was noted without the body does not hold.
            request.set_attr(FALLBACK, "");
        }
        self.decide(request, &answer).into()
    }

    fn before_attempt(&self, request: &Request, attempt: &Attempt) -> Choice {
        if attempt.number == 1 {
            return Choice::Default;
        }
        match request
            .attr(FALLBACK)
            .and_then(|note| self.0.redirected(&note))
        {
            Some(upstream) => Choice::Route(RouteChoice::to(upstream)),
            None => Choice::Default,
        }
    }

    fn after_attempt(&self, request: &Request, attempt: &Attempt, outcome: &Outcome) -> Verdict {
        if attempt.number != 1 || !decide::may_help(outcome) {
            return Verdict::Accept;
        }
        let note = request.attr(FALLBACK).unwrap_or_default();
        if !self.0.goes_elsewhere(&note, outcome, request.method()) {
            return Verdict::Accept;
        }
        request.set_attr(FALLBACK, &decide::sent_there(&note));
        Verdict::Retry
    }
}

impl Routing {
    fn decide(&self, request: &Request, answer: &Answer<'_>) -> Decision {
        match answer {
            Answer::None => Decision::next(),
            Answer::Defer => Decision::defer().reason(decide::DEFERRED),
            Answer::Route(chosen) => {
                if chosen.has_fallback {
                    request.set_attr(FALLBACK, &chosen.note());
                }
                let choice = RouteChoice {
                    upstream: chosen.upstream.to_owned(),
                    endpoint: None,
                    hash_key: chosen.hash_key,
                    timeout: chosen.timeout.map(|timeout| timeout.millis()),
                };
                Decision::route(choice).reason(chosen.reason)
            }
        }
    }
}

/// None: the gateway does not know this upstream, or cannot say.
fn standing(upstream: &str) -> Option<Standing> {
    let stats = upstreams::stats_of(upstream).ok()?;
    Some(Standing {
        healthy: stats.healthy,
        in_flight: stats.in_flight,
        p50_us: stats.p50_us,
    })
}

guest_sdk::export_policy!(Routing, "routing-policy");
