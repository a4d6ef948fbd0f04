//! The callbacks of one instance: typed functions, looked up once. All are optional.

use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use super::state::VmState;

/// ABI 0.1.0 has no flag for the end of the stream.
pub(super) enum Headers {
    Two(TypedFunc<(u32, u32), u32>),
    Three(TypedFunc<(u32, u32, u32), u32>),
}

impl Headers {
    pub(super) fn call(
        &self,
        store: &mut Store<VmState>,
        context: u32,
        count: u32,
        end: bool,
    ) -> wasmtime::Result<u32> {
        match self {
            Headers::Two(function) => function.call(store, (context, count)),
            Headers::Three(function) => function.call(store, (context, count, end.into())),
        }
    }
}

/// Root context, token, and how much there is of fields, body and trailers.
pub(super) type CallResponse = TypedFunc<(u32, u32, u32, u32, u32), ()>;

pub(super) struct Callbacks {
    pub(super) context_create: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) vm_start: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) configure: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) tick: Option<TypedFunc<u32, ()>>,
    pub(super) queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) request_headers: Option<Headers>,
    pub(super) request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(super) response_headers: Option<Headers>,
    pub(super) response_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(super) request_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) response_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) http_call_response: Option<CallResponse>,
    pub(super) done: Option<TypedFunc<u32, u32>>,
    pub(super) log: Option<TypedFunc<u32, ()>>,
    pub(super) delete: Option<TypedFunc<u32, ()>>,
}

impl Callbacks {
    /// Fails where a function's type is not the ABI's.
    pub(super) fn of(store: &mut Store<VmState>, instance: &Instance) -> wasmtime::Result<Self> {
        let mut find = Find { store, instance };
        Ok(Self {
            context_create: find.function("proxy_on_context_create")?,
            vm_start: find.function("proxy_on_vm_start")?,
            configure: find.function("proxy_on_configure")?,
            tick: find.function("proxy_on_tick")?,
            queue_ready: find.function("proxy_on_queue_ready")?,
            request_headers: find.headers("proxy_on_request_headers")?,
            request_body: find.function("proxy_on_request_body")?,
            response_headers: find.headers("proxy_on_response_headers")?,
            response_body: find.function("proxy_on_response_body")?,
            request_trailers: find.function("proxy_on_request_trailers")?,
            response_trailers: find.function("proxy_on_response_trailers")?,
            http_call_response: find.function("proxy_on_http_call_response")?,
            done: find.function("proxy_on_done")?,
            log: find.function("proxy_on_log")?,
            delete: find.function("proxy_on_delete")?,
        })
    }
}

pub(super) struct Find<'a> {
    pub(super) store: &'a mut Store<VmState>,
    pub(super) instance: &'a Instance,
}

impl Find<'_> {
    pub(super) fn function<P, R>(&mut self, name: &str) -> wasmtime::Result<Option<TypedFunc<P, R>>>
    where
        P: WasmParams,
        R: WasmResults,
    {
        let found = self.instance.get_func(&mut *self.store, name);
        found
            .map(|function| {
                function
                    .typed(&*self.store)
                    .map_err(|error| error.context(format!("`{name}`")))
            })
            .transpose()
    }

    fn headers(&mut self, name: &str) -> wasmtime::Result<Option<Headers>> {
        if let Ok(found) = self.function(name) {
            return Ok(found.map(Headers::Three));
        }
        Ok(self.function(name)?.map(Headers::Two))
    }
}
