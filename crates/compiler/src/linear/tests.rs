use fhe::PublicProgram;
use fhe::program::Encode;
use models::{Body, Decide, Link, Output, SourceFormat};
use proptest::prelude::*;

use super::*;

fn model(weights: Vec<Vec<f64>>, bias: Vec<f64>) -> Model {
    let names = |letter: &str, count: usize| (0..count).map(|i| format!("{letter}{i}")).collect();
    let names_of_scores: Vec<String> = names("s", bias.len());
    Model {
        source: SourceFormat::Onnx,
        features: names("f", weights[0].len()),
        output: Output {
            decide: match bias.len() {
                1 => Decide::Threshold {
                    at: 0.0,
                    below: "no".into(),
                    above: "yes".into(),
                },
                _ => Decide::Greatest {
                    labels: names_of_scores.clone(),
                },
            },
            names: names_of_scores,
            link: Link::Identity,
        },
        body: Body::Linear(Linear { weights, bias }),
    }
}

fn laid(model: &Model, rows: &[Vec<f64>], input_bits: u32) -> Laid {
    let Body::Linear(linear) = &model.body else {
        panic!("not linear");
    };
    let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    let options = Options {
        input_bits,
        ..Options::new("test")
    };
    layout(model, linear, &rows, &options).unwrap()
}

/// What an encoded row stands for, in the order of the model's features: those left out are 0.
fn decoded(model: &Model, public: &PublicProgram, encoded: &[i64]) -> Vec<f64> {
    let mut row = vec![0.0; model.features.len()];
    for (input, &integer) in public.inputs.iter().zip(encoded) {
        let Encode::Scaled { offset, step, .. } = input.encode else {
            panic!("not scaled");
        };
        let name = &public.columns[input.column];
        let feature = model.features.iter().position(|f| f == name).unwrap();
        row[feature] = offset + step * integer as f64;
    }
    row
}

fn models_and_rows() -> impl Strategy<Value = (Model, Vec<Vec<f64>>, u32)> {
    (1usize..12, 1usize..4, 3u32..=12, -3i32..4).prop_flat_map(|(features, scores, bits, size)| {
        let number = move || (-1.0..1.0f64).prop_map(move |x| x * 10f64.powi(size));
        let row = || proptest::collection::vec(number(), features);
        (
            proptest::collection::vec(row(), scores),
            proptest::collection::vec(number(), scores),
            proptest::collection::vec(row(), 2..20),
            Just(bits),
        )
            .prop_map(|(weights, bias, rows, bits)| (model(weights, bias), rows, bits))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scores_are_within_the_reported_bounds((model, rows, bits) in models_and_rows()) {
        let laid = laid(&model, &rows, bits);
        let public = PublicProgram::from(&laid.program);
        for row in &rows {
            let encoded = public.encode(0, row).unwrap();
            let results = laid.program.evaluate_clear(&encoded).unwrap();
            let got = public.clear_scores(&results);
            let at_integers = model.scores(&decoded(&model, &public, &encoded));
            let expected = model.scores(row);
            let mut close_call = f64::INFINITY;
            for s in 0..got.len() {
                let rounding = 1e-9 * (1.0 + expected[s].abs());
                let weights = laid.weight_error[s] + rounding;
                prop_assert!((got[s].value - at_integers[s]).abs() <= weights);
                let all = weights + laid.input_error[s];
                prop_assert!((got[s].value - expected[s]).abs() <= all);
                close_call = close_call.min(match expected.len() {
                    1 => expected[0].abs() - all,
                    _ => f64::INFINITY,
                });
            }
            let worst = laid.weight_error.iter().zip(&laid.input_error).map(|(a, b)| a + b).fold(0.0, f64::max);
            let mut sorted = expected.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let far = match sorted[..] {
                [_] => close_call > 1e-6,
                _ => sorted[0] - sorted[1] > 2.0 * worst + 1e-6,
            };
            if far {
                prop_assert_eq!(model.label(&expected), public.label(&got));
            }
        }
    }
}

#[test]
fn columns_without_a_weight_are_not_asked_for() {
    let model = model(vec![vec![0.0, 2.0, 0.0]], vec![1.0]);
    let laid = laid(&model, &[vec![1.0, 2.0, 3.0], vec![0.0, 1.0, 5.0]], 10);
    assert_eq!(laid.program.file().columns, ["f1"]);
}

#[test]
fn a_large_constant_does_not_make_results_longer() {
    let rows = [vec![0.0], vec![1.0]];
    let small = laid(&model(vec![vec![1.0]], vec![0.0]), &rows, 10);
    let large = laid(&model(vec![vec![1.0]], vec![1e6]), &rows, 10);
    assert!(large.program.file().result.bits <= small.program.file().result.bits);
    let public = PublicProgram::from(&large.program);
    let results = large
        .program
        .evaluate_clear(&public.encode(0, &[1.0]).unwrap());
    let score = public.clear_scores(&results.unwrap())[0].value;
    assert!((score - 1_000_001.0).abs() < 0.01, "{score}");
}

#[test]
fn a_model_that_looks_at_nothing_still_gives_its_constant() {
    let model = model(vec![vec![0.0, 0.0]], vec![-3.5]);
    let Body::Linear(linear) = &model.body else {
        panic!("not linear");
    };
    let row = [1.0, 2.0];
    let error = layout(&model, linear, &[&row], &Options::new("test"));
    // No term at all: fhe refuses a program without one.
    assert!(error.is_err());
}

#[test]
fn flooding_hides_what_the_weights_shape() {
    for features in [1, 30, 500] {
        let weights = (0..features).map(|i| 1.0 + i as f64 / 100.0).collect();
        let rows = [vec![0.0; features], vec![1.0; features]];
        let laid = laid(&model(vec![weights], vec![0.0]), &rows, 10);
        assert!(laid.program.noise().flooding_bits.unwrap() >= FLOODING_BITS_MIN);
        assert!(laid.program.noise().row.unwrap() <= -128.0);
    }
}
