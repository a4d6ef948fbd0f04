//! The hooks of the contract: their names, which of them a component exports, and their typed functions in one instance.
//!
//! Found by hand rather than by generated look-ups: the same function is then called on a worker (`call`) or on an instance that
//! may wait (`call_async`).

use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc,
};

use crate::bindings::exports::veilgate::policy::{attempt_hook, complete_hook, outcome_hook};
use crate::bindings::veilgate::policy::types;
use crate::direct::{self, Answer, Giving, Params};
use crate::state::HostState;

/// The version that this host's names carry; another patch version of the same line is found by them too.
const VERSION: &str = "0.2.1";

/// Every function that a policy may export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Configure,
    Request,
    RequestBody,
    RequestStream,
    Before,
    After,
    Response,
    ResponseBody,
    ResponseStream,
    Complete,
    Tick,
}

impl Hook {
    pub(crate) const ALL: [Hook; 11] = [
        Hook::Configure,
        Hook::Request,
        Hook::RequestBody,
        Hook::RequestStream,
        Hook::Before,
        Hook::After,
        Hook::Response,
        Hook::ResponseBody,
        Hook::ResponseStream,
        Hook::Complete,
        Hook::Tick,
    ];

    /// Interface and function, as in the contract.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Hook::Configure => ("lifecycle", "configure"),
            Hook::Request => ("request-hook", "on-request"),
            Hook::RequestBody => ("request-body-hook", "on-request-body"),
            Hook::RequestStream => ("request-stream-hook", "on-request-chunk"),
            Hook::Before => ("attempt-hook", "before"),
            Hook::After => ("outcome-hook", "after"),
            Hook::Response => ("response-hook", "on-response"),
            Hook::ResponseBody => ("response-body-hook", "on-response-body"),
            Hook::ResponseStream => ("response-stream-hook", "on-response-chunk"),
            Hook::Complete => ("complete-hook", "on-complete"),
            Hook::Tick => ("tick-hook", "on-tick"),
        }
    }
}

/// Where a component's hooks are; the others are never called.
#[derive(Clone)]
pub(crate) struct Exported {
    found: [Option<ComponentExportIndex>; Hook::ALL.len()],
}

impl Exported {
    /// An interface that is there without its function is not the contract's: the name of the hook.
    pub(crate) fn find(component: &Component) -> Result<Self, Hook> {
        let mut found = [None; Hook::ALL.len()];
        for hook in Hook::ALL {
            let (interface, function) = hook.names();
            let name = format!("veilgate:policy/{interface}@{VERSION}");
            let Some(interface) = component.get_export_index(None, &name) else {
                continue;
            };
            let function = component.get_export_index(Some(&interface), function);
            found[hook as usize] = Some(function.ok_or(hook)?);
        }
        Ok(Self { found })
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.found[hook as usize].is_some()
    }
}

/// What a hook is given.
pub(crate) trait Given: ComponentNamedList + Lower + Params + 'static {}
impl<P: ComponentNamedList + Lower + Params + 'static> Given for P {}

/// What a hook answers.
pub(crate) trait Answered: ComponentNamedList + Lift + Answer + 'static {}
impl<R: ComponentNamedList + Lift + Answer + 'static> Answered for R {}

/// One hook of one instance, by the way in which its guest is called.
pub(crate) enum Function<P: Params, R: Answer> {
    Component(TypedFunc<P, R>),
    Direct(direct::Function<P, R>),
}

impl<P: Given, R: Answered> Function<P, R> {
    /// `read` takes the answer where it was lifted: what it makes of it is what is handed on.
    pub(crate) fn call<X>(
        &self,
        store: &mut Store<HostState>,
        given: impl Giving<P>,
        read: impl FnOnce(R) -> X,
    ) -> wasmtime::Result<X> {
        match self {
            Function::Component(function) => function.call(store, given.owned()).map(read),
            Function::Direct(function) => function.call(given.lower(store)?, store, read),
        }
    }

    /// Suspended where the guest waits; one that is called directly never does.
    pub(crate) async fn call_async<X>(
        &self,
        store: &mut Store<HostState>,
        given: impl Giving<P>,
        read: impl FnOnce(R) -> X,
    ) -> wasmtime::Result<X> {
        match self {
            Function::Component(function) => {
                function.call_async(store, given.owned()).await.map(read)
            }
            Function::Direct(function) => function.call(given.lower(store)?, store, read),
        }
    }
}

