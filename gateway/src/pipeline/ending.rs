//! What is left to do once an exchange is over: complete hooks, off the critical path, and what policies held given back.

use std::sync::Arc;

use parking_lot::Mutex;
use policy_host::llm::UsageScanner;
use policy_host::{Completed, ExchangeContext};

use super::held::{Held, Shared};
use super::{Gateway, Route};

/// Exchanges whose complete hooks wait or run at once: what a burst ends together. Past it they are not called, and counted.
pub const MAX_ENDINGS: usize = 4096;

/// The exchange as policies see it, until the response's body is over.
pub(super) struct Kept {
    route: Arc<Route>,
    context: Place,
}

enum Place {
    Here(ExchangeContext),
    /// A body may still hold it.
    Shared(Arc<Shared>),
}

impl Kept {
    /// None where there is nothing to keep.
    pub(super) fn of(
        route: &Arc<Route>,
        held: &mut Held,
        shared: Option<Arc<Shared>>,
    ) -> Option<Self> {
        if route.chain.is_empty() {
            return None;
        }
        let mut context = held.take();
        if let Some(context) = &mut context {
            context.settle_abandoned();
        }
        let context = match (shared, context) {
            (Some(shared), Some(context)) => {
                shared.put_back(context);
                Place::Shared(shared)
            }
            (Some(shared), None) => Place::Shared(shared),
            (None, Some(context)) => Place::Here(context),
            (None, None) => return None,
        };
        Some(Self {
            route: route.clone(),
            context,
        })
    }

    /// The exchange is over.
    pub(super) fn end(
        self,
        gateway: &Arc<Gateway>,
        completed: impl FnOnce() -> Completed,
        usage: Option<Arc<Mutex<UsageScanner>>>,
    ) {
        let chain = &self.route.chain;
        let told = match &self.context {
            Place::Here(context) => chain.tells_the_end(context),
            Place::Shared(_) => chain.has_complete_hook(),
        };
        if !told {
            return;
        }
        let place = gateway.endings.enter();
        let runtime = tokio::runtime::Handle::try_current();
        let (Some(place), Ok(runtime)) = (place, runtime) else {
            metrics::counter!("gateway_policy_completions_dropped_total").increment(1);
            return;
        };
        let completed = completed();
        runtime.spawn(async move {
            self.complete(&completed, usage).await;
            drop(place);
        });
    }

    async fn complete(self, completed: &Completed, usage: Option<Arc<Mutex<UsageScanner>>>) {
        let mut context = match self.context {
            Place::Here(context) => Held::new(context),
            Place::Shared(shared) => shared.turn().await.keep(),
        };
        if let Some(usage) = usage {
            let prompt = context.llm_prompt();
            let usage = usage.lock().usage(prompt);
            context.llm_is_over(usage);
        }
        self.route.chain.on_complete(&mut context, completed).await;
    }
}
