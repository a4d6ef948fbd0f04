//! NVIDIA's GPUs.

pub mod source;
