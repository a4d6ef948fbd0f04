//! The `wgpu` backend: one GPU by Metal on macOS and by Vulkan elsewhere, all in integers, to the bit what [`crate::rns`] computes.
//!
//! - **Device code** is in kernels/wgsl, one source for both. It needs 64-bit integers: a device without them is refused.
//! - **Memory** is allocated when the device is opened, and a key's when the first key comes to its place: see `memory::Plan`.
//! - **Long work** goes in parts, so that no desktop's watchdog ends it: see `pace::Pace`.
//! - **Faults** come as errors: out of memory, lost, refused, and work that a driver ended. A device that is lost once stays so.

mod adapter;
mod call;
mod fault;
mod gpu;
mod keys;
mod linear;
mod lookup;
mod memory;
mod order;
mod pace;
mod pipelines;
mod receipt;
mod survey;
#[cfg(test)]
mod tests;

pub use adapter::{Found, OpenError, Options, Which};
pub use call::WgpuDevice;
pub use survey::{open_all, survey};
