//! Linear models and networks of every library, compiled: what comes out is close to what went in, and sound whatever it is asked.

use std::fs;
use std::path::{Path, PathBuf};

use compiler::{Calibration, Compiled, Options, Output, agreement, compile};
use fhe::program::{Encode, Precision};
use fhe::{Program, PublicProgram};
use models::{Activation, Body, Decide, Layer, Link, Mlp, Model, Output as Scores, SourceFormat};
use proptest::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/data")
}

#[derive(Debug)]
struct Fixture {
    name: String,
    model: Model,
    rows: Vec<Vec<f64>>,
}

/// Every fixture whose body is linear or a network.
fn fixtures() -> Vec<Fixture> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "onnx"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| Fixture {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        model: models::read(&path).unwrap(),
        rows: rows(&path),
    };
    let layered = |fixture: &Fixture| !matches!(fixture.model.body, Body::Trees(_));
    paths.into_iter().map(read).filter(layered).collect()
}

fn rows(model: &Path) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(model.with_extension("csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let inputs = head.iter().take_while(|name| name.starts_with('x')).count();
    let number = |cell: &&str| cell.parse().unwrap_or(f64::NAN);
    lines
        .map(|cells| cells[..inputs].iter().map(number).collect())
        .collect()
}

fn compiled(fixture: &Fixture, options: &Options) -> Compiled {
    let calibration = Calibration {
        rows: fixture.rows.clone(),
    };
    compile(&fixture.model, &calibration, options)
        .unwrap_or_else(|error| panic!("{}: {error}", fixture.name))
}

/// Whatever a client sends within the inputs' ranges, each sum stays where its lookup can read it.
fn stays_inside(program: &Program, name: &str) {
    let ranges: Vec<(i64, i64)> = program
        .file()
        .inputs
        .iter()
        .map(|input| match input.encode {
            Encode::Above(_) => (0, 1),
            Encode::Scaled { min, max, .. } => (min, max),
        })
        .collect();
    let mut asked: Vec<Vec<i64>> = vec![
        ranges.iter().map(|range| range.0).collect(),
        ranges.iter().map(|range| range.1).collect(),
    ];
    // The greatest and the least that each sum of the first round can be.
    for sum in &program.rounds()[0].sums {
        for sign in [1, -1] {
            let mut row: Vec<i64> = ranges.iter().map(|range| range.0).collect();
            for &(input, weight) in &sum.terms {
                let range = ranges[input as usize];
                row[input as usize] = if weight * sign > 0 { range.1 } else { range.0 };
            }
            asked.push(row);
        }
    }
    for row in asked {
        assert!(program.evaluate_clear(&row).is_some(), "{name}: {row:?}");
    }
    for (index, round) in program.rounds().iter().enumerate() {
        let Some(lookup) = &round.lookup else {
            continue;
        };
        let size = 1i64 << lookup.bits;
        for &(low, high) in program.sum_intervals(index) {
            assert!(lookup.entry_at(low) >= 0 && lookup.entry_at(high) < size);
        }
        assert!(program.noise().rounds[index].log2_p_fail <= -128.0);
    }
}

#[test]
fn every_linear_model_and_network_keeps_its_answers() {
    let mut kinds = (0, 0);
    for fixture in fixtures() {
        let started = std::time::Instant::now();
        let Compiled { program, notes } = compiled(&fixture, &Options::new("fixture"));
        let got = agreement(&fixture.model, &program, &fixture.rows);
        println!(
            "{}: {} columns, {} lookups, changed {:?} {:?} of {}, largest {:.2e}, relative {:.2e}, result {} bits, input {} bits, {:?}",
            fixture.name,
            program.input_count(),
            program.bootstraps_per_row(),
            got.labels_changed,
            got.labels_changed_by_noise,
            got.rows,
            got.largest_score_error,
            got.relative_error,
            program.file().result.bits,
            program.file().input_bits,
            started.elapsed(),
        );
        for note in &notes {
            println!("    {note}");
        }
        assert_eq!(got.rows, fixture.rows.len(), "{}", fixture.name);
        let linear = matches!(fixture.model.body, Body::Linear(_));
        kinds = (
            kinds.0 + usize::from(linear),
            kinds.1 + usize::from(!linear),
        );
        assert_eq!(program.is_linear(), linear, "{}", fixture.name);
        if linear {
            assert_eq!(got.labels_changed.unwrap_or(0), 0, "{}", fixture.name);
            assert_eq!(program.file().result.precision, Precision::Exact);
            assert!(got.relative_error < 0.005, "{}: {got:?}", fixture.name);
        } else {
            let changed = got.labels_changed_by_noise.unwrap_or(0.0);
            assert!(changed <= 0.02, "{}: {got:?}", fixture.name);
            assert!(got.relative_error < 0.1, "{}: {got:?}", fixture.name);
        }
        stays_inside(&program, &fixture.name);
    }
    assert!(kinds.0 >= 9 && kinds.1 >= 6, "{kinds:?}");
}

#[test]
fn a_program_for_labels_gives_a_label_and_nothing_else() {
    for fixture in fixtures() {
        let options = Options {
            output: Output::Labels,
            ..Options::new("labels")
        };
        let calibration = Calibration {
            rows: fixture.rows.clone(),
        };
        let program = match compile(&fixture.model, &calibration, &options) {
            Ok(Compiled { program, notes }) => {
                println!("{}: {notes:#?}", fixture.name);
                program
            }
            Err(error) => {
                let none = fixture.model.output.decide == Decide::None;
                assert!(none, "{}: {error}", fixture.name);
                assert!(error.to_string().contains("--output scores"), "{error}");
                continue;
            }
        };
        assert_eq!(program.file().result.scores.len(), 1);
        let public = PublicProgram::from(&program);
        let integers = program.evaluate_clear(&vec![0; program.input_count()]);
        let score = public.clear_scores(&integers.unwrap())[0].integer;
        assert!(score >= 0.0 && score.fract() == 0.0, "{score}");
        let got = agreement(&fixture.model, &program, &fixture.rows);
        println!("{}: {got:?}", fixture.name);
        let changed = got.labels_changed.unwrap() as f64 / got.rows as f64;
        assert!(changed <= 0.05, "{}: {got:?}", fixture.name);
        stays_inside(&program, &fixture.name);
    }
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Relu),
        Just(Activation::Clip {
            min: -0.5,
            max: 1.0
        }),
        Just(Activation::Sigmoid),
        Just(Activation::Tanh),
    ]
}

