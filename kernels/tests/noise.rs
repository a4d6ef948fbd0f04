//! Measured noise against predicted, for every kind of round that a program can have. The tails are in `veilgate-bench noise`.

use std::sync::Arc;

use fhe::{Client, ClientKey, OsEntropy, ParamSet};
use kernels::probe::{deviation, probes};
use kernels::{Backend, CpuBackend, Engine};

/// A standard deviation of so many samples is within 4 % of the real one but for once in thousands of times.
const SAMPLES: usize = 4000;

#[test]
fn every_kind_of_round_has_the_noise_that_is_predicted() {
    let engine = Engine::new(CpuBackend::new(None).unwrap());
    let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).unwrap();
    let evaluation = secret.evaluation_key(&mut OsEntropy).unwrap();
    let client = Client::new(secret, evaluation.id());
    let key = Arc::new(engine.backend().expand(&evaluation).unwrap());
    let mut put_out = (Vec::new(), 0.0);
    for probe in probes().unwrap() {
        let rows = SAMPLES.div_ceil(probe.samples_per_row()).min(100);
        let mut errors = Vec::new();
        while errors.len() < SAMPLES {
            let seed = [errors.len() as u8; 32];
            let measured = probe.measure(&engine, &client, &key, rows, seed).unwrap();
            errors.extend(measured.errors);
            put_out.0.extend(measured.outputs);
        }
        check(probe.name, &errors, probe.predicted);
        put_out.1 = probe.predicted_output.unwrap_or(put_out.1);
    }
    // The same of every bootstrap, whatever it read.
    check("what a bootstrap puts out", &put_out.0, put_out.1);
}

fn check(name: &str, errors: &[f64], predicted: f64) {
    let ratio = deviation(errors) / predicted;
    println!(
        "{name}: 2^{:.3} predicted, {ratio:.4} of it measured",
        predicted.log2()
    );
    assert!((0.9..1.1).contains(&ratio), "{name}: {ratio}");
}
