//! The policies that ship, as the components they are shipped as, in the real host: what a request meets in the gateway.

mod caching;
mod chain;
mod circuit_breaker;
mod rate_limit;
mod refusals;
mod routing;
mod standing;
mod support;
