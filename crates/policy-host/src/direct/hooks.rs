//! A guest's hooks as core functions: their parameters lowered, their answers lifted, and what the answer took up given back.

use wasmtime::{AsContextMut, Store, TypedFunc, WasmParams, WasmResults};

use super::abi::Narrow;
use super::guest::{Reader, Writer, memory, no_memory, write};
use crate::bindings::exports::veilgate::policy::{attempt_hook, complete_hook, outcome_hook};
use crate::bindings::veilgate::policy::types;
use crate::decision::AttemptOutcome;
use crate::state::HostState;

/// The parameters of a hook.
pub(crate) trait Params {
    type Core: WasmParams;
}

/// The parameters of a hook as its caller has them. What is only lent reaches a guest that is called directly without a copy on the
/// way.
pub(crate) trait Giving<P: Params> {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<P::Core>;
    /// For a guest that is called as a component.
    fn owned(self) -> P;
}

/// Parameters that their caller gives away.
pub(crate) trait GivenAway: Params + Sized {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core>;
}

impl<P: GivenAway> Giving<P> for P {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<P::Core> {
        GivenAway::lower(self, store)
    }

    fn owned(self) -> P {
        self
    }
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
    pub(crate) fn call<X>(
        &self,
        params: P::Core,
        store: &mut Store<HostState>,
        read: impl FnOnce(R) -> X,
    ) -> wasmtime::Result<X> {
        let core = self.hook.call(&mut *store, params)?;
        let answer = read(R::lift(core, store)?);
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
}

impl GivenAway for () {
    fn lower(self, _: &mut Store<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl Params for (String,) {
    type Core = (u32, u32);
}

impl GivenAway for (String,) {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        write(store, |guest| guest.bytes(self.0.as_bytes()))
    }
}

impl Params for (Vec<u8>,) {
    type Core = (u32, u32);
}

impl GivenAway for (Vec<u8>,) {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<Self::Core> {
        write(store, |guest| guest.bytes(&self.0))
    }
}

impl Params for (Vec<u8>, bool) {
    type Core = (u32, u32, u32);
}

impl GivenAway for (Vec<u8>, bool) {
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

type AttemptCore = (u32, u32, u32, u32, u32);

impl Params for (types::Attempt,) {
    type Core = AttemptCore;
}

impl Params for (types::Attempt, outcome_hook::Outcome) {
    type Core = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u64);
}

/// An attempt, lent.
pub(crate) struct LentAttempt<'a> {
    pub(crate) number: u32,
    pub(crate) upstream: &'a str,
    pub(crate) endpoint: Option<u32>,
}

impl LentAttempt<'_> {
    fn core(&self, guest: &mut Writer<'_>) -> wasmtime::Result<AttemptCore> {
        let (at, length) = guest.bytes(self.upstream.as_bytes())?;
        let (case, endpoint) = optional(self.endpoint);
        Ok((self.number, at, length, case, endpoint))
    }

    fn to_owned(&self) -> types::Attempt {
        types::Attempt {
            number: self.number,
            upstream: self.upstream.to_owned(),
            endpoint: self.endpoint,
        }
    }
}

impl Giving<(types::Attempt,)> for LentAttempt<'_> {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<AttemptCore> {
        write(store, |guest| self.core(guest))
    }

    fn owned(self) -> (types::Attempt,) {
        (self.to_owned(),)
    }
}

type Ended = (types::Attempt, outcome_hook::Outcome);

impl Giving<Ended> for (LentAttempt<'_>, &AttemptOutcome) {
    fn lower(self, store: &mut Store<HostState>) -> wasmtime::Result<<Ended as Params>::Core> {
        let (attempt, outcome) = self;
        let (attempt, error) = write(store, |guest| {
            let attempt = attempt.core(guest)?;
            Ok((attempt, optional_text(guest, outcome.error.as_ref())?))
        })?;
        let (case, status) = optional(outcome.status.map(u32::from));
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

    fn owned(self) -> Ended {
        let (attempt, outcome) = self;
        let outcome = outcome_hook::Outcome {
            status: outcome.status,
            error: outcome.error.clone(),
            latency_us: outcome.latency_us,
        };
        (attempt.to_owned(), outcome)
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
}

impl GivenAway for (complete_hook::Summary,) {
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
                let memory = memory(store.data())?.ok_or_else(no_memory)?;
                let (bytes, state) = memory.data_and_store_mut(store.as_context_mut());
                let mut guest = Reader::new(bytes, state.host_call_bytes());
                guest.value(at).map(|answer| (answer,))
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