fn layer(inputs: usize, units: usize) -> impl Strategy<Value = Layer> {
    let weights = proptest::collection::vec(-1.0..1.0f64, inputs);
    (
        proptest::collection::vec(weights, units),
        proptest::collection::vec(-0.5..0.5f64, units),
        activation(),
    )
        .prop_map(|(weights, bias, activation)| Layer {
            weights,
            bias,
            activation,
        })
}

/// A network of up to three layers behind each other, and rows to calibrate it with.
fn network() -> impl Strategy<Value = Fixture> {
    proptest::collection::vec(1usize..7, 2..=4).prop_flat_map(|sizes| {
        let layers: Vec<_> = sizes.windows(2).map(|two| layer(two[0], two[1])).collect();
        let rows =
            proptest::collection::vec(proptest::collection::vec(-3.0..3.0f64, sizes[0]), 200);
        (layers, rows).prop_map(|(layers, rows)| Fixture {
            name: "random".into(),
            model: Model {
                source: SourceFormat::Onnx,
                features: (0..rows[0].len()).map(|i| format!("f{i}")).collect(),
                output: Scores {
                    names: (0..layers.last().unwrap().bias.len())
                        .map(|i| format!("s{i}"))
                        .collect(),
                    link: Link::Identity,
                    decide: Decide::None,
                },
                body: Body::Mlp(Mlp { layers }),
            },
            rows,
        })
    })
}

