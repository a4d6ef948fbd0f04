//! Programs that give a probability in 16 steps and no score: a last lookup holds the logistic function. A client that asks
//! often then learns far less of the weights than scores would tell it.

use models::{Decide, Link, Model};

use crate::CompileError;

/// From 0 to 1 in fifteenths: of a score of 0, where the label changes, neither 7 nor 8 of them.
pub(crate) const STEPS: f64 = 15.0;
/// 0 to 15, and a sign.
pub(crate) const STEP_BITS: u32 = 5;

/// Where such a probability decides: of a score above 0.
pub(crate) const DECIDES_AT: f64 = 0.5;

/// Refuses models that give no one probability.
pub(crate) fn check(model: &Model) -> Result<(), CompileError> {
    let unsupported = |what: &str| {
        Err(CompileError::Unsupported {
            what: what.into(),
            instead: "compile it for its scores or its label (--output scores, --output labels)"
                .into(),
        })
    };
    if model.output.link != Link::Logistic || model.output.names.len() != 1 {
        return unsupported(
            "a probability of a model that is not logistic, or has several scores,",
        );
    }
    match model.output.decide {
        Decide::Threshold { at, .. } if at != 0.0 => {
            unsupported("a probability whose label changes elsewhere than at one half")
        }
        _ => Ok(()),
    }
}

/// The fifteenths of a score's probability.
pub(crate) fn steps(score: f64) -> f64 {
    (STEPS / (1.0 + (-score).exp())).round()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_the_threshold_have_steps_of_their_own() {
        let scores = [-40.0, -0.1, -1e-9, 1e-9, 0.1, 40.0];
        assert_eq!(scores.map(steps), [0.0, 7.0, 7.0, 8.0, 8.0, 15.0]);
        let decided = scores.map(|score| steps(score) / STEPS > DECIDES_AT);
        assert_eq!(decided, scores.map(|score| score > 0.0));
    }
}
