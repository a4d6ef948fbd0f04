//! The host's functions as core functions: what the component model would do between them and a guest, and nothing more. One line
//! a function; that the lines are the contract's is held against the WIT by a test.

use wasmtime::{Caller, Linker};

use super::abi::{Flat, Load, Narrow, Save, given, lent};
use super::guest::{Reader, aligned, memory, write};
use super::types::shares;
use crate::bindings::veilgate::policy::breakers::{self, HostBreaker};
use crate::bindings::veilgate::policy::kv::HostStore;
use crate::bindings::veilgate::policy::limits::{self, HostGate, HostLimiter};
use crate::bindings::veilgate::policy::{
    cache, clock, llm, log, metrics, random, request, response, scope, upstreams,
};
use crate::state::HostState;

/// How a parameter arrives: as which core values, and how they become the host's. `{}`: all are taken; what is left is the answer.
macro_rules! function {
    // [given so far] [as the host takes them] what is still to come -> answer
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] text $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* at: u32, length: u32,] [$($value,)* $reader.text(at, length)?,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] text_in_place $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* at: u32, length: u32,] [$($value,)* $reader.text_in_place(at, length)?,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] shares_in_place $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* at: u32, length: u32,] [$($value,)* &shares(&mut $reader, at, length)?,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] list $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* at: u32, length: u32,] [$($value,)* Load::load_list(&mut $reader, at, length)?,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] word $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* word: u32,] [$($value,)* Narrow::narrow(word)?,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] unsigned $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* long: u64,] [$($value,)* long,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] signed $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* long: i64,] [$($value,)* long,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] double $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* double: f64,] [$($value,)* double,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] maybe_unsigned $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* case: u32, long: u64,] [$($value,)* optional(case, long)?,] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] handle $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* handle: u32,] [$($value,)* lent(handle),] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] gift $($rest:tt)*) => {
        function!($link $at $name $host; $reader [$($core: $of,)* handle: u32,] [$($value,)* given(handle),] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] rate $($rest:tt)*) => {
        function!($link $at $name $host; $reader
            [$($core: $of,)* algorithm: u32, limit: u64, per: u64, burst: u64,]
            [$($value,)* limits::Spec { algorithm: Narrow::narrow(algorithm)?, limit, per, burst },] $($rest)*)
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] circuit $($rest:tt)*) => {
        function!($link $at $name $host; $reader
            [$($core: $of,)* window: u64, min_calls: u32, failure_rate: f32, slow_call: u64, slow_rate: f32, open_for: u64, probes: u32,]
            [$($value,)* breakers::Spec { window, min_calls, failure_rate, slow_call, slow_rate, open_for, probes },] $($rest)*)
    };
    // The answer goes where the guest says.
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] -> memory) => {
        $link.func_wrap($at, $name, |mut caller: Caller<'_, HostState>, $($core: $of,)* answer_at: u32| -> wasmtime::Result<()> {
            let (memory, state) = views(&mut caller)?;
            #[allow(unused_mut, unused_variables, reason = "not every function has parameters to read")]
            let mut $reader = Reader::new(memory, state.host_call_bytes());
            let answer = $host(state, $($value),*)?;
            deliver(&mut caller, answer, answer_at)
        })?
    };
    // It is a text that the host only lends.
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] -> text) => {
        $link.func_wrap($at, $name, |mut caller: Caller<'_, HostState>, $($core: $of,)* answer_at: u32| -> wasmtime::Result<()> {
            let (memory, state) = views(&mut caller)?;
            #[allow(unused_mut, unused_variables, reason = "not every function has parameters to read")]
            let mut $reader = Reader::new(memory, state.host_call_bytes());
            let mut kept = std::mem::take(&mut state.answer);
            keep(&mut kept, Some($host(state, $($value),*)));
            deliver(&mut caller, kept.as_str(), answer_at)?;
            caller.data_mut().keep_room(kept);
            Ok(())
        })?
    };
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] -> maybe_text) => {
        $link.func_wrap($at, $name, |mut caller: Caller<'_, HostState>, $($core: $of,)* answer_at: u32| -> wasmtime::Result<()> {
            let (memory, state) = views(&mut caller)?;
            #[allow(unused_mut, unused_variables, reason = "not every function has parameters to read")]
            let mut $reader = Reader::new(memory, state.host_call_bytes());
            let mut kept = std::mem::take(&mut state.answer);
            let found = keep(&mut kept, $host(state, $($value),*));
            deliver(&mut caller, found.then_some(kept.as_str()), answer_at)?;
            caller.data_mut().keep_room(kept);
            Ok(())
        })?
    };
    // It is one core value, or none.
    ($link:ident $at:ident $name:literal $host:path; $reader:ident [$($core:ident: $of:ty,)*] [$($value:expr,)*] -> value) => {
        $link.func_wrap($at, $name, |mut caller: Caller<'_, HostState>, $($core: $of,)*| {
            let (memory, state) = views(&mut caller)?;
            #[allow(unused_mut, unused_variables, reason = "not every function has parameters to read")]
            let mut $reader = Reader::new(memory, state.host_call_bytes());
            $host(state, $($value),*).map(Flat::flat)
        })?
    };
}

