//! The host's side of the contract: one file per interface. Each translates, delegates, and maps the answer; no decision is made here.

pub(crate) mod breakers;
mod cache;
mod clock;
pub(crate) mod convert;
pub(crate) mod fields;
pub(crate) mod http_call;
pub(crate) mod kv;
pub(crate) mod limits;
mod llm;
pub(crate) mod log;
pub(crate) mod metrics;
mod outbox;
mod random;
mod request;
mod response;
mod scope;
pub(crate) mod shared_limits;
mod upstreams;
pub(crate) mod wasi;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::veilgate::policy;
use crate::spec::Grant;
use crate::state::HostState;

/// What every policy may import.
pub(crate) fn link_basics(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    policy::types::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::request::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::response::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::log::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::clock::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::random::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::metrics::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    policy::scope::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

pub(crate) fn link_grant(linker: &mut Linker<HostState>, grant: Grant) -> wasmtime::Result<()> {
    match grant {
        Grant::Limits => {
            policy::limits::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
        }
        Grant::Breakers => {
            policy::breakers::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
        }
        Grant::Cache => {
            policy::cache::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
        }
        Grant::Kv => policy::kv::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state),
        Grant::Upstreams => {
            policy::upstreams::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
        }
        Grant::HttpCall => {
            policy::http_call::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
        }
        Grant::Outbox => {
            policy::outbox::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
        }
        Grant::Llm => policy::llm::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state),
    }
}

impl policy::types::Host for HostState {}
