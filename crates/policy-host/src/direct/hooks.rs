//! A guest's hooks as core functions: their parameters lowered, their answers lifted, and what the answer took up given back.

use wasmtime::{AsContextMut, Store, TypedFunc, WasmParams, WasmResults};

use super::abi::{Load, Narrow};
use super::guest::{Reader, Writer, aligned, memory, no_memory, write};
use crate::bindings::exports::veilgate::policy::{attempt_hook, complete_hook, outcome_hook};
use crate::bindings::veilgate::policy::types;
use crate::state::HostState;

/// The parameters of a hook.
pub(crate) trait Params {
    type Core: WasmParams;
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core>;
}

/// The answer of a hook.
pub(crate) trait Answer: Sized {
    type Core: WasmResults + Copy;
    fn lift(core: Self::Core, store: &mut Store<HostState>) -> wasmtime::Result<Self>;
    /// What the guest's clean-up function takes. None: there is nothing to clean up.
    fn left(core: Self::Core) -> Option<u32>;
}

/// One hook of one instance.
pub(crate) struct Function<P: Params, R: Answer> {
    pub(super) hook: TypedFunc<P::Core, R::Core>,
    pub(super) clean_up: Option<TypedFunc<u32, ()>>,
}

impl<P: Params, R: Answer> Function<P, R> {
    pub(crate) fn call(&self, store: &mut Store<HostState>, params: P) -> wasmtime::Result<R> {
        let params = params.lower(store)?;
        let core = self.hook.call(&mut *store, params)?;
        let answer = R::lift(core, store)?;
        if let (Some(clean_up), Some(left)) = (&self.clean_up, R::left(core)) {
            let guest = store.data_mut().guest.take();
            clean_up.call(&mut *store, left)?;
            store.data_mut().guest = guest;
        }
        Ok(answer)
    }
}

impl Params for () {
    type Core = ();
    fn lower(self, _: &mut Store<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl Params for (String,) {
    type Core = (u32, u32);
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        write(store, |guest| guest.bytes(self.0.as_bytes()))
    }
}

impl Params for (Vec<u8>,) {
    type Core = (u32, u32);
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        write(store, |guest| guest.bytes(&self.0))
    }
}

impl Params for (Vec<u8>, bool) {
    type Core = (u32, u32, u32);
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        let (at, length) = write(store, |guest| guest.bytes(&self.0))?;
        Ok((at, length, self.1.into()))
    }
}

fn optional(value: Option<u32>) -> (u32, u32) {
    value.map_or((0, 0), |value| (1, value))
}

fn optional_long(value: Option<u64>) -> (u32, u64) {
    value.map_or((0, 0), |value| (1, value))
}

fn optional_text(
    guest: &mut Writer<'_>,
    value: Option<&String>,
) -> wasmtime::Result<(u32, u32, u32)> {
    let Some(value) = value else {
        return Ok((0, 0, 0));
    };
    let (at, length) = guest.bytes(value.as_bytes())?;
    Ok((1, at, length))
}

impl Params for (types::Attempt,) {
    type Core = (u32, u32, u32, u32, u32);
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        let (attempt,) = self;
        let (at, length) = write(store, |guest| guest.bytes(attempt.upstream.as_bytes()))?;
        let (case, endpoint) = optional(attempt.endpoint);
        Ok((attempt.number, at, length, case, endpoint))
    }
}

impl Params for (types::Attempt, outcome_hook::Outcome) {
    type Core = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u64);
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        let (attempt, outcome) = self;
        let attempt = (attempt,).lower(store)?;
        let (case, status) = optional(outcome.status.map(u32::from));
        let error = write(store, |guest| optional_text(guest, outcome.error.as_ref()))?;
        Ok((
            attempt.0,
            attempt.1,
            attempt.2,
            attempt.3,
            attempt.4,
            case,
            status,
            error.0,
            error.1,
            error.2,
            outcome.latency_us,
        ))
    }
}

impl Params for (complete_hook::Summary,) {
    type Core = (
        u32,
        u64,
        u32,
        u64,
        u32,
        u32,
        u32,
        u32,
        u64,
        u64,
        u32,
        u32,
        u32,
    );
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        let (summary,) = self;
        let (upstream, cache_status) = write(store, |guest| {
            let upstream = optional_text(guest, summary.upstream.as_ref())?;
            Ok((upstream, guest.bytes(summary.cache_status.as_bytes())?))
        })?;
        let (case, upstream_us) = optional_long(summary.upstream_us);
        Ok((
            summary.status.into(),
            summary.duration_us,
            case,
            upstream_us,
            upstream.0,
            upstream.1,
            upstream.2,
            summary.attempts,
            summary.request_bytes,
            summary.response_bytes,
            cache_status.0,
            cache_status.1,
            summary.client_aborted.into(),
        ))
    }
}

impl Answer for () {
    type Core = ();
    fn lift((): (), _: &mut Store<HostState>) -> wasmtime::Result<Self> {
        Ok(())
    }
    fn left((): ()) -> Option<u32> {
        None
    }
}

impl Answer for (outcome_hook::Verdict,) {
    type Core = u32;
    fn lift(core: u32, _: &mut Store<HostState>) -> wasmtime::Result<Self> {
        outcome_hook::Verdict::narrow(core).map(|verdict| (verdict,))
    }
    fn left(_: u32) -> Option<u32> {
        None
    }
}

/// Answers that lie in the guest's memory, where the hook says.
macro_rules! in_memory {
    ($($answer:ty),* $(,)?) => {$(
        impl Answer for ($answer,) {
            type Core = u32;
            fn lift(at: u32, store: &mut Store<HostState>) -> wasmtime::Result<Self> {
                aligned(at, <$answer as Load>::PLACE)?;
                let memory = memory(store.data())?.ok_or_else(no_memory)?;
                let (bytes, state) = memory.data_and_store_mut(store.as_context_mut());
                let mut guest = Reader::new(bytes, state.host_call_bytes());
                <$answer as Load>::load(&mut guest, at).map(|answer| (answer,))
            }
            fn left(at: u32) -> Option<u32> {
                Some(at)
            }
        }
    )*};
}

in_memory!(
    Result<(), String>,
    types::Decision,
    (types::Decision, Option<Vec<u8>>),
    attempt_hook::Choice,
    Option<Vec<u8>>,
    types::ChunkAction,
);
