//! A filter as a policy: its VMs, and the hooks of an exchange mapped to its callbacks. A held back message waits here, outside of
//! Wasm: the VM serves other streams in the meantime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use wasmtime::Store;

use super::abi::{Action, Half};
use super::callbacks::Callbacks;
use super::facts::{BodyMode, Facts, Settings};
use super::heads::{request_fields, request_has_body, response_fields, response_has_body};
use super::module::Filter;
use super::pool::{self, Place, Slot};
use super::reply::Reply;
use super::state::{ROOT, VmState};
use super::stream::{Mailbox, Pinned, Stream};
use super::vm::{Vm, begin_context, end_context};
use crate::decision::LocalResponse;
use crate::error::{Fault, FaultKind, LoadError};
use crate::exchange::ExchangeContext;
use crate::hooks::Hook;
use crate::instance::{Allowance, StartError};
use crate::spec::PolicySpec;
use crate::state::{HostState, Shared};

pub(crate) struct Plugin {
    id: u64,
    shared: Arc<Shared>,
    filter: Filter,
    facts: Arc<Facts>,
    memory_bytes: usize,
    to_start: Allowance,
    per_call: Allowance,
    slots: Box<[Arc<Slot>]>,
    calls: AtomicU64,
    fuel: AtomicU64,
}

/// Why a hook came to nothing.
pub(crate) enum Trouble {
    Fault(Fault),
    /// Another exchange's call broke the VM that this one was on.
    Lost,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Trouble::Fault(fault)
    }
}

/// What a plugin is started with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) to_start: Allowance,
    pub(crate) per_call: Allowance,
    pub(crate) workers: usize,
}

