//! Models of weighted sums: linear ones as exact sums where that is enough, everything else as a network.

use models::Model;

use crate::mlp::Network;
use crate::{Calibration, CompileError, Compiled, Options, Output, agreement, linear, network};

/// Fewer rows say little of what a column or a unit can be.
const ROWS_WANTED: usize = 200;

pub(crate) fn compile(
    model: &Model,
    network: Network,
    calibration: &Calibration,
    options: &Options,
) -> Result<Compiled, CompileError> {
    let rows = calibration.complete()?;
    let (program, mut notes) = match network.hidden.is_empty() && options.output == Output::Scores {
        true => {
            let laid = linear::layout(model, &network.head, &rows, options)?;
            let notes = linear::notes(&laid);
            (laid.program, notes)
        }
        false => {
            let found = network::layout(model, network, &rows, options)?;
            (found.program, found.notes)
        }
    };
    if rows.len() < ROWS_WANTED {
        notes.push(format!(
            "only {} calibration rows: ranges and figures are guesses; give {ROWS_WANTED} or more that are like those to be asked",
            rows.len()
        ));
    }
    notes.extend(agreement(model, &program, &calibration.rows).notes());
    Ok(Compiled { program, notes })
}
