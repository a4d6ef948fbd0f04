//! Lays a trained model out as a program: rounds of integer sums and lookups, with as few bootstraps as it can find.
//!
//! Everything here is pure: a model and calibration rows in, a program and a report out. The program's own checks
//! (intervals, noise) run last, so nothing that is unsound can leave here.

mod affine;
mod agreement;
mod error;
mod finish;
mod inputs;
mod labels;
mod layers;
mod linear;
mod mlp;
mod network;
mod options;
mod probability;
mod simulate;
mod text;
mod trees;

pub use agreement::{Agreement, agreement};
pub use error::CompileError;
pub use options::{Calibration, Compiled, Options, Output};
pub use text::{TextOptions, text};

use mlp::Network;
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
        Body::Linear(linear) => {
            affine::compile(model, Network::of_linear(linear), calibration, options)
        }
        Body::Mlp(mlp) => affine::compile(model, Network::new(mlp), calibration, options),
    }
}
