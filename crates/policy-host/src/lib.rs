//! Runs policies: Wasm components on the contract in `guest-sdk/wit`, sandboxed, on the caller's thread. Most run on warm instances
//! and never wait; one that may wait runs on a bounded pool of instances of its own, and is suspended meanwhile.
//!
//! `PolicyHost` loads; `Chain` calls; `ExchangeContext` is what the guests see and change; `Primitives` is the state they share.
//! Invariants: a guest cannot stop, starve or corrupt the gateway; what it does wrong is a counted `FaultKind`, and the operator said
//! what happens then (`OnFault`). What it holds (permits, places in gates) is given back by the host. No thread is ever held up by a
//! guest that waits.

mod apart;
mod artifacts;
mod attrs;
mod bindings;
mod bodies;
mod bulk;
mod canary;
mod chain;
mod clock;
mod compile;
mod decision;
mod direct;
mod engine;
mod error;
mod exchange;
mod health;
mod hooks;
mod host;
mod inspect;
mod instance;
mod light;
mod limit_store;
pub mod llm;
mod maker;
mod module;
mod native;
mod permits;
mod pin;
mod policy;
mod pool;
mod precompiled;
mod primitives;
mod proxy_wasm;
mod query;
mod services;
mod set_fields;
mod spec;
mod standing;
mod state;
mod tick;
mod ticker;
mod tier;
mod upstream;
mod waiting;
mod waits;
mod workshop;

pub use artifacts::{ArtifactDir, ArtifactsError};
pub use attrs::Attrs;
pub use bodies::BodyNeed;
pub use canary::{Canary, Expected};
pub use chain::{Chain, at_once};
pub use clock::{Clock, ManualClock, SystemClock};
pub use decision::{
    Attempt, AttemptChoice, AttemptOutcome, Cause, Completed, LocalResponse, Outcome, Passed,
    Reason, RouteChoice, Unavailable, Verdict,
};
pub use engine::PolicyHost;
pub use error::{Fault, FaultKind, HostError, LoadError};
pub use exchange::{
    BodyKey, CacheDirectives, Exchange, ExchangeContext, Identity, RequestInfo, RequestParts,
    ResponseParts, Source, StoreDirective,
};
pub use health::FaultRule;
pub use inspect::{Compiled, Inspection, ModuleKind};
pub use limit_store::{
    LimitAnswer, LimitEntry, LimitState, LimitStep, LimitStore, MAX_CORRECTION, MAX_COUNT,
    MAX_SPAN_US, Micros, SharedLimits, WithoutStore,
};
pub use native::{Native, NativeBreaker, NativeLimiter};
pub use pin::{Pin, PinError};
pub use policy::{Policy, PolicyStats};
pub use primitives::{
    Algorithm, BreakerSnapshot, CircuitState, DefineError, KeySnapshot, PrimitiveCaps, Primitives,
    RateSpec, RateVerdict, RawCircuitSpec, SpecError, StoreSize,
};
pub use services::{
    CacheControl, Later, OutboundCall, OutboundCalls, OutboundReply, PolicyRecord, PolicyRecords,
    ServiceError, Services,
};
pub use set_fields::SetFields;
pub use spec::{
    DEFAULT_BODY_BYTES, Grant, HostConfig, InstanceChoice, Limits, MAX_BODY_BYTES, OnFault,
    PolicySpec, UnknownGrant,
};
pub use tier::{Effort, Tier};
pub use upstream::{EndpointView, UpstreamError, UpstreamStats, UpstreamView};
pub use workshop::{CompilerProgram, compile_here};
