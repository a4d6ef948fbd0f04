//! What a policy that may wait can do: ask another service, or leave a record for the centre.

pub use crate::bindings::veilgate::policy::http_call::{Call, Pending, Reply, notify, send, start};
pub use crate::bindings::veilgate::policy::outbox::append;
