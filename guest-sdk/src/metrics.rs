//! The policy's own metrics: define them in `Policy::configure`, keep the numbers, count in the hooks.

pub use crate::bindings::veilgate::policy::metrics::{Kind, add, define, observe, set};
