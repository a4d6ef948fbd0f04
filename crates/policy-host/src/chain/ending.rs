//! After the exchange: complete hooks.

use super::Chain;
use crate::bindings::exports::veilgate::policy::complete_hook;
use crate::decision::Completed;
use crate::exchange::{ExchangeContext, Phase};

impl Chain {
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
