//! Noise: every kind of round against its prediction, and the tails of 10^5 bootstraps against those of a Gaussian.
//!
//! What may fail once in 2^128 times cannot be seen. What can: that the standard deviation is the predicted one, and that
//! the tails fall as a Gaussian's do as far as so many samples reach. The margin to a failure is then that many deviations.

use std::sync::Arc;

use examples::client::Error;
use fhe::{Client, ClientKey, OsEntropy, ParamSet};
use kernels::probe::{Probe, deviation, probes};
use kernels::{Backend, CpuBackend, Engine};

use crate::Context;
use crate::report::Row;

/// Of each kind of round.
const SAMPLES: usize = 4_000;
/// Of the lookup of fresh inputs, whose tails are fitted.
const TAIL_SAMPLES: usize = 100_000;
const ROWS: usize = 8;
/// Standard deviations beyond which samples are counted, and what share of a Gaussian lies there (both sides).
const BEYOND: [(f64, f64); 3] = [(2.0, 4.550e-2), (3.0, 2.700e-3), (4.0, 6.334e-5)];

pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let of = |error: kernels::probe::ProbeError| Error::of(&error);
    let engine = Engine::new(CpuBackend::new(None).map_err(|e| Error::of(&e))?);
    let secret =
        ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).map_err(|e| Error::of(&e))?;
    let evaluation = secret
        .evaluation_key(&mut OsEntropy)
        .map_err(|e| Error::of(&e))?;
    let client = Client::new(secret, evaluation.id());
    let key = Arc::new(
        engine
            .backend()
            .expand(&evaluation)
            .map_err(|e| Error::of(&e))?,
    );
    let measure = |probe: &Probe, samples: usize| {
        let (mut errors, mut outputs) = (Vec::new(), Vec::new());
        while errors.len() < samples {
            let measured = probe
                .measure(&engine, &client, &key, ROWS, rand::random())
                .map_err(of)?;
            errors.extend(measured.errors);
            outputs.extend(measured.outputs);
        }
        Ok::<_, Error>((errors, outputs))
    };
    let mut rows = Vec::new();
    for probe in probes().map_err(|e| Error::of(&e))? {
        context.say(&format!("noise: {}", probe.name));
        let tails = probe.name == "lookup of fresh inputs";
        let samples = if tails { TAIL_SAMPLES } else { SAMPLES };
        let (errors, outputs) = measure(&probe, samples)?;
        rows.push(row(probe.name, "", &errors, probe.predicted));
        if let Some(predicted) = probe.predicted_output {
            rows.push(row(
                probe.name,
                ", what the bootstrap puts out",
                &outputs,
                predicted,
            ));
        }
        if tails {
            rows.extend(tail_rows("before the bootstrap", &errors));
            rows.extend(tail_rows("of the bootstrap's output", &outputs));
        }
    }
    Ok(rows)
}

fn row(name: &str, what: &str, errors: &[f64], predicted: f64) -> Row {
    let measured = deviation(errors);
    Row::new(
        "noise",
        format!("{name}{what}"),
        measured.log2(),
        "log2 of the torus",
    )
    .note(format!(
        "{:.4} of the predicted deviation, {} samples",
        measured / predicted,
        errors.len()
    ))
}

/// How many samples lie beyond so many deviations, against a Gaussian; and the fourth moment, which is 3 for one.
fn tail_rows(what: &str, errors: &[f64]) -> Vec<Row> {
    let deviation = deviation(errors);
    let count = errors.len() as f64;
    let fourth = errors.iter().map(|e| (e / deviation).powi(4)).sum::<f64>() / count;
    let most = errors.iter().fold(0.0f64, |most, e| most.max(e.abs())) / deviation;
    let mut rows = vec![
        Row::new(
            "noise",
            format!("{what}: kurtosis"),
            fourth,
            "(3 for a Gaussian)",
        )
        .note(format!(
            "the farthest of {count} is {most:.2} deviations out"
        )),
    ];
    rows.extend(BEYOND.map(|(sigmas, share)| {
        let found = errors
            .iter()
            .filter(|e| e.abs() > sigmas * deviation)
            .count();
        Row::new(
            "noise",
            format!("{what}: beyond {sigmas} deviations"),
            found as f64,
            "samples",
        )
        .note(format!("{:.1} of a Gaussian", share * count))
    }));
    rows
}
