//! What the stories and the benchmarks share: a client that speaks all three versions of HTTP through one interface, the rows
//! of the example models, and the means to start processes.

pub mod client;
pub mod ports;
pub mod processes;
pub mod rows;
