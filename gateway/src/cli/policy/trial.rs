//! A policy on written exchanges, without a gateway: what `policy test` and `policy bench` have in common.
//!
//! `file` reads a test file, `bed` loads its policy, `trip` sends one exchange through it.

mod bed;
mod file;
mod log;
mod meter;
mod metrics;
mod raw;
mod services;
mod step;
mod stubs;
mod trip;
mod values;

pub(super) use bed::{Bed, BedError};
pub(super) use file::{TestFile, load};
pub(super) use log::Line;
pub(super) use meter::{Meter, Samples};
pub(super) use services::{CallRule, Done};
pub(super) use step::{CacheExpectation, Expectation, Step};
pub(super) use trip::{Seen, run};
pub(super) use values::{BodyExpectation, FieldExpectation, FieldExpectations};
