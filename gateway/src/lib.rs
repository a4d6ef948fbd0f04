//! The gateway: the path of a request, and the parts that stand around it.
//!
//! ```text
//! client ⇄ listener ⇄ pipeline: normalize → match → policies(request) → dispatch → policies(response) → respond → record
//!                                                        │                 │                                   │
//!                                                   policy-host            ├ cache     (http-cache)            └ outbox ⇢ sync
//!                                                                          ├ upstream  (pool, balance)
//!                                                                          └ fhe       (batcher → kernels)
//! ```
//!
//! | Module | Its one job |
//! |---|---|
//! | [`pipeline`] | `serve()`: every stage in order. Read this first. |
//! | [`listener`] | bytes in → request; response → bytes out; limits of a connection |
//! | [`exchange`], [`body`], [`error`] | what travels: the exchange, its bodies, its errors |
//! | [`config`] | TOML → checked types |
//! | [`app`], [`drain`] | the parts built and joined · a graceful stop, in order |
//! | [`upstream`] | endpoints, pools, balance, health |
//! | `limits_store` | limits shared with other gateways, in a Redis |
//! | [`cache`] | the store around RFC 9111 decisions |
//! | `fhe` | encrypted scoring in front of the kernels (feature `fhe`) |
//! | [`telemetry`] | metrics and the access log |
//! | [`admin`] | health, readiness, metrics, status on a listener of its own |
//! | [`cli`] | arguments → exit code |

pub mod admin;
pub mod app;
pub mod body;
pub mod cache;
mod calls;
pub mod cli;
pub mod config;
pub mod drain;
pub mod error;
pub mod exchange;
#[cfg(feature = "fhe")]
pub mod fhe;
mod limits_store;
pub mod listener;
pub mod pipeline;
pub mod policies;
pub mod records;
pub mod reload;
pub mod telemetry;
pub mod ticks;
pub mod upstream;
