//! The `cuda` backend: what host code knows of the kernels in kernels/cuda, the device that launches them, and the driver.
//!
//! The device ([`device`]) reaches a GPU only through a [`runtime::Runtime`]: the driver's, or the emulation on the CPU that
//! tests run it on, kernels and all.

mod args;
mod constants;
mod device;
#[cfg(test)]
mod emulation;
mod lane;
mod plan;
mod runtime;
mod source;
#[cfg(test)]
mod tests;