macro_rules! functions {
    ($link:ident $version:ident $interface:literal { $($name:literal => $host:path: ($($kind:ident)*) -> $answer:ident;)* }) => {{
        let at = format!("veilgate:policy/{}@{}", $interface, $version);
        let at = at.as_str();
        $(function!($link at $name $host; reader [] [] $($kind)* -> $answer);)*
    }};
}

fn views<'c>(
    caller: &'c mut Caller<'_, HostState>,
) -> wasmtime::Result<(&'c [u8], &'c mut HostState)> {
    match memory(caller.data())? {
        Some(memory) => {
            let (bytes, state) = memory.data_and_store_mut(caller);
            Ok((bytes, state))
        }
        None => Ok((&[], caller.data_mut())),
    }
}

fn deliver<T: Save>(
    caller: &mut Caller<'_, HostState>,
    answer: T,
    at: u32,
) -> wasmtime::Result<()> {
    aligned(at, T::PLACE)?;
    write(caller, |guest| guest.value(answer, at))
}

/// Whether there is one.
fn keep(kept: &mut String, text: Option<impl AsRef<str>>) -> bool {
    kept.clear();
    kept.push_str(text.as_ref().map_or("", AsRef::as_ref));
    text.is_some()
}

fn optional(case: u32, value: u64) -> wasmtime::Result<Option<u64>> {
    match case {
        0 => Ok(None),
        1 => Ok(Some(value)),
        _ => Err(super::abi::unknown_case()),
    }
}

/// Everything that a policy which never waits can import; what was granted is checked before anything is linked.
pub(super) fn link(linker: &mut Linker<HostState>, version: &str) -> wasmtime::Result<()> {
    basics(linker, version)?;
    granted(linker, version)
}

fn basics(linker: &mut Linker<HostState>, version: &str) -> wasmtime::Result<()> {
    functions!(linker version "request" {
        "header" => HostState::request_header: (text_in_place) -> maybe_text;
        "header-all" => request::Host::header_all: (text) -> memory;
        "header-bytes" => request::Host::header_bytes: (text) -> memory;
        "headers" => request::Host::headers: () -> memory;
        "set-header" => request::Host::set_header: (text text) -> value;
        "append-header" => request::Host::append_header: (text text) -> value;
        "remove-header" => request::Host::remove_header: (text) -> value;
        "method" => HostState::request_method: () -> text;
        "path" => HostState::request_path: () -> text;
        "query" => HostState::request_query: (text_in_place) -> maybe_text;
        "authority" => HostState::request_authority: () -> text;
        "set-path" => request::Host::set_path: (text) -> value;
        "set-authority" => request::Host::set_authority: (text) -> value;
        "client-ip" => request::Host::client_ip: () -> memory;
        "identity-of" => request::Host::identity_of: () -> memory;
        "info" => request::Host::info: () -> memory;
        "get-attr" => HostState::request_attr: (text_in_place) -> maybe_text;
        "set-attr" => request::Host::set_attr: (text text) -> value;
    });
    functions!(linker version "response" {
        "source-of" => response::Host::source_of: () -> value;
        "status" => response::Host::status: () -> value;
        "set-status" => response::Host::set_status: (word) -> value;
        "header" => HostState::response_header: (text_in_place) -> maybe_text;
        "header-all" => response::Host::header_all: (text) -> memory;
        "header-bytes" => response::Host::header_bytes: (text) -> memory;
        "headers" => response::Host::headers: () -> memory;
        "set-header" => response::Host::set_header: (text text) -> value;
        "append-header" => response::Host::append_header: (text text) -> value;
        "remove-header" => response::Host::remove_header: (text) -> value;
    });
    functions!(linker version "log" {
        "enabled" => log::Host::enabled: (word) -> value;
        "write" => log::Host::write: (word text) -> value;
    });
    functions!(linker version "clock" {
        "now-ms" => clock::Host::now_ms: () -> value;
        "monotonic-ns" => clock::Host::monotonic_ns: () -> value;
    });
    functions!(linker version "random" {
        "bytes" => random::Host::bytes: (word) -> memory;
        "number" => random::Host::number: () -> value;
    });
    functions!(linker version "metrics" {
        "define" => metrics::Host::define: (word text text list) -> memory;
        "add" => metrics::Host::add: (word unsigned list) -> value;
        "set" => metrics::Host::set: (word double list) -> value;
        "observe" => metrics::Host::observe: (word double list) -> value;
    });
    functions!(linker version "scope" {
        "only" => scope::Host::only: (list) -> value;
    });
    Ok(())
}

