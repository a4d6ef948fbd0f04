//! A real NVIDIA GPU, where there is one: random programs of several clients against the reference, and the noise of every kind of
//! round against its prediction.

use std::sync::{Arc, Mutex, MutexGuard};

use fhe::{Client, ClientKey, OsEntropy, ParamSet};
use kernels::conformance::Cases;
use kernels::cuda::{Rotations, open_with};
use kernels::probe::{deviation, probes};
use kernels::rns::RnsBackend;
use kernels::survey::{Budget, survey};
use kernels::{Accelerated, Backend, CpuBackend, Engine, Gpus};

/// Tests take turns: each takes most of a card's memory. `None`: there is no GPU, which was said.
fn machine(rotations: Rotations) -> Option<(Engine<Accelerated>, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let opened = open_with(Budget::default(), rotations);
    assert!(opened.failed.is_empty(), "{:?}", opened.failed);
    if opened.devices.is_empty() {
        let reasons: Vec<_> = survey()
            .into_iter()
            .filter_map(|found| found.unusable)
            .collect();
        eprintln!(
            "not tried, for want of a GPU of NVIDIA: {}",
            reasons.join("; ")
        );
        return None;
    }
    let gpus = Gpus::new(opened.devices, |failed| panic!("{failed:?}"));
    let backend = Accelerated::new(CpuBackend::new(None).unwrap(), Some(gpus));
    println!("{}", backend.name());
    Some((Engine::new(backend), turn))
}

#[test]
fn random_programs_are_computed_exactly_to_the_bit() {
    let Some((engine, _turn)) = machine(Rotations::Exact) else {
        return;
    };
    for seed in 100..104 {
        let cases = Cases::random(seed, 12).unwrap();
        let reference = RnsBackend::new(CpuBackend::new(None).unwrap());
        assert_eq!(
            cases.run_on(&engine).unwrap(),
            cases.run(reference).unwrap()
        );
    }
}

#[test]
fn random_programs_are_computed_by_the_fastest_way() {
    let Some((engine, _turn)) = machine(Rotations::Fastest) else {
        return;
    };
    for seed in 200..210 {
        Cases::random(seed, 40).unwrap().run_on(&engine).unwrap();
    }
}

#[test]
fn noise_is_what_is_predicted() {
    for rotations in [Rotations::Fastest, Rotations::Exact] {
        let Some((engine, _turn)) = machine(rotations) else {
            return;
        };
        let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).unwrap();
        let evaluation = secret.evaluation_key(&mut OsEntropy).unwrap();
        let key = Arc::new(engine.backend().expand(&evaluation).unwrap());
        let client = Client::new(secret, evaluation.id());
        for probe in probes().unwrap() {
            let rows = 4096 / probe.samples_per_row();
            let measured = probe
                .measure(&engine, &client, &key, rows, [5; 32])
                .unwrap();
            // 4096 samples tell a deviation to about a hundredth.
            let off = deviation(&measured.errors) / probe.predicted;
            println!(
                "{rotations:?}, {}: {off:.3} of what is predicted",
                probe.name
            );
            assert!((0.9..1.1).contains(&off), "{}: {off}", probe.name);
            if let Some(predicted) = probe.predicted_output {
                let off = deviation(&measured.outputs) / predicted;
                println!("{rotations:?}, {}, output: {off:.3}", probe.name);
                assert!(off < 1.1, "{}: {off}", probe.name);
            }
        }
    }
}
