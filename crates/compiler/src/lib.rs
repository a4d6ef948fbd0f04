//! Lays a trained model out as a program: rounds of integer sums and lookups, with as few bootstraps as it can find.
//!
//! Everything here is pure: a model and calibration rows in, a program and a report out. The program's own checks
//! (intervals, noise) run last, so nothing that is unsound can leave here.

mod error;
mod options;
mod trees;

pub use error::CompileError;
pub use options::{Calibration, Compiled, Options, Output};

use models::{Body, Model};

/// Compiles a model. `calibration` says what rows look like: ranges of columns, and what quantisation costs.
pub fn compile(
    model: &Model,
    calibration: &Calibration,
    options: &Options,
) -> Result<Compiled, CompileError> {
    calibration.check(model)?;
    match &model.body {
        Body::Trees(trees) => trees::compile(model, trees, calibration, options),
        Body::Linear(_) | Body::Mlp(_) => Err(CompileError::Unsupported {
            what: "this kind of model".into(),
            instead: options.name.clone(),
        }),
    }
}