fn granted(linker: &mut Linker<HostState>, version: &str) -> wasmtime::Result<()> {
    functions!(linker version "limits" {
        "[static]limiter.define" => HostLimiter::define: (text rate) -> memory;
        "[method]limiter.take" => HostState::take_by: (handle text_in_place unsigned) -> memory;
        "[method]limiter.peek" => HostLimiter::peek: (handle text) -> memory;
        "[method]limiter.settle" => HostLimiter::settle: (handle text signed) -> value;
        "[resource-drop]limiter" => HostLimiter::drop: (gift) -> value;
        "take-all" => HostState::take_all_of: (shares_in_place) -> memory;
        "take-each" => HostState::take_each_of: (shares_in_place) -> memory;
        "stand" => limits::Host::stand: (list) -> value;
        "[static]gate.define" => HostGate::define: (text word) -> memory;
        "[method]gate.enter" => HostGate::enter: (handle text) -> value;
        "[method]gate.in-flight" => HostGate::in_flight: (handle text) -> value;
        "[resource-drop]gate" => HostGate::drop: (gift) -> value;
    });
    functions!(linker version "breakers" {
        "[static]breaker.define" => HostBreaker::define: (text circuit) -> memory;
        "[method]breaker.admit" => HostState::admit_by: (handle text_in_place) -> memory;
        "[method]breaker.count-as" => HostBreaker::count_as: (handle text word) -> value;
        "[method]breaker.count" => HostBreaker::count: (handle list list) -> value;
        "[method]breaker.guard" => HostBreaker::guard: (handle list list word) -> value;
        "[method]breaker.state" => HostBreaker::state: (handle text) -> value;
        "[method]breaker.force" => HostBreaker::force: (handle text word unsigned) -> value;
        "[resource-drop]breaker" => HostBreaker::drop: (gift) -> value;
    });
    functions!(linker version "kv" {
        "[static]store.open" => HostStore::open: (text) -> memory;
        "[method]store.get" => HostStore::get: (handle text) -> memory;
        "[method]store.set" => HostStore::set: (handle text list maybe_unsigned) -> memory;
        "[method]store.cas" => HostStore::cas: (handle text unsigned list maybe_unsigned) -> memory;
        "[method]store.delete" => HostStore::delete: (handle text) -> value;
        "[method]store.incr" => HostStore::incr: (handle text signed maybe_unsigned) -> memory;
        "[resource-drop]store" => HostStore::drop: (gift) -> value;
    });
    functions!(linker version "cache" {
        "key-add" => cache::Host::key_add: (text) -> value;
        "key-body" => cache::Host::key_body: () -> value;
        "key-text" => cache::Host::key_text: (list) -> value;
        "bypass" => cache::Host::bypass: () -> value;
        "store" => cache::Host::store: (unsigned unsigned unsigned) -> value;
        "no-store" => cache::Host::no_store: () -> value;
        "store-only" => cache::Host::store_only: (list) -> value;
        "stale-if-error" => cache::Host::stale_if_error: (unsigned) -> value;
        "tag" => cache::Host::tag: (list) -> value;
        "purge-tag" => cache::Host::purge_tag: (text) -> value;
    });
    functions!(linker version "upstreams" {
        "names" => upstreams::Host::names: () -> memory;
        "endpoints" => upstreams::Host::endpoints: (text) -> memory;
        "stats-of" => upstreams::Host::stats_of: (text) -> memory;
        "eject" => upstreams::Host::eject: (text word unsigned) -> memory;
    });
    functions!(linker version "llm" {
        "model" => llm::Host::model: () -> memory;
        "set-model" => llm::Host::set_model: (text) -> value;
        "usage-of" => llm::Host::usage_of: () -> memory;
    });
    Ok(())
}
