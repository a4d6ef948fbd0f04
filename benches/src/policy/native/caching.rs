//! The twin of policies/caching, for rules that need no body.

use std::sync::Arc;

use guest_sdk::{ConfigError, settings};
use policy_caching::decide::{BodyKey, Plan, RULE, RequestStep, Rule};
use policy_host::{CacheDirectives, ExchangeContext, Outcome, Source, StoreDirective};

use super::head::Head;
use super::{Subject, give_reason};

pub struct Twin {
    plan: Plan,
    policy: Arc<str>,
}

impl Twin {
    pub fn new(config: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            plan: settings::read(config, Plan::read)?,
            policy: Arc::from("caching"),
        })
    }

    /// The rule that the request fell under, noted when its head was seen.
    fn rule_of(&self, exchange: &ExchangeContext) -> Option<&Rule> {
        let index: usize = exchange.attrs.read(RULE)?.parse().ok()?;
        self.plan.rules().get(index)
    }
}

fn tell(cache: &mut CacheDirectives, rule: &Rule) {
    if let Some(lifetimes) = &rule.lifetimes {
        cache.store = Some(StoreDirective {
            ttl_ms: lifetimes.ttl.millis(),
            stale_while_revalidate_ms: lifetimes.stale_while_revalidate.millis(),
            stale_if_error_ms: lifetimes.stale_if_error.millis(),
        });
        let statuses = rule.status.ranges().into_iter();
        cache.store_only = statuses.map(|(from, to)| from..=to).collect();
    }
    cache.tags.extend(rule.tags.iter().cloned());
    if matches!(rule.body, BodyKey::Whole) {
        cache.body_key = Some(policy_host::BodyKey::Body);
    }
}

impl Subject for Twin {
    fn on_request(&self, exchange: &mut ExchangeContext) -> Outcome {
        let Some((index, step)) = self.plan.on_request(&Head::of(exchange)) else {
            return Outcome::Continue;
        };
        match step {
            RequestStep::Bypass(reason) => {
                exchange.cache.bypass = true;
                give_reason(exchange, &self.policy, reason);
            }
            RequestStep::Cache { key } => {
                let rule = &self.plan.rules()[index];
                exchange.cache.key_parts.extend(key);
                tell(&mut exchange.cache, rule);
                if !rule.content_type.is_empty() {
                    let number = settings::digits(index as u64);
                    // over the limits it is not kept, and the response hook finds no rule
                    let _ = exchange.attrs.set(RULE.to_owned(), number);
                }
            }
        }
        Outcome::Continue
    }

    fn on_response(&self, exchange: &mut ExchangeContext) -> Outcome {
        let Some(response) = &exchange.response else {
            return Outcome::Continue;
        };
        if response.source != Source::Upstream {
            return Outcome::Continue;
        }
        let field = response.headers.get("content-type");
        let content_type = field.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let rule = self.rule_of(exchange);
        if rule.is_some_and(|rule| !rule.takes_type(content_type)) {
            exchange.cache.no_store = true;
        }
        Outcome::Continue
    }
}
