//! What a policy does by the clock, apart from any exchange.

use crate::exchange::ExchangeContext;
use crate::policy::Policy;

impl Policy {
    /// One call of the tick hook, on whichever instance is free. What fails is counted and logged where all faults are.
    pub async fn on_tick(&self) {
        let mut nobody = ExchangeContext::vacant();
        let called = self.call(&mut nobody, |hooks| &hooks.tick, (), Ok);
        if called.await.is_err() {
            tracing::debug!(target: "policy", policy = self.name(), "a tick failed");
        }
    }
}