impl Plugin {
    /// Starts every VM, so that what can fail fails here.
    pub(crate) fn start(
        filter: Filter,
        spec: &PolicySpec,
        start: Start,
    ) -> Result<Self, LoadError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let settings = Settings::of(&spec.config_json);
        let plugin = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            shared: start.shared,
            filter,
            facts: Arc::new(Facts::new(settings, spec.grants.clone())),
            memory_bytes: spec.limits.memory_bytes,
            to_start: start.to_start,
            per_call: start.per_call,
            slots: pool::slots(start.workers),
            calls: AtomicU64::new(0),
            fuel: AtomicU64::new(0),
        };
        for slot in &plugin.slots {
            let vm = plugin
                .another_vm()
                .map_err(|error| error.into_load_error(&plugin.shared.policy))?;
            slot.lock().install(vm);
        }
        Ok(plugin)
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        let exports = self.filter.exports;
        match hook {
            Hook::Request => exports.request || exports.request_body,
            Hook::Response => exports.response || exports.response_body,
            Hook::RequestBody | Hook::RequestStream => exports.request_body,
            Hook::ResponseBody | Hook::ResponseStream => exports.response_body,
            Hook::Complete => exports.ending,
            Hook::Tick => exports.tick,
            Hook::Configure => true,
            Hook::Before | Hook::After => false,
        }
    }

    pub(crate) fn body_mode(&self, half: Half) -> BodyMode {
        let (exported, mode) = match half {
            Half::Request => (
                self.filter.exports.request_body,
                self.facts.settings.request_body,
            ),
            Half::Response => (
                self.filter.exports.response_body,
                self.facts.settings.response_body,
            ),
        };
        if exported { mode } else { BodyMode::None }
    }

    /// Starts one more VM, and throws it away.
    pub(crate) fn try_start(&self) -> Result<(), Fault> {
        self.another_vm().map(drop).map_err(StartError::into_fault)
    }

    /// Linear memory of the largest VM.
    pub(crate) fn memory_bytes(&self) -> usize {
        let used = self.slots.iter().map(|slot| {
            let place = slot.lock();
            place.vm.as_ref().map_or(0, |vm| vm.memory_bytes())
        });
        used.max().unwrap_or(0)
    }

    fn another_vm(&self) -> Result<Vm, StartError> {
        let base = HostState::new(self.shared.clone(), self.memory_bytes);
        Vm::start(&self.filter, base, self.facts.clone(), self.to_start)
    }

    /// The stream of this exchange, or a new one on this thread's VM.
    fn pinned(&self, exchange: &mut ExchangeContext) -> Result<Pinned, Fault> {
        let known = exchange
            .pinned
            .iter()
            .position(|pinned| pinned.plugin == self.id);
        if let Some(at) = known {
            return Ok(exchange.pinned.swap_remove(at));
        }
        let home = crate::pool::thread_number() % self.slots.len();
        let slot = &self.slots[home];
        let mut place = slot.lock();
        if place.vm.is_none() {
            let vm = self.another_vm().map_err(StartError::into_fault)?;
            place.install(vm);
        }
        Ok(Pinned {
            plugin: self.id,
            slot: slot.clone(),
            generation: place.generation,
            stream: Some(Box::new(Stream::new(Arc::new(Mailbox::default())))),
        })
    }

    /// One call on the stream's VM.
    fn enter<R>(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        callback: impl FnOnce(&Callbacks, &mut Store<VmState>) -> wasmtime::Result<R>,
    ) -> Result<R, Trouble> {
        let slot = pinned.slot.clone();
        let mut place = slot.lock();
        if place.generation != pinned.generation {
            return Err(Trouble::Lost);
        }
        let mut vm = place.vm.take().ok_or(Trouble::Lost)?;
        self.bury(&slot, &place, &mut vm)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = vm.call(
            exchange,
            &mut pinned.stream,
            self.per_call,
            |callbacks, store| {
                begin_context(callbacks, store)?;
                callback(callbacks, store)
            },
        )?;
        self.settle(&mut place, vm);
        Ok(answer)
    }

    /// One call in the name of a VM's root context. A VM that is not there is not made for it.
    pub(super) fn at_root(
        &self,
        place: &mut Place,
        callback: impl FnOnce(&Callbacks, &mut Store<VmState>) -> wasmtime::Result<()>,
    ) -> Result<(), Trouble> {
        let Some(mut vm) = place.vm.take() else {
            return Ok(());
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        vm.call_root(self.per_call, callback)?;
        self.settle(place, vm);
        Ok(())
    }

    pub(super) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.shared.clock.monotonic_ns()
    }

    fn settle(&self, place: &mut Place, vm: Box<Vm>) {
        let used = self.per_call.fuel.saturating_sub(vm.fuel_left());
        self.fuel.fetch_add(used, Ordering::Relaxed);
        place.vm = Some(vm);
    }

    /// Ends the contexts whose exchanges are gone.
    fn bury(&self, slot: &Slot, place: &Place, vm: &mut Vm) -> Result<(), Fault> {
        for context in slot.take_orphans(place.generation) {
            vm.call_root(self.per_call, |callbacks, store| {
                if !store.data_mut().act_as(context) {
                    return Ok(());
                }
                end_context(callbacks, store, context)
            })?;
        }
        Ok(())
    }

    /// The heads of both messages. Held back: it waits until the filter resumes or answers.
    pub(crate) async fn on_headers(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
    ) -> Result<Head, Trouble> {
        let mut pinned = self.pinned(exchange)?;
        let outcome = self.headers(&mut pinned, exchange, half).await;
        self.keep(exchange, pinned, &outcome);
        outcome
    }

    fn keep<R>(
        &self,
        exchange: &mut ExchangeContext,
        pinned: Pinned,
        outcome: &Result<R, Trouble>,
    ) {
        if outcome.is_ok() {
            exchange.pinned.push(pinned);
        }
    }

    async fn headers(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        half: Half,
    ) -> Result<Head, Trouble> {
        let (count, end) = match half {
            Half::Request => (request_fields(exchange), !request_has_body(exchange)),
            Half::Response => (response_fields(exchange), !response_has_body(exchange)),
        };
        let body_follows = !end && self.body_mode(half) != BodyMode::None;
        self.deliver_waiting(pinned, exchange)?;
        self.enter(pinned, exchange, |callbacks, store| {
            let headers = match half {
                Half::Request => &callbacks.request_headers,
                Half::Response => &callbacks.response_headers,
            };
            let Some(headers) = headers else {
                return Ok(());
            };
            let context = store.data().effective;
            hold(store, half, Action::Pause);
            let action = headers.call(store, context, count, end)?;
            settle_action(store, half, action);
            Ok(())
        })?;
        if body_follows && self.waits_for_body(pinned, half) {
            return Ok(Head::WithBody);
        }
        Ok(match self.until_resumed(pinned, exchange, half).await? {
            Some(response) => Head::Answered(response),
            None if body_follows => Head::BodyFollows,
            None => Head::Alone,
        })
    }

    /// A head that is held back while nothing is under way that could resume it waits for what the body callback says.
    fn waits_for_body(&self, pinned: &mut Pinned, half: Half) -> bool {
        if self.ticks(pinned) {
            return false;
        }
        let Some(stream) = &mut pinned.stream else {
            return false;
        };
        let waits = stream.local.is_none()
            && !stream.closed
            && stream.flow(half).paused
            && !stream.mailbox.awaits_calls();
        if waits {
            stream.resumed(half);
        }
        waits
    }

    /// The whole body of a message. The second value is what takes its place.
    pub(crate) async fn on_whole_body(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
        body: Bytes,
    ) -> Result<(Option<LocalResponse>, Option<Bytes>), Trouble> {
        let mut pinned = self.pinned(exchange)?;
        let outcome = async {
            self.body(&mut pinned, exchange, half, &body, true).await?;
            let response = self.until_resumed(&mut pinned, exchange, half).await?;
            Ok((
                response,
                taken(&mut pinned, half).filter(|(_, changed)| *changed),
            ))
        }
        .await;
        self.keep(exchange, pinned, &outcome);
        outcome.map(|(response, body)| (response, body.map(|(body, _)| body)))
    }

    /// A piece of a message that passes.
    pub(crate) async fn on_piece(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
        piece: &Bytes,
        end: bool,
        max_held: usize,
    ) -> Piece {
        let mut pinned = match self.pinned(exchange) {
            Ok(pinned) => pinned,
            Err(fault) => return Piece::Trouble(fault.into(), piece.clone()),
        };
        if pinned.held_len(half) + piece.len() > max_held {
            return Piece::TooLong;
        }
        let called = async {
            self.body(&mut pinned, exchange, half, piece, end).await?;
            if end {
                self.until_resumed(&mut pinned, exchange, half).await
            } else {
                Ok(pinned
                    .stream
                    .as_mut()
                    .and_then(|stream| stream.local.take()))
            }
        }
        .await;
        match called {
            Err(trouble) => {
                let held = taken(&mut pinned, half);
                Piece::Trouble(trouble, held.map_or_else(Bytes::new, |(body, _)| body))
            }
            Ok(response) => {
                let passed = match response {
                    Some(_) => Piece::Answered,
                    None => pinned.passed(half, piece),
                };
                exchange.pinned.push(pinned);
                passed
            }
        }
    }

    async fn body(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        half: Half,
        piece: &[u8],
        end: bool,
    ) -> Result<(), Trouble> {
        if let Some(stream) = pinned.stream.as_mut() {
            let flow = stream.flow(half);
            flow.body.get_or_insert_default().extend_from_slice(piece);
        }
        self.deliver_waiting(pinned, exchange)?;
        self.enter(pinned, exchange, |callbacks, store| {
            let callback = match half {
                Half::Request => &callbacks.request_body,
                Half::Response => &callbacks.response_body,
            };
            let Some(callback) = callback else {
                return Ok(());
            };
            let (context, len) = (store.data().effective, body_len(store, half));
            hold(store, half, Action::Pause);
            let action = callback.call(&mut *store, (context, len, end.into()))?;
            settle_action(store, half, action);
            Ok(())
        })
    }

    /// Done, log, delete.
    pub(crate) fn on_end(&self, exchange: &mut ExchangeContext) -> Result<(), Trouble> {
        let known = exchange
            .pinned
            .iter()
            .position(|pinned| pinned.plugin == self.id);
        let Some(at) = known else {
            return Ok(());
        };
        let mut pinned = exchange.pinned.swap_remove(at);
        self.enter(&mut pinned, exchange, |callbacks, store| {
            let context = store.data().effective;
            end_context(callbacks, store, context)
        })?;
        pinned.stream = None;
        Ok(())
    }

    /// Waits, if the filter holds this half back. What it answers, if it does.
    async fn until_resumed(
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
            if !mailbox.awaits_calls() && !self.ticks(pinned) {
                return Err(stuck(
                    "it holds a message back, and nothing is under way that could resume it",
                ));
            }
            let timeout =
                timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.shared.max_wait)));
            tokio::select! {
                () = mailbox.arrival() => {}
                () = timeout.as_mut() => {
                    return Err(stuck("it held a message back for longer than `max_wait`"));
                }
            }
        }
    }

    /// Whether the stream's VM is called from time to time: it may resume what it holds back.
    fn ticks(&self, pinned: &Pinned) -> bool {
        let place = pinned.slot.lock();
        place.vm.as_ref().is_some_and(|vm| vm.tick_ms().is_some())
    }

    /// Answers that came while the exchange was elsewhere.
    fn deliver_waiting(
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

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn fuel(&self) -> u64 {
        self.fuel.load(Ordering::Relaxed)
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

/// What became of the head of a message.
pub(crate) enum Head {
    /// It goes on, and no body callback is to come.
    Alone,
    /// It goes on, and its body is to be told in the policy's way.
    BodyFollows,
    /// It goes on with its body, once the filter saw that.
    WithBody,
    Answered(LocalResponse),
}

/// What became of a piece of a body.
pub(crate) enum Piece {
    /// As it was.
    Kept,
    /// This goes on instead; nothing, if it is empty.
    Passed(Bytes),
    /// The filter answers; the message is on its way already.
    Answered,
    /// More is held back than the policy may.
    TooLong,
    /// What was held back is here, the piece included.
    Trouble(Trouble, Bytes),
}

fn stuck(what: &str) -> Trouble {
    Trouble::Fault(Fault::new(FaultKind::Wait, what))
}

/// Before a callback: it may resume what it is about to hold back.
fn hold(store: &mut Store<VmState>, half: Half, action: Action) {
    if let Some(stream) = &mut store.data_mut().stream {
        stream.flow(half).paused = action == Action::Pause;
    }
}

fn settle_action(store: &mut Store<VmState>, half: Half, answered: u32) {
    if Action::from_guest(answered) == Action::Continue {
        hold(store, half, Action::Continue);
    }
}

fn body_len(store: &Store<VmState>, half: Half) -> u32 {
    let stream = store.data().stream.as_deref();
    let body = stream.and_then(|stream| match half {
        Half::Request => stream.request.body.as_ref(),
        Half::Response => stream.response.body.as_ref(),
    });
    body.map_or(0, |body| body.len() as u32)
}

/// The body that the filter leaves, and whether it wrote to it.
fn taken(pinned: &mut Pinned, half: Half) -> Option<(Bytes, bool)> {
    let flow = pinned.stream.as_mut()?.flow(half);
    let changed = std::mem::take(&mut flow.changed);
    Some((flow.body.take()?.into(), changed))
}
