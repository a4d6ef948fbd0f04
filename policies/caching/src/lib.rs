//! Caching: what may be stored, for how long, and under which key. `decide` has the rules; this file tells the host.
//!
//! All that can be said is said when the request comes, so that only a rule by content type needs the response hook.

pub mod decide;

use decide::{BodyKey, Plan, RULE, RequestStep, Rule};
use guest_sdk::settings::digits;
use guest_sdk::{
    BodyDecision, BodyNeed, ConfigError, Decision, Policy, Request, Response, Source, cache, scope,
    settings,
};

struct Caching(Plan);

impl settings::Settings for Plan {
    fn from_json(text: &str) -> Result<Self, ConfigError> {
        settings::read(text, Plan::read)
    }
}

impl Policy for Caching {
    type Config = Plan;

    fn configure(plan: Plan) -> Result<Self, ConfigError> {
        scope::only(plan.matches());
        Ok(Self(plan))
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let Some((index, step)) = self.0.on_request(request) else {
            return Decision::next().done();
        };
        let key = match step {
            RequestStep::Bypass(reason) => {
                cache::bypass();
                return Decision::next().reason(reason).done();
            }
            RequestStep::Cache { key } => key,
        };
        for part in &key {
            cache::key_add(part);
        }
        let rule = &self.0.rules()[index];
        tell(rule);
        let by_text = matches!(rule.body, BodyKey::Text(_));
        let by_type = !rule.content_type.is_empty();
        if by_text || by_type {
            request.set_attr(RULE, &digits(index as u64));
        }
        let decision = match by_text {
            true => Decision::next().body(BodyNeed::Whole),
            false => Decision::next(),
        };
        if by_type { decision } else { decision.done() }
    }

    fn on_request_body(&self, request: &mut Request, body: Vec<u8>) -> BodyDecision {
        let Some(BodyKey::Text(prompt)) = self.rule_of(request).map(|rule| &rule.body) else {
            return BodyDecision::default();
        };
        match prompt.normal_form(&body) {
            Ok(text) => {
                cache::key_text(&text);
                BodyDecision::default()
            }
            Err(reason) => {
                cache::bypass();
                Decision::next().reason(reason).into()
            }
        }
    }

    fn on_response(&self, request: &Request, response: &mut Response) -> Decision {
        if response.source() != Source::Upstream {
            return Decision::next();
        }
        if let Some(rule) = self.rule_of(request)
            && !rule.takes_type(response.header("content-type").as_deref())
        {
            cache::no_store();
        }
        Decision::next()
    }
}

impl Caching {
    /// The rule that the request fell under, noted when its head was seen.
    fn rule_of(&self, request: &Request) -> Option<&Rule> {
        let index: usize = request.attr(RULE)?.parse().ok()?;
        self.0.rules().get(index)
    }
}

fn tell(rule: &Rule) {
    if let Some(lifetimes) = &rule.lifetimes {
        cache::store(lifetimes);
        cache::store_only(&rule.status);
    }
    if !rule.tags.is_empty() {
        cache::tag(&rule.tags);
    }
    if matches!(rule.body, BodyKey::Whole) {
        cache::key_body();
    }
}

guest_sdk::export_policy!(Caching, "cache-policy");