pub(crate) type Configure = Function<(String,), (Result<(), String>,)>;
pub(crate) type Decide = Function<(), (types::Decision,)>;
pub(crate) type Before = Function<(types::Attempt,), (attempt_hook::Choice,)>;
pub(crate) type After = Function<(types::Attempt, outcome_hook::Outcome), (outcome_hook::Verdict,)>;
pub(crate) type RequestBody = Function<(Vec<u8>,), ((types::Decision, Option<Vec<u8>>),)>;
pub(crate) type ResponseBody = Function<(Vec<u8>,), (Option<Vec<u8>>,)>;
pub(crate) type Chunk = Function<(Vec<u8>, bool), (types::ChunkAction,)>;
pub(crate) type Complete = Function<(complete_hook::Summary,), ()>;
pub(crate) type Tick = Function<(), ()>;

/// Which hook is to be called.
pub(crate) type Pick<P, R> = fn(&Hooks) -> &Option<Function<P, R>>;

/// The hooks of one instance.
pub(crate) struct Hooks {
    pub(crate) configure: Option<Configure>,
    pub(crate) request: Option<Decide>,
    pub(crate) request_body: Option<RequestBody>,
    pub(crate) request_chunk: Option<Chunk>,
    pub(crate) before: Option<Before>,
    pub(crate) after: Option<After>,
    pub(crate) response: Option<Decide>,
    pub(crate) response_body: Option<ResponseBody>,
    pub(crate) response_chunk: Option<Chunk>,
    pub(crate) complete: Option<Complete>,
    pub(crate) tick: Option<Tick>,
}

impl Hooks {
    /// Of a component. Fails where a function's type is not the contract's.
    pub(crate) fn of_component(
        exported: &Exported,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            configure: typed(exported, Hook::Configure, store, instance)?,
            request: typed(exported, Hook::Request, store, instance)?,
            request_body: typed(exported, Hook::RequestBody, store, instance)?,
            request_chunk: typed(exported, Hook::RequestStream, store, instance)?,
            before: typed(exported, Hook::Before, store, instance)?,
            after: typed(exported, Hook::After, store, instance)?,
            response: typed(exported, Hook::Response, store, instance)?,
            response_body: typed(exported, Hook::ResponseBody, store, instance)?,
            response_chunk: typed(exported, Hook::ResponseStream, store, instance)?,
            complete: typed(exported, Hook::Complete, store, instance)?,
            tick: typed(exported, Hook::Tick, store, instance)?,
        })
    }

    /// Of a guest that is called directly.
    pub(crate) fn of_direct(
        instance: &direct::Instance,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            configure: direct(instance, Hook::Configure, store)?,
            request: direct(instance, Hook::Request, store)?,
            request_body: direct(instance, Hook::RequestBody, store)?,
            request_chunk: direct(instance, Hook::RequestStream, store)?,
            before: direct(instance, Hook::Before, store)?,
            after: direct(instance, Hook::After, store)?,
            response: direct(instance, Hook::Response, store)?,
            response_body: direct(instance, Hook::ResponseBody, store)?,
            response_chunk: direct(instance, Hook::ResponseStream, store)?,
            complete: direct(instance, Hook::Complete, store)?,
            tick: direct(instance, Hook::Tick, store)?,
        })
    }
}

fn typed<P, R>(
    exported: &Exported,
    hook: Hook,
    store: &mut Store<HostState>,
    instance: &Instance,
) -> wasmtime::Result<Option<Function<P, R>>>
where
    P: Given,
    R: Answered,
{
    let function = exported.found[hook as usize]
        .map(|index| instance.get_typed_func(store, index))
        .transpose()?;
    Ok(function.map(Function::Component))
}

fn direct<P: Params, R: Answer>(
    instance: &direct::Instance,
    hook: Hook,
    store: &mut Store<HostState>,
) -> wasmtime::Result<Option<Function<P, R>>> {
    let function = instance.hook(hook, store)?;
    Ok(function.map(Function::Direct))
}

/// A hook that the caller knows to be exported, and is not: cannot be, and is answered as a fault all the same.
pub(crate) fn the<F>(hook: &Option<F>) -> wasmtime::Result<&F> {
    hook.as_ref()
        .ok_or_else(|| wasmtime::Error::msg("the hook is not exported"))
}
