//! Routing: which upstream serves a request, and where it is tried again. `decide` has the rules; this file asks the host.

pub mod decide;

use decide::{Plan, Settings};
use guest_sdk::attempt::{Attempt, Choice, Outcome, Verdict};
use guest_sdk::{ConfigError, Decision, Policy, Request, RouteChoice, host};

struct Routing(Plan);

impl Policy for Routing {
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Plan::new(settings).map(Self)
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let Some(chosen) = self.0.choose(request, host::random) else {
            return Decision::next();
        };
        if let Some(fallback) = chosen.fallback {
            request.set_attr(decide::FALLBACK, fallback);
        }
        let choice = RouteChoice {
            upstream: chosen.upstream.to_owned(),
            endpoint: None,
            hash_key: chosen.hash_key,
            timeout: chosen.timeout.map(|timeout| timeout.millis()),
        };
        Decision::route(choice).reason(chosen.reason)
    }

    fn before_attempt(&self, request: &Request, attempt: &Attempt) -> Choice {
        match decide::redirected(attempt, request) {
            Some(upstream) => Choice::Route(RouteChoice::to(upstream)),
            None => Choice::Default,
        }
    }

    fn after_attempt(&self, request: &Request, attempt: &Attempt, outcome: &Outcome) -> Verdict {
        if !decide::goes_elsewhere(attempt, outcome, request) {
            return Verdict::Accept;
        }
        request.set_attr(decide::REDIRECTED, "1");
        Verdict::Retry
    }
}

guest_sdk::export_policy!(Routing, "routing-policy");
