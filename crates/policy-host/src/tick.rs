//! What a policy does by the clock, apart from any exchange.

use std::time::Duration;

use crate::exchange::ExchangeContext;
use crate::policy::Policy;

impl Policy {
    /// One call of the tick hook, on whichever instance is free. What fails is counted and logged where all faults are.
    pub async fn on_tick(&self) {
        let called = match self.plugin() {
            Some(plugin) => self.account(async { plugin.on_tick() }).await,
            None => {
                let mut nobody = ExchangeContext::vacant();
                self.call(&mut nobody, |hooks| &hooks.tick, (), Ok).await
            }
        };
        if called.is_err() {
            tracing::debug!(target: "policy", policy = self.name(), "a tick failed");
        }
    }

    /// For a proxy-wasm module, which sets the period of its ticks itself: how often `on_tick` is to be called at the moment. None:
    /// not at all, or it is a component, whose period is the operator's.
    pub fn tick_period(&self) -> Option<Duration> {
        self.plugin().and_then(|plugin| plugin.tick_period())
    }
}
