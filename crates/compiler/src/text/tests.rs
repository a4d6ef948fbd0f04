//! Models of texts made here: what comes out of their programs is what comes out of them.

use fhe::PublicProgram;
use models::{Link as ModelLink, Output as ModelOutput, SourceFormat};
use proptest::prelude::*;

use super::*;

fn model(scores: usize, buckets: usize) -> Model {
    let weight =
        |score: usize, bucket: usize| ((bucket * 37 + score * 11) % 201) as f64 / 100.0 - 1.0;
    let decide = match scores {
        1 => models::Decide::Threshold {
            at: 0.0,
            below: "fine".into(),
            above: "bad".into(),
        },
        _ => models::Decide::Greatest {
            labels: (0..scores).map(|s| format!("label {s}")).collect(),
        },
    };
    Model {
        source: SourceFormat::Onnx,
        features: (0..buckets).map(|bucket| format!("f{bucket}")).collect(),
        body: Body::Linear(Linear {
            weights: (0..scores)
                .map(|s| (0..buckets).map(|b| weight(s, b)).collect())
                .collect(),
            bias: (0..scores).map(|s| 0.3 - s as f64 * 0.1).collect(),
        }),
        output: ModelOutput {
            names: (0..scores).map(|s| format!("score {s}")).collect(),
            link: ModelLink::Identity,
            decide,
        },
    }
}

fn texts() -> Vec<String> {
    let text = |at: usize| {
        (0..at % 40 + 1)
            .map(|word| format!("word{} ", (word * 13 + 7 * at) % 300))
            .collect()
    };
    (0..200).map(text).collect()
}

fn how(norm: Norm) -> TextOptions {
    TextOptions {
        column: "text".into(),
        norm,
        most: None,
    }
}

fn check(scores: usize, buckets: usize, norm: Norm) {
    let model = model(scores, buckets);
    let texts = texts();
    let compiled = text(&model, &texts, &how(norm), &Options::new("toy")).unwrap();
    let program = &compiled.program;
    let public = PublicProgram::from(program);
    assert!(program.noise().flooding_bits.unwrap() >= FLOODING_BITS_MIN);
    assert!(
        program
            .noise()
            .score_error
            .iter()
            .all(|error| *error == 0.0)
    );
    let encoder = program.file().text.as_ref().unwrap();
    let mut same = 0;
    for text in &texts {
        let encoded = public.encode_text(0, text).unwrap();
        let got = public.clear_scores(&program.evaluate_clear(&encoded).unwrap());
        let wanted = model.scores(&encoder.features(text).unwrap());
        for (got, wanted) in got.iter().zip(&wanted) {
            assert!(
                (got.value - wanted).abs() < 0.2 + wanted.abs() * 0.06,
                "{} for {wanted}: {text:?}",
                got.value
            );
        }
        same += usize::from(public.label(&got) == model.label(&wanted));
    }
    assert!(
        same * 100 >= texts.len() * 98,
        "{same} of {} labels",
        texts.len()
    );
}

#[test]
fn a_model_with_one_score_keeps_its_answers() {
    check(1, 2048, Norm::None);
    check(1, 2048, Norm::L2);
}

#[test]
fn a_model_with_several_scores_keeps_its_answers() {
    check(4, 512, Norm::None);
    check(4, 512, Norm::L2);
}

#[test]
fn what_cannot_be_compiled_says_what_to_do() {
    let options = Options::new("toy");
    let refused = |model: &Model, texts: &[String], options: &Options| {
        text(model, texts, &how(Norm::None), options)
            .unwrap_err()
            .to_string()
    };
    let fine = texts();
    assert!(refused(&model(1, 64), &[], &options).contains("no text"));
    assert!(refused(&model(1, 4096), &fine, &options).contains("n_features=2048"));
    let labels = Options {
        output: Output::Labels,
        ..options.clone()
    };
    assert!(refused(&model(1, 64), &fine, &labels).contains("ask for scores"));
    let long = vec!["fine".to_owned(), "ab ".repeat(5000)];
    assert!(refused(&model(1, 64), &long, &options).contains("row 2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_weights_make_a_sound_program_or_an_error(
        weights in proptest::collection::vec(-1e3f64..1e3, 32), most in 1i64..100_000, l2 in any::<bool>(),
    ) {
        let mut model = model(1, 32);
        model.body = Body::Linear(Linear { weights: vec![weights], bias: vec![1.0] });
        let how = TextOptions { most: Some(most), ..how(if l2 { Norm::L2 } else { Norm::None }) };
        if let Ok(compiled) = text(&model, &texts()[..20], &how, &Options::new("toy")) {
            prop_assert!(is_flooded(&compiled.program));
        }
    }
}
