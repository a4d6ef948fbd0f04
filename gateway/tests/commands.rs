//! The program as people use it: real `veilgate` processes, what they print, how they exit, and that a gateway goes on serving
//! whatever it was given.

#[cfg(feature = "fhe")]
#[path = "commands/bench.rs"]
mod bench;
#[path = "commands/centre.rs"]
mod centre;
#[path = "commands/check.rs"]
mod check;
#[path = "gateway/client.rs"]
#[allow(
    dead_code,
    reason = "shared with the in-process tests, which use more of it"
)]
mod client;
#[cfg(feature = "fhe")]
#[path = "commands/counters.rs"]
mod counters;
#[cfg(feature = "fhe")]
#[path = "commands/devices.rs"]
mod devices;
#[path = "commands/disk.rs"]
mod disk;
#[path = "gateway/guests.rs"]
mod guests;
#[cfg(feature = "fhe")]
#[path = "commands/installed.rs"]
mod installed;
#[cfg(feature = "fhe")]
#[path = "commands/jobs.rs"]
mod jobs;
#[cfg(feature = "fhe")]
#[path = "commands/keys.rs"]
mod keys;
#[path = "commands/limits_store.rs"]
mod limits_store;
#[cfg(feature = "fhe")]
#[path = "commands/models.rs"]
mod models;
#[path = "gateway/origin.rs"]
#[allow(
    dead_code,
    reason = "shared with the in-process tests, which use more of it"
)]
mod origin;
#[path = "commands/policies.rs"]
mod policies;
#[path = "commands/policy_services.rs"]
mod policy_services;
#[path = "commands/policy_tools.rs"]
mod policy_tools;
#[cfg(feature = "fhe")]
#[path = "commands/scoring.rs"]
mod scoring;
#[path = "commands/site.rs"]
mod site;
#[path = "commands/start.rs"]
mod start;
