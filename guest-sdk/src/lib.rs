//! Write a Veilgate policy in Rust: a type that implements [`Policy`], and one line, [`export_policy!`].
//!
//! ```
//! use guest_sdk::{ConfigError, Decision, LocalResponse, Policy, Request};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings { header: String }
//!
//! struct Require(Settings);
//!
//! impl Policy for Require {
//!     type Config = Settings;
//!     fn configure(settings: Settings) -> Result<Self, ConfigError> { Ok(Self(settings)) }
//!     fn on_request(&self, request: &mut Request) -> Decision {
//!         if request.header(&self.0.header).is_some() { return Decision::next(); }
//!         Decision::respond(LocalResponse::new(401)).reason("require/missing")
//!     }
//! }
//! guest_sdk::export_policy!(Require, "request-policy");
//! ```
//!
//! What holds everywhere: a policy keeps nothing between hooks but its configuration (`&self` says so); what an exchange must
//! remember goes into its attributes, what outlives it into the host's limiters, breakers and stores. Nothing here imports WASI.

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: alloc::Lists = alloc::Lists::new();

#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
#[allow(unsafe_code, reason = "an allocator is what hands out memory")]
mod alloc;
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod export;

pub mod attempt;
pub mod breakers;
pub mod cache;
pub mod calls;
pub mod config;
mod decision;
pub mod json;
pub mod kv;
pub mod limits;
pub mod llm;
pub mod log;
pub mod matching;
pub mod metrics;
mod policy;
mod problem;
mod request;
mod response;
pub mod scope;
pub mod settings;
mod status;
pub mod testing;
pub mod upstreams;

pub use bindings::exports::veilgate::policy::complete_hook::Summary;
pub use config::{ConfigError, Period};
pub use decision::{BodyDecision, BodyNeed, ChunkAction, Decision, LocalResponse, RouteChoice};
pub use policy::Policy;
pub use problem::Problem;
pub use request::{Identity, Request, RequestInfo, RequestView};
pub use response::{Response, Source};
pub use status::StatusSet;

/// The host's clock and randomness. A guest has no other.
pub mod host {
    pub use crate::bindings::veilgate::policy::clock::{monotonic_ns, now_ms};
    pub use crate::bindings::veilgate::policy::random::{bytes as random_bytes, number as random};
}
