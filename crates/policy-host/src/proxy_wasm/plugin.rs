//! A filter as a policy: its VMs, which of them an exchange is on, and the calls into them with their accounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::Store;

use super::abi::Half;
use super::callbacks::Callbacks;
use super::facts::{BodyMode, Facts, Settings};
use super::module::Filter;
use super::pool::{self, Place, Slot};
use super::state::VmState;
use super::stream::{Mailbox, Pinned, Stream};
use super::vm::{Vm, begin_context, end_context};
use crate::error::{Fault, LoadError};
use crate::exchange::ExchangeContext;
use crate::hooks::Hook;
use crate::instance::{Allowance, StartError};
use crate::spec::PolicySpec;
use crate::state::{HostState, Shared};

pub(crate) struct Plugin {
    pub(super) id: u64,
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
            Hook::Request => exports.request || self.has(Hook::RequestStream),
            Hook::Response => exports.response || self.has(Hook::ResponseStream),
            Hook::RequestBody => exports.request_body,
            Hook::ResponseBody => exports.response_body,
            Hook::RequestStream => exports.request_body || exports.request_trailers,
            Hook::ResponseStream => exports.response_body || exports.response_trailers,
            Hook::Complete => exports.ending,
            Hook::Tick => exports.tick,
            Hook::Configure => true,
            Hook::Before | Hook::After => false,
        }
    }

    pub(crate) fn body_mode(&self, half: Half) -> BodyMode {
        let settings = &self.facts.settings;
        let (body, mode) = match half {
            Half::Request => (self.has(Hook::RequestBody), settings.request_body),
            Half::Response => (self.has(Hook::ResponseBody), settings.response_body),
        };
        match mode {
            // Trailers come with what is streamed.
            BodyMode::Stream if body || self.sees_trailers(half) => mode,
            BodyMode::Whole if body => mode,
            _ => BodyMode::None,
        }
    }

    pub(crate) fn sees_trailers(&self, half: Half) -> bool {
        match half {
            Half::Request => self.filter.exports.request_trailers,
            Half::Response => self.filter.exports.response_trailers,
        }
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
    pub(super) fn pinned(&self, exchange: &mut ExchangeContext) -> Result<Pinned, Fault> {
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
    pub(super) fn enter<R>(
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

    pub(super) fn max_wait(&self) -> Duration {
        self.shared.max_wait
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

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn fuel(&self) -> u64 {
        self.fuel.load(Ordering::Relaxed)
    }
}
