//! The twin of policies/routing, for rules that need no body.

use std::sync::Arc;

use guest_sdk::attempt::Outcome as Ended;
use guest_sdk::{ConfigError, settings};
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, ExchangeContext, Outcome, RouteChoice, UpstreamView,
    Verdict,
};
use policy_routing::decide::{self, Answer, Chosen, FALLBACK, Known, Plan, Standing};

use super::super::exchange::OneUpstream;
use super::head::Head;
use super::{Subject, give_reason};

pub struct Twin {
    plan: Plan,
    policy: Arc<str>,
    upstreams: Arc<dyn UpstreamView>,
}

impl Twin {
    pub fn new(config: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            plan: settings::read(config, Plan::read)?,
            policy: Arc::from("routing"),
            upstreams: Arc::new(OneUpstream),
        })
    }

    fn standing(&self, upstream: &str) -> Option<Standing> {
        let stats = self.upstreams.stats_of(upstream).ok()?;
        Some(Standing {
            healthy: stats.healthy,
            in_flight: stats.in_flight,
            p50_us: stats.p50_us,
        })
    }

    fn route(&self, exchange: &mut ExchangeContext, chosen: &Chosen<'_>) {
        if chosen.has_fallback {
            note(exchange, chosen.note());
        }
        exchange.route = Some(RouteChoice {
            upstream: chosen.upstream.to_owned(),
            endpoint: None,
            hash_key: chosen.hash_key,
            timeout_ms: chosen.timeout.map(|timeout| timeout.millis()),
        });
        give_reason(exchange, &self.policy, chosen.reason);
    }
}

/// An attribute; over the limits it is not kept.
fn note(exchange: &mut ExchangeContext, text: String) {
    let _ = exchange.attrs.set(FALLBACK.to_owned(), text);
}

impl Subject for Twin {
    fn on_request(&self, exchange: &mut ExchangeContext) -> Outcome {
        let head = Head::of(exchange);
        let standing = |upstream: &str| self.standing(upstream);
        let (answer, _) = self.plan.choose(&head, Known::Head, standing, rand::random);
        match answer {
            Answer::None => Outcome::Continue,
            Answer::Defer => Outcome::Defer,
            Answer::Route(chosen) => {
                self.route(exchange, &chosen);
                Outcome::Continue
            }
        }
    }

    fn before_attempt(&self, exchange: &mut ExchangeContext, attempt: &Attempt) -> AttemptChoice {
        if attempt.number == 1 {
            return AttemptChoice::Default;
        }
        let noted = exchange.attrs.read(FALLBACK);
        match noted.and_then(|note| self.plan.redirected(note)) {
            Some(upstream) => AttemptChoice::Route(RouteChoice {
                upstream: upstream.to_owned(),
                endpoint: None,
                hash_key: None,
                timeout_ms: None,
            }),
            None => AttemptChoice::Default,
        }
    }

    fn after_attempt(
        &self,
        exchange: &mut ExchangeContext,
        attempt: &Attempt,
        outcome: &AttemptOutcome,
    ) -> Verdict {
        let ended = Ended {
            status: outcome.status,
            error: outcome.error.clone(),
            latency_us: outcome.latency_us,
        };
        if attempt.number != 1 || !decide::may_help(&ended) {
            return Verdict::Accept;
        }
        let noted = exchange.attrs.read(FALLBACK).unwrap_or_default();
        let method = exchange.request.method.as_str();
        if !self.plan.goes_elsewhere(noted, &ended, method) {
            return Verdict::Accept;
        }
        let noted = decide::sent_there(noted);
        note(exchange, noted);
        Verdict::Retry
    }
}
