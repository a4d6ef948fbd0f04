//! The policies of one route, in order. Requests pass them first to last, responses last to first.
//!
//! A chain is a snapshot: a request holds the one it began with to its end, and a swap is a new chain.

mod bodies;
mod ending;
mod filters;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::bindings::exports::veilgate::policy::outcome_hook;
use crate::bindings::veilgate::policy::types;
use crate::bodies::Asked;
use crate::decision::{
    Attempt, AttemptChoice, AttemptOutcome, Cause, Outcome, Unavailable, Verdict,
};
use crate::direct::LentAttempt;
use crate::exchange::{ExchangeContext, Phase};
use crate::hooks::Pick;
use crate::host::convert::{self, BeforeChoice, Decided};
use crate::policy::Policy;
use crate::spec::OnFault;
use bodies::Message;

#[derive(Clone, Default)]
pub struct Chain {
    policies: Arc<[Arc<Policy>]>,
}

/// What one policy's failure means for the exchange.
fn contain(policy: &Policy, cause: Cause) -> Option<Unavailable> {
    match policy.on_fault() {
        OnFault::Skip => None,
        OnFault::Deny => Some(Unavailable {
            policy: policy.label().clone(),
            cause,
        }),
    }
}

/// One hook of each of these, until one ends the phase.
async fn decide<'p>(
    policies: impl Iterator<Item = (usize, &'p Arc<Policy>)>,
    exchange: &mut ExchangeContext,
    message: Message,
    hook: Pick<(), (types::Decision,)>,
) -> Outcome {
    for (place, policy) in policies {
        if exchange.done.has(place) {
            continue;
        }
        if message == Message::Request {
            if !policy.is_for(&exchange.request) || policy.takes(exchange) {
                exchange.done.mark(place);
                continue;
            }
            if !policy.has_request_hook() {
                continue;
            }
        }
        let read = |(decision,)| {
            let decided = convert::decision(decision)?;
            bodies::check_wish(policy, place, message, decided.body)?;
            Ok(decided)
        };
        let called = match policy.plugin() {
            Some(plugin) => Box::pin(filters::head(policy, plugin, exchange, message)).await,
            None => policy.call(exchange, hook, (), read).await,
        };
        match called {
            Ok(decided) => {
                bodies::note_wish(exchange, place, message, decided.body);
                if decided.done {
                    exchange.done.mark(place);
                }
                match apply(policy, exchange, decided) {
                    Outcome::Continue => {}
                    ended => return ended,
                }
            }
            Err(cause) => {
                if policy.is_filter() {
                    // Its context went with the VM: the rest of the exchange would be told to one that knows nothing of it.
                    exchange.done.mark(place);
                }
                if let Some(unavailable) = contain(policy, cause) {
                    return Outcome::Unavailable(unavailable);
                }
            }
        }
    }
    Outcome::Continue
}

impl Chain {
    pub fn new(policies: Vec<Arc<Policy>>) -> Self {
        Self {
            policies: policies.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Request hooks, in order, until one answers.
    pub async fn on_request(&self, exchange: &mut ExchangeContext) -> Outcome {
        exchange.phase = Phase::Request;
        // Those without the hook, too: they may have left something with the host.
        let all = self.policies.iter().enumerate();
        decide(all, exchange, Message::Request, |hooks| &hooks.request).await
    }

    /// Response hooks, in reverse order, until one answers instead. Set `exchange.response` before.
    pub async fn on_response(&self, exchange: &mut ExchangeContext) -> Outcome {
        exchange.phase = Phase::Response;
        let hooked = self
            .policies
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, policy)| policy.has_response_hook());
        let outcome = decide(hooked, exchange, Message::Response, |hooks| &hooks.response).await;
        if !matches!(outcome, Outcome::Continue) {
            // What was asked for was the body of the response that another takes the place of.
            exchange.bodies.response = Asked::default();
        }
        outcome
    }

