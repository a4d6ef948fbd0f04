//! A real gateway in this process, in front of a real origin, asked by real clients over the loopback interface.

#[path = "gateway/bodied.rs"]
mod bodied;
#[path = "gateway/bodies.rs"]
mod bodies;
#[path = "gateway/calls.rs"]
mod calls;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/drain.rs"]
mod drain;
#[path = "gateway/endings.rs"]
mod endings;
#[path = "gateway/failures.rs"]
mod failures;
#[path = "gateway/filters.rs"]
mod filters;
#[path = "gateway/guests.rs"]
mod guests;
#[path = "gateway/languages.rs"]
mod languages;
#[path = "gateway/origin.rs"]
mod origin;
#[path = "gateway/policies.rs"]
mod policies;
#[path = "gateway/protocols.rs"]
mod protocols;
#[path = "gateway/records.rs"]
mod records;
#[path = "gateway/refusals.rs"]
mod refusals;
#[path = "gateway/server.rs"]
mod server;
#[path = "gateway/shared_limits.rs"]
mod shared_limits;
#[path = "gateway/site.rs"]
mod site;
#[path = "gateway/state.rs"]
mod state;
#[path = "gateway/swaps.rs"]
mod swaps;
#[path = "gateway/tiers.rs"]
mod tiers;
