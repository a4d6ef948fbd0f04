//! Lays a trained model out as a program: rounds of integer sums and lookups, with as few bootstraps as it can find.
//!
//! Everything here is pure: a model and calibration rows in, a program and a report out. The program's own checks
//! (intervals, noise) run last, so nothing that is unsound can leave here.

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
mod simulate;

pub use agreement::{Agreement, agreement};
pub use error::CompileError;
pub use options::{Calibration, Compiled, Options, Output};

use mlp::Network;
use models::{Body, Model};

/// Fewer rows say little of what a column or a unit can be.
const ROWS_WANTED: usize = 200;

/// Compiles a model. `calibration` says what rows look like: ranges of columns, and what quantisation costs.
pub fn compile(
    model: &Model,
    calibration: &Calibration,
    options: &Options,
) -> Result<Compiled, CompileError> {
    calibration.check(model)?;
    let (program, mut notes) = match &model.body {
        Body::Linear(linear) => affine(model, Network::of_linear(linear), calibration, options)?,
        Body::Mlp(mlp) => affine(model, Network::new(mlp), calibration, options)?,
        Body::Trees(_) => {
            return Err(CompileError::Unsupported {
                what: "a model of trees".into(),
                instead: "this build lays out linear models and networks".into(),
            });
        }
    };
    if calibration.rows.len() < ROWS_WANTED {
        notes.push(format!(
            "only {} calibration rows: ranges and figures are guesses; give {ROWS_WANTED} or more that are like those to be asked",
            calibration.rows.len()
        ));
    }
    notes.extend(agreement(model, &program, &calibration.rows).notes());
    Ok(Compiled { program, notes })
}

/// Linear models and networks.
fn affine(
    model: &Model,
    network: Network,
    calibration: &Calibration,
    options: &Options,
) -> Result<(fhe::Program, Vec<String>), CompileError> {
    let rows = calibration.complete()?;
    if network.hidden.is_empty() && options.output == Output::Scores {
        let laid = linear::layout(model, &network.head, &rows, options)?;
        let notes = linear::notes(&laid);
        return Ok((laid.program, notes));
    }
    let found = network::layout(model, network, &rows, options)?;
    Ok((found.program, found.notes))
}
