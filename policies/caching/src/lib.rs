//! Caching: what may be stored, for how long, and under which key. `decide` has the rules; this file tells the host.

pub mod decide;

use decide::{Plan, RequestStep, ResponseStep, Settings};
use guest_sdk::{ConfigError, Decision, Policy, Request, Response, Source, cache};

struct Caching(Plan);

impl Policy for Caching {
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Plan::new(settings).map(Self)
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let Some((rule, step)) = self.0.on_request(request) else {
            return Decision::next();
        };
        match step {
            RequestStep::Bypass(reason) => {
                cache::bypass();
                return Decision::next().reason(reason);
            }
            RequestStep::Cache { key } => {
                for part in key {
                    cache::key_add(&part);
                }
            }
        }
        request.set_attr(decide::RULE, &rule.to_string());
        Decision::next()
    }

    fn on_response(&self, request: &Request, response: &mut Response) -> Decision {
        if response.source() != Source::Upstream {
            return Decision::next();
        }
        let Some(rule) = request
            .attr(decide::RULE)
            .and_then(|rule| rule.parse().ok())
        else {
            return Decision::next();
        };
        match self
            .0
            .on_response(rule, response.status(), || response.header("content-type"))
        {
            ResponseStep::Store(lifetimes) => cache::store(&lifetimes),
            ResponseStep::NoStore => cache::no_store(),
        }
        Decision::next()
    }
}

guest_sdk::export_policy!(Caching, "cache-policy");
