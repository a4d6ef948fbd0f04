//! One VM: an instance of a filter with its root context. A call lends it an exchange and that exchange's stream. A VM that failed is
//! thrown away: nothing is known of its memory.

use std::sync::Arc;

use wasmtime::{Instance, Store, TypedFunc};

use super::callbacks::{Callbacks, Find};
use super::facts::Facts;
use super::memory::Links;
use super::module::Filter;
use super::state::{ROOT, VmState};
use super::stream::{Mailbox, Stream};
use crate::error::{Fault, FaultKind, HostRefusal};
use crate::exchange::ExchangeContext;
use crate::instance::{Allowance, StartError, fault};
use crate::state::HostState;

pub(super) struct Vm {
    store: Store<VmState>,
    callbacks: Callbacks,
}

impl Vm {
    /// Instantiates, runs what the language's runtime needs, makes the root context, configures.
    pub(super) fn start(
        filter: &Filter,
        base: HostState,
        facts: Arc<Facts>,
        allow: Allowance,
    ) -> Result<Self, StartError> {
        let mut store = Store::new(filter.pre.module().engine(), VmState::new(base, facts));
        store.limiter(|state| &mut state.base.memory);
        arm(&mut store, allow).map_err(StartError::Fault)?;
        let failed = |error: wasmtime::Error, store: &Store<VmState>| {
            StartError::Fault(fault(&error, &store.data().base))
        };
        let instance = match filter.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(failed(error, &store)),
        };
        let callbacks = link(&mut store, &instance)
            .map_err(|error| StartError::Fault(unusable(&format!("{error:#}"))))?;
        let mut vm = Self { store, callbacks };
        let started = vm.run_start(&instance).and_then(|()| vm.configure());
        vm.store.data().base.report_dropped_lines();
        let complaint = vm.store.data_mut().take_complaint();
        match started {
            Ok(None) => Ok(vm),
            Ok(Some(callback)) => Err(StartError::Refused(match complaint {
                Some(complaint) => format!("{callback} answered 0: {complaint}"),
                None => format!("{callback} answered 0, and it logged no error"),
            })),
            Err(error) => Err(failed(error, &vm.store)),
        }
    }

    /// `_initialize`, else `_start`; and `main` where a language leaves its set-up there.
    fn run_start(&mut self, instance: &Instance) -> wasmtime::Result<()> {
        let mut find = Find {
            store: &mut self.store,
            instance,
        };
        let initialize: Option<TypedFunc<(), ()>> = find.function("_initialize")?;
        let Some(initialize) = initialize else {
            let start: Option<TypedFunc<(), ()>> = find.function("_start")?;
            return start.map_or(Ok(()), |start| start.call(&mut self.store, ()));
        };
        let main: Option<TypedFunc<(u32, u32), u32>> = find.function("main").unwrap_or(None);
        initialize.call(&mut self.store, ())?;
        if let Some(main) = main {
            main.call(&mut self.store, (0, 0))?;
        }
        Ok(())
    }

    /// The callback that said no, if one did.
    fn configure(&mut self) -> wasmtime::Result<Option<&'static str>> {
        let store = &mut self.store;
        store.data_mut().base.begin_call();
        if let Some(create) = &self.callbacks.context_create {
            create.call(&mut *store, (ROOT, 0))?;
        }
        let settings = &store.data().facts.settings;
        let (vm_len, plugin_len) = (settings.vm.len() as u32, settings.plugin.len() as u32);
        if let Some(start) = &self.callbacks.vm_start
            && start.call(&mut *store, (ROOT, vm_len))? == 0
        {
            return Ok(Some("proxy_on_vm_start"));
        }
        if let Some(configure) = &self.callbacks.configure
            && configure.call(&mut *store, (ROOT, plugin_len))? == 0
        {
            return Ok(Some("proxy_on_configure"));
        }
        Ok(None)
    }

    /// Lends the exchange and its stream for one call. They come back whatever happens, but for a panic of the host.
    pub(super) fn call<R>(
        &mut self,
        exchange: &mut ExchangeContext,
        stream: &mut Option<Box<Stream>>,
        allow: Allowance,
        callback: impl FnOnce(&Callbacks, &mut Store<VmState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        arm(&mut self.store, allow)?;
        let state = self.store.data_mut();
        state.base.begin_call();
        state.base.swap(exchange);
        std::mem::swap(&mut state.stream, stream);
        state.effective = state.stream.as_ref().map_or(ROOT, |stream| stream.id);
        let answer = callback(&self.callbacks, &mut self.store);
        let state = self.store.data_mut();
        state.effective = ROOT;
        state.reply = None;
        std::mem::swap(&mut state.stream, stream);
        state.base.swap(exchange);
        state.base.report_dropped_lines();
        answer.map_err(|error| fault(&error, &self.store.data().base))
    }

    /// In the name of the root context.
    pub(super) fn call_root<R>(
        &mut self,
        allow: Allowance,
        callback: impl FnOnce(&Callbacks, &mut Store<VmState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        self.call(&mut ExchangeContext::vacant(), &mut None, allow, callback)
    }

    /// Where answers to calls of its root context are.
    pub(super) fn root_mailbox(&self) -> &Mailbox {
        &self.store.data().root_mailbox
    }

    /// How often it wants to be called, if at all.
    pub(super) fn tick_ms(&self) -> Option<u32> {
        let ms = self.store.data().tick_ms;
        (ms > 0 && self.callbacks.tick.is_some()).then_some(ms)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().base.memory.used()
    }

    pub(super) fn fuel_left(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }
}

/// The streams that wait for this VM would wait in vain.
impl Drop for Vm {
    fn drop(&mut self) {
        for mailbox in self.store.data().streams.values() {
            mailbox.wake();
        }
    }
}

/// A stream that is new gets its context.
pub(super) fn begin_context(
    callbacks: &Callbacks,
    store: &mut Store<VmState>,
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let Some(mailbox) = state
        .stream
        .as_ref()
        .filter(|stream| stream.id == 0)
        .map(|stream| stream.mailbox.clone())
    else {
        return Ok(());
    };
    let id = state
        .new_context(&mailbox)
        .ok_or(HostRefusal("too many exchanges on one VM"))?;
    if let Some(stream) = &mut state.stream {
        stream.id = id;
    }
    state.effective = id;
    match &callbacks.context_create {
        Some(create) => create.call(&mut *store, (id, ROOT)),
        None => Ok(()),
    }
}

/// The end of a context: done, log, delete. What `proxy_on_done` answers cannot hold an exchange that is over.
pub(super) fn end_context(
    callbacks: &Callbacks,
    store: &mut Store<VmState>,
    context: u32,
) -> wasmtime::Result<()> {
    if let Some(done) = &callbacks.done {
        done.call(&mut *store, context)?;
    }
    if let Some(log) = &callbacks.log {
        log.call(&mut *store, context)?;
    }
    if let Some(delete) = &callbacks.delete {
        delete.call(&mut *store, context)?;
    }
    store.data_mut().streams.remove(&context);
    Ok(())
}

fn link(store: &mut Store<VmState>, instance: &Instance) -> wasmtime::Result<Callbacks> {
    let memory = instance
        .get_memory(&mut *store, "memory")
        .ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
    let mut find = Find {
        store: &mut *store,
        instance,
    };
    let allocate = match find.function("proxy_on_memory_allocate")? {
        Some(allocate) => Some(allocate),
        None => find.function("malloc")?,
    };
    store.data_mut().links = Links::new(memory, allocate);
    Callbacks::of(store, instance)
}

fn arm(store: &mut Store<VmState>, allow: Allowance) -> Result<(), Fault> {
    store.set_epoch_deadline(allow.ticks);
    store
        .set_fuel(allow.fuel)
        .map_err(|error| unusable(&format!("{error:#}")))
}

fn unusable(detail: &str) -> Fault {
    Fault::new(FaultKind::Instance, detail)
}
