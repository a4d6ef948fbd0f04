//! The `cuda` backend: what host code knows of the kernels in kernels/cuda, the device that launches them, and the driver.
//!
//! The device reaches a GPU only through a [`runtime::Runtime`]: the driver's, or the emulation on the CPU that tests run it on,
//! kernels and all.

mod args;
mod constants;
mod device;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(test)]
mod emulation;
mod lane;
#[cfg(feature = "cuda")]
mod open;
mod plan;
mod runtime;
#[cfg(feature = "cuda")]
pub mod source;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub use open::{Rotations, found, open, open_with};