/// Logistic regression, and rows from a seed.
fn logistic(weights: &[f64], at: f64, seed: u64) -> Fixture {
    let features = weights.len();
    let number = |i: usize, j: usize| {
        let mixed = (seed ^ (i * 31 + j * 17) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let row = |i| (0..features).map(|j| number(i, j)).collect();
    Fixture {
        name: "logistic".into(),
        model: Model {
            source: SourceFormat::Onnx,
            features: (0..features).map(|i| format!("f{i}")).collect(),
            output: Scores {
                names: vec!["s".into()],
                link: Link::Logistic,
                decide: Decide::Threshold {
                    at,
                    below: "no".into(),
                    above: "yes".into(),
                },
            },
            body: Body::Linear(models::Linear {
                weights: vec![weights.to_vec()],
                bias: vec![0.0],
            }),
        },
        rows: (0..60).map(row).collect(),
    }
}

/// Whether a value is one of the few least or greatest of its column.
fn is_outer(rows: &[Vec<f64>], column: usize, value: f64) -> bool {
    let below = rows.iter().filter(|row| row[column] < value).count();
    let above = rows.iter().filter(|row| row[column] > value).count();
    below.min(above) < 4
}

/// What a program gives a row in the clear, of which it may take some columns only.
fn clear(public: &PublicProgram, program: &Program, row: &[f64]) -> Vec<fhe::Score> {
    let place = |column: &String| column[1..].parse::<usize>().unwrap();
    let columns = public.columns.iter().map(place);
    let row: Vec<f64> = columns.map(|place| row[place]).collect();
    let encoded = public.encode(0, &row).unwrap();
    public.clear_scores(&program.evaluate_clear(&encoded).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_network_becomes_a_sound_program((fixture, ask) in (network(), any::<u64>())) {
        // Noise is measured against how far scores move: a network that hardly does is none.
        let scores: Vec<Vec<f64>> = fixture.rows.iter().map(|row| fixture.model.scores(row)).collect();
        let moves = |s: usize| {
            let mean = scores.iter().map(|row| row[s]).sum::<f64>() / scores.len() as f64;
            let variance = scores.iter().map(|row| (row[s] - mean).powi(2)).sum::<f64>();
            (variance / scores.len() as f64).sqrt() > 0.2
        };
        prop_assume!((0..scores[0].len()).all(moves));
        let options = Options { input_bits: 6 + (ask % 7) as u32, ..Options::new("random") };
        let Compiled { program, .. } = compiled(&fixture, &options);
        stays_inside(&program, &fixture.name);
        let got = agreement(&fixture.model, &program, &fixture.rows);
        prop_assert!(got.relative_error < 0.25, "{:?}", got);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A threshold by lookup is where it belongs, but for the width of an entry's rounding.
    #[test]
    fn a_threshold_by_lookup_is_in_its_place(
        weights in proptest::collection::vec(-1.0..1.0f64, 1..8),
        at in -1.0..1.0f64,
        seed in any::<u64>(),
    ) {
        prop_assume!(weights.iter().any(|w| w.abs() > 0.1));
        let fixture = logistic(&weights, at, seed);
        let options = Options { output: Output::Labels, ..Options::new("threshold") };
        let Compiled { program, .. } = compiled(&fixture, &options);
        prop_assert_eq!(program.bootstraps_per_row(), 1);
        stays_inside(&program, &fixture.name);
        let public = PublicProgram::from(&program);
        let reach: f64 = weights.iter().map(|w| w.abs()).sum();
        for row in &fixture.rows {
            let scores = fixture.model.scores(row);
            if (scores[0] - at).abs() < reach * 0.005 {
                continue;
            }
            prop_assert_eq!(public.label(&clear(&public, &program, row)), fixture.model.label(&scores));
        }
    }

    /// Of a probability, the nearest fifteenth, but for the width of an entry; and it decides like the score.
    #[test]
    fn a_probability_by_lookup_is_the_nearest_step(
        weights in proptest::collection::vec(-4.0..4.0f64, 1..8),
        seed in any::<u64>(),
    ) {
        prop_assume!(weights.iter().any(|w| w.abs() > 0.1));
        let fixture = logistic(&weights, 0.0, seed);
        let options = Options { output: Output::Probability, ..Options::new("probability") };
        let Compiled { program, .. } = compiled(&fixture, &options);
        prop_assert_eq!(program.bootstraps_per_row(), 1);
        stays_inside(&program, &fixture.name);
        let public = PublicProgram::from(&program);
        let reach: f64 = weights.iter().map(|w| w.abs()).sum();
        for row in &fixture.rows {
            let scores = fixture.model.scores(row);
            let got = clear(&public, &program, row);
            let probability = fixture.model.linked(&scores)[0];
            prop_assert_eq!(public.predictions(&got)[0], got[0].value);
            // The logistic function rises by a quarter at most. Outer rows may be held at the edge of a range.
            let off = (got[0].value - probability).abs();
            let is_held = (0..weights.len()).any(|at| is_outer(&fixture.rows, at, row[at]));
            prop_assert!(is_held || off <= 0.5 / 15.0 + reach * 0.006 / 4.0, "{} {}", off, reach);
            if scores[0].abs() > reach * 0.005 {
                prop_assert_eq!(public.label(&got), fixture.model.label(&scores));
            }
        }
    }
}

#[test]
fn only_one_logistic_score_becomes_a_probability() {
    let options = Options {
        output: Output::Probability,
        ..Options::new("probability")
    };
    let refused = |change: fn(&mut Model)| {
        let mut fixture = logistic(&[1.0, -1.0], 0.0, 1);
        change(&mut fixture.model);
        let calibration = Calibration { rows: fixture.rows };
        let refused = compile(&fixture.model, &calibration, &options);
        refused.unwrap_err().to_string()
    };
    assert!(refused(|m| m.output.link = Link::Identity).contains("not logistic"));
    let elsewhere = refused(|m| {
        if let Decide::Threshold { at, .. } = &mut m.output.decide {
            *at = 0.3;
        }
    });
    assert!(elsewhere.contains("one half"), "{elsewhere}");
}
