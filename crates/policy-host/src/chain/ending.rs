//! After the exchange: complete hooks.

use super::Chain;
use crate::bindings::exports::veilgate::policy::complete_hook;
use crate::decision::Completed;
use crate::exchange::{ExchangeContext, Phase};
use crate::hooks::Hook;

impl Chain {
    /// Whether a policy is still to be called at this hook.
    fn awaits(&self, hook: Hook, exchange: &ExchangeContext) -> bool {
        let mut all = self.policies.iter().enumerate();
        all.any(|(place, policy)| policy.has(hook) && !exchange.done.has(place))
    }

    /// Whether a policy is to be told of the end: one that has the hook, and did not say that it is done.
    pub fn tells_the_end(&self, exchange: &ExchangeContext) -> bool {
        self.awaits(Hook::Complete, exchange)
    }

    /// Whether a policy is to see the response.
    pub fn sees_response(&self, exchange: &ExchangeContext) -> bool {
        self.awaits(Hook::Response, exchange)
    }

    /// Whether a policy may still look at the request once its head was sent. Filters may, in any callback.
    pub fn looks_back(&self, exchange: &ExchangeContext) -> bool {
        const LATER: [Hook; 3] = [Hook::After, Hook::Response, Hook::Complete];
        let asked = !self.request_need(exchange).is_none();
        let mut all = self.policies.iter().enumerate();
        asked
            || all.any(|(place, policy)| {
                let later = || LATER.into_iter().any(|hook| policy.has(hook));
                !exchange.done.has(place) && (policy.is_filter() || later())
            })
    }

    pub fn has_complete_hook(&self) -> bool {
        self.policies
            .iter()
            .any(|policy| policy.has_complete_hook())
    }

    /// In order, for each that did not say that it is done. What fails is counted, and concerns nobody else: the exchange is over.
    pub async fn on_complete(&self, exchange: &mut ExchangeContext, completed: &Completed) {
        exchange.phase = Phase::Complete;
        for (place, policy) in self.policies.iter().enumerate() {
            if !policy.has_complete_hook() || exchange.done.has(place) {
                continue;
            }
            let called = match policy.plugin() {
                Some(plugin) => policy.account(async { plugin.on_end(exchange) }).await,
                None => {
                    let told = (summary(completed),);
                    policy
                        .call(exchange, |hooks| &hooks.complete, told, Ok)
                        .await
                }
            };
            if called.is_err() {
                tracing::debug!(target: "policy", policy = policy.name(), "a complete hook failed");
            }
        }
    }
}

fn summary(completed: &Completed) -> complete_hook::Summary {
    let completed = completed.clone();
    complete_hook::Summary {
        status: completed.status,
        duration_us: completed.duration_us,
        upstream_us: completed.upstream_us,
        upstream: completed.upstream,
        attempts: completed.attempts,
        request_bytes: completed.request_bytes,
        response_bytes: completed.response_bytes,
        cache_status: completed.cache_status,
        client_aborted: completed.client_aborted,
    }
}
