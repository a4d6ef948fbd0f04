//! What the stories and the benchmarks share: a client that speaks all three versions of HTTP through one interface.

pub mod client;
