//! Who holds the exchange that policies see. One stage after the other does, until a body is watched: then that stage, the request's
//! body on its way to the upstream and the response's on its way to the client take turns.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use policy_host::{ExchangeContext, LocalResponse};
use tokio::sync::Notify;

/// What is read where the exchange is elsewhere.
static NOBODY: LazyLock<ExchangeContext> = LazyLock::new(ExchangeContext::vacant);

/// An exchange, or the place of one that is elsewhere.
#[derive(Default)]
pub(super) struct Held(Option<ExchangeContext>);

impl Held {
    pub(super) fn new(context: ExchangeContext) -> Self {
        Self(Some(context))
    }

    /// Leaves the place empty.
    pub(super) fn take(&mut self) -> Option<ExchangeContext> {
        self.0.take()
    }
}

impl Deref for Held {
    type Target = ExchangeContext;

    fn deref(&self) -> &ExchangeContext {
        self.0.as_ref().unwrap_or(&NOBODY)
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut ExchangeContext {
        self.0.get_or_insert_with(ExchangeContext::vacant)
    }
}

/// An exchange that several hold in turn.
#[derive(Default)]
pub(super) struct Shared {
    context: Mutex<Option<ExchangeContext>>,
    back: Notify,
    /// What a policy that watched a body answers in its place.
    answer: Mutex<Option<LocalResponse>>,
}

/// Whose turn it is; the exchange goes back when this is dropped.
pub(super) struct Turn {
    shared: Arc<Shared>,
    held: Held,
}

impl Shared {
    /// Waits until nobody else holds it.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        loop {
            let back = self.back.notified();
            if let Some(context) = self.context.lock().take() {
                return Turn {
                    shared: self.clone(),
                    held: Held::new(context),
                };
            }
            back.await;
        }
    }

    /// Stays here while the body breaks off: what carries it tells of an error only.
    pub(super) fn leave_answer(&self, answer: LocalResponse) {
        *self.answer.lock() = Some(answer);
    }

    pub(super) fn take_answer(&self) -> Option<LocalResponse> {
        self.answer.lock().take()
    }

    pub(super) fn put_back(&self, context: ExchangeContext) {
        *self.context.lock() = Some(context);
        self.back.notify_one();
    }
}

impl Turn {
    /// Keeps it: the turn ends with whoever gets it.
    pub(super) fn keep(mut self) -> Held {
        std::mem::take(&mut self.held)
    }
}

impl Deref for Turn {
    type Target = ExchangeContext;

    fn deref(&self) -> &ExchangeContext {
        &self.held
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut ExchangeContext {
        &mut self.held
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(context) = self.held.take() {
            self.shared.put_back(context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_are_taken_one_after_the_other_and_given_back_when_dropped() {
        let shared = Arc::new(Shared::default());
        shared.put_back(ExchangeContext::vacant());
        let first = shared.turn().await;
        let waiting = tokio::spawn({
            let shared = shared.clone();
            async move {
                let mut turn = shared.turn().await;
                turn.request.authority = "second".to_owned();
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("its turn");
        let turn = shared.turn().await;
        assert_eq!(turn.request.authority, "second");
        let mut kept = turn.keep();
        assert!(kept.take().is_some() && kept.take().is_none());
        assert_eq!(kept.request.authority, "");
        kept.request.authority = "nobody's".to_owned();
    }
}