    /// Before an attempt, in order. Each policy sees the route that those before it chose, and the last one chosen stands; the first
    /// refusal ends it, and what the attempt was given goes back.
    pub async fn before_attempt(
        &self,
        exchange: &mut ExchangeContext,
        attempt: &Attempt,
    ) -> AttemptChoice {
        exchange.phase = Phase::Before {
            attempt: attempt.number,
        };
        let mut chosen = AttemptChoice::Default;
        for (place, policy) in self.policies.iter().enumerate() {
            if !policy.has_attempt_hook() || exchange.done.has(place) {
                continue;
            }
            let given = lent(attempt, &chosen);
            if policy.guards(exchange, given.number, given.upstream) {
                continue;
            }
            let read = |(choice,)| convert::choice(choice);
            let called = policy.call(exchange, |hooks| &hooks.before, given, read);
            let stopped = match called.await {
                Ok(BeforeChoice::Default) => continue,
                Ok(BeforeChoice::Route(route)) => {
                    chosen = AttemptChoice::Route(route);
                    continue;
                }
                Ok(BeforeChoice::Respond(response)) => AttemptChoice::Respond(response),
                Ok(BeforeChoice::GiveUp) => AttemptChoice::GiveUp,
                Err(cause) => match contain(policy, cause) {
                    None => continue,
                    Some(unavailable) => AttemptChoice::Unavailable(unavailable),
                },
            };
            exchange.permits.abandon(attempt.number);
            return stopped;
        }
        chosen
    }

    /// After an attempt, in reverse order; every hook is asked. Then the attempt's permits are settled, whatever the guests did.
    pub async fn after_attempt(
        &self,
        exchange: &mut ExchangeContext,
        attempt: &Attempt,
        outcome: &AttemptOutcome,
    ) -> Verdict {
        exchange.phase = Phase::After {
            attempt: attempt.number,
        };
        let mut verdict = Verdict::Accept;
        let hooked = self
            .policies
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, policy)| policy.has_outcome_hook());
        for (place, policy) in hooked {
            if exchange.done.has(place) {
                continue;
            }
            let given = (lent(attempt, &AttemptChoice::Default), outcome);
            let read = |(verdict,)| Ok(verdict);
            let called = policy.call(exchange, |hooks| &hooks.after, given, read);
            verdict = match (called.await, verdict) {
                (_, Verdict::Unavailable(first)) => Verdict::Unavailable(first),
                (Err(cause), so_far) => contain(policy, cause).map_or(so_far, Verdict::Unavailable),
                (Ok(outcome_hook::Verdict::GiveUp), _) | (Ok(_), Verdict::GiveUp) => {
                    Verdict::GiveUp
                }
                (Ok(outcome_hook::Verdict::Retry), _) | (Ok(_), Verdict::Retry) => Verdict::Retry,
                (Ok(outcome_hook::Verdict::Accept), Verdict::Accept) => Verdict::Accept,
            };
        }
        if let Some(policy) = self.policies.first() {
            exchange
                .permits
                .settle(attempt.number, outcome, policy.now_ns());
        }
        verdict
    }
}

/// The exchange takes what was decided; what is returned ends the phase, unless it is `Continue`.
fn apply(policy: &Policy, exchange: &mut ExchangeContext, decided: Decided) -> Outcome {
    if let Some(reason) = decided.reason {
        exchange.add_reason(policy.label(), reason);
    }
    if let Some(route) = decided.route {
        exchange.route = Some(route);
    }
    if !decided.response_headers.is_empty() {
        exchange.set_response_headers(decided.response_headers);
    }
    match (decided.respond, decided.defer) {
        (Some(response), _) => Outcome::Respond(*response),
        (None, true) => Outcome::Defer,
        (None, false) => Outcome::Continue,
    }
}

/// The attempt as a guest is told of it: where it goes now that policies chose.
fn lent<'a>(attempt: &'a Attempt, chosen: &'a AttemptChoice) -> LentAttempt<'a> {
    let (upstream, endpoint) = match chosen {
        AttemptChoice::Route(route) => (&route.upstream, route.endpoint),
        _ => (&attempt.upstream, attempt.endpoint),
    };
    LentAttempt {
        number: attempt.number,
        upstream,
        endpoint,
    }
}

/// What a future comes to if it need not wait: a chain of policies that never wait is through at the first look.
pub fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
