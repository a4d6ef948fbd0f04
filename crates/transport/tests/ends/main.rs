//! The two ends of every transport, against each other over loopback.

mod common;
mod h3;
mod trust;
