//! What filters wait for, outside of Wasm: a held back message until it is resumed or answered, and answers to calls until the guest
//! can be told.

use wasmtime::Store;

use super::abi::Half;
use super::callbacks::Callbacks;
use super::plugin::{Plugin, Trouble};
use super::reply::Reply;
use super::state::{ROOT, VmState};
use super::stream::Pinned;
use crate::decision::LocalResponse;
use crate::error::{Fault, FaultKind};
use crate::exchange::ExchangeContext;

impl Plugin {
    /// Waits, if the filter holds this half back. What it answers, if it does.
    pub(super) async fn until_resumed(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        half: Half,
    ) -> Result<Option<LocalResponse>, Trouble> {
        let mut timeout = None;
        loop {
            let Some(stream) = pinned.stream.as_mut() else {
                return Err(Trouble::Lost);
            };
            if let Some(response) = stream.answer(half) {
                return Ok(Some(response));
            }
            if !stream.flow(half).paused {
                return Ok(None);
            }
            if let Some((token, reply)) = stream.collect() {
                self.deliver(pinned, exchange, token, reply)?;
                continue;
            }
            if stream.local.is_some() || !stream.flow(half).paused {
                continue;
            }
            let mailbox = stream.mailbox.clone();
            if is_lost(pinned) {
                return Err(Trouble::Lost);
            }
            if !mailbox.awaits_calls() && !self.ticks(pinned) {
                return Err(stuck(
                    "it holds a message back, and nothing is under way that could resume it",
                ));
            }
            let timeout =
                timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.max_wait())));
            tokio::select! {
                () = mailbox.arrival() => {}
                () = timeout.as_mut() => {
                    return Err(stuck("it held a message back for longer than `max_wait`"));
                }
            }
        }
    }

    /// Whether the stream's VM is called from time to time: it may resume what it holds back.
    pub(super) fn ticks(&self, pinned: &Pinned) -> bool {
        let place = pinned.slot.lock();
        place.vm.as_ref().is_some_and(|vm| vm.tick_ms().is_some())
    }

    /// Answers that came while the exchange was elsewhere.
    pub(super) fn deliver_waiting(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
    ) -> Result<(), Trouble> {
        while let Some((token, reply)) = pinned
            .stream
            .as_mut()
            .filter(|stream| stream.mailbox.calls() > 0)
            .and_then(|stream| stream.collect())
        {
            self.deliver(pinned, exchange, token, reply)?;
        }
        Ok(())
    }

    fn deliver(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        token: u32,
        reply: Reply,
    ) -> Result<(), Trouble> {
        self.enter(pinned, exchange, |callbacks, store| {
            tell_reply(callbacks, store, token, reply)
        })
    }
}

/// The guest learns it in the name of its root context, and acts for a stream once it says so.
pub(super) fn tell_reply(
    callbacks: &Callbacks,
    store: &mut Store<VmState>,
    token: u32,
    reply: Reply,
) -> wasmtime::Result<()> {
    let Some(callback) = &callbacks.http_call_response else {
        return Ok(());
    };
    let (fields, body) = (reply.field_count(), reply.body().len() as u32);
    let state = store.data_mut();
    state.reply = Some(reply);
    state.effective = ROOT;
    callback.call(&mut *store, (ROOT, token, fields, body, 0))
}

/// The VM that knew the stream trapped meanwhile, in the name of another.
fn is_lost(pinned: &Pinned) -> bool {
    let place = pinned.slot.lock();
    place.generation != pinned.generation || place.vm.is_none()
}

fn stuck(what: &str) -> Trouble {
    Trouble::Fault(Fault::new(FaultKind::Wait, what))
}
