//! What the gateway knows of its upstreams. Granted by name.

pub use crate::bindings::veilgate::policy::types::Error;
pub use crate::bindings::veilgate::policy::upstreams::{
    Endpoint, Stats, eject, endpoints, names, stats_of,
};
