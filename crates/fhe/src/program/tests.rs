use super::*;
use proptest::prelude::*;

/// Two trees of two bits each, summed: one round of lookups, then a sum.
fn trees() -> ProgramFile {
    ProgramFile {
        format: FORMAT.into(),
        name: "toy-trees".into(),
        version: 1,
        description: String::new(),
        params: ParamSet::Bootstrap,
        columns: vec!["a".into(), "b".into()],
        inputs: vec![above(0, 0.5), above(0, 1.5), above(1, 0.0)],
        text: None,
        about: BTreeMap::new(),
        input_step_bits: 3,
        input_bits: 64,
        rounds: vec![
            Round {
                sums: vec![sum(&[(0, 1), (1, 2)], 0), sum(&[(0, 1), (2, 2)], 0)],
                lookup: Some(Lookup {
                    bits: 2,
                    fraction_bits: 0,
                    precision: Precision::Exact,
                    reads: vec![],
                    step_bits: 20,
                    tables: vec![vec![1, -2, 3, 4000], vec![-5000, 6, 7, 8]],
                    uses: vec![0, 1],
                }),
            },
            Round {
                sums: vec![sum(&[(0, 1), (1, 1)], 7)],
                lookup: None,
            },
        ],
        result: ResultSpec {
            bits: 20,
            precision: Precision::Rounded,
            wraps: false,
            scores: vec![ScoreMeaning {
                name: "score".into(),
                results: vec![0],
                scale: 0.001,
                offset: 0.0,
            }],
            link: Link::Identity,
            decide: Some(Decide::Threshold {
                at: 0.0,
                below: "no".into(),
                above: "yes".into(),
            }),
        },
    }
}

fn linear(weight: i64, step_bits: u32) -> ProgramFile {
    let input = |column| Input {
        column,
        encode: Encode::Scaled {
            offset: 0.0,
            step: 0.1,
            min: -128,
            max: 127,
        },
        missing: None,
    };
    ProgramFile {
        params: ParamSet::Linear,
        inputs: vec![input(0), input(1)],
        input_step_bits: step_bits,
        rounds: vec![Round {
            sums: vec![sum(&[(0, weight), (1, -weight)], 3)],
            lookup: None,
        }],
        result: ResultSpec {
            bits: 30,
            precision: Precision::Exact,
            decide: None,
            ..trees().result
        },
        ..trees()
    }
}

fn above(column: usize, edge: f64) -> Input {
    Input {
        column,
        encode: Encode::Above(edge),
        missing: None,
    }
}

fn sum(terms: &[(u32, i64)], bias: i64) -> Sum {
    Sum {
        terms: terms.to_vec(),
        bias,
    }
}

/// Refused, with this text in the message.
fn check_refused(file: ProgramFile, text: &str) {
    let error = Program::new(file).unwrap_err().to_string();
    assert!(error.contains(text), "{error:?} does not say {text:?}");
}

#[test]
fn a_sound_program_is_taken_and_evaluates() {
    let program = Program::new(trees()).unwrap();
    assert_eq!(program.bootstraps_per_row(), 2);
    assert_eq!(program.result_intervals(), [(-2 - 5000 + 7, 4000 + 8 + 7)]);
    assert_eq!(program.evaluate_clear(&[1, 1, 0]), Some(vec![4000 + 6 + 7]));
    assert_eq!(program.evaluate_clear(&[1, 1]), None);
    assert_eq!(program.evaluate_clear(&[9, 9, 9]), None);
    assert!(!program.is_linear());
    assert!(program.noise().rounds[0].log2_p_fail <= -128.0);
    assert!(program.noise().score_error[0] > 0.0);

    let program = Program::new(linear(100, 18)).unwrap();
    assert_eq!(program.evaluate_clear(&[2, 1]), Some(vec![103]));
    assert_eq!(program.noise().score_error, [0.0]);
    assert!(program.noise().flooding_bits.unwrap() > 10.0);
}

#[test]
fn json_round_trips_to_the_same_digest_however_it_is_laid_out() {
    let file = trees();
    let pretty = serde_json::to_vec_pretty(&file).unwrap();
    let program = Program::from_json(&pretty).unwrap();
    assert_eq!(
        program.digest(),
        Program::new(file.clone()).unwrap().digest()
    );
    let mut other = file;
    other.rounds[0].lookup.as_mut().unwrap().tables[0][0] = 2;
    assert_ne!(program.digest(), Program::new(other).unwrap().digest());
}

#[test]
fn a_program_that_is_too_noisy_is_refused_with_its_round() {
    // A 16-entry table over a sum of bootstrapped values with |w|² = 81: more than the set allows.
    let mut file = trees();
    let lookup = |bits: u32, step_bits| Lookup {
        bits,
        fraction_bits: 0,
        precision: Precision::Exact,
        reads: vec![],
        step_bits,
        tables: vec![(0..1 << bits).map(|i| i & 1).collect()],
        uses: vec![0, 0],
    };
    file.rounds[0].lookup = Some(lookup(2, 5));
    file.rounds.insert(
        1,
        Round {
            sums: vec![sum(&[(0, 9), (1, 6)], 0), sum(&[(0, 1)], 0)],
            lookup: Some(lookup(4, 20)),
        },
    );
    let error = Program::new(file.clone()).unwrap_err();
    assert!(
        matches!(&error, ProgramError::TooNoisy { place, .. } if place == "round 1"),
        "{error}"
    );
    file.rounds[1].sums[0].terms = vec![(0, 3), (1, 2)];
    Program::new(file).unwrap();
}

#[test]
fn an_exact_result_that_rounding_would_spoil_is_refused() {
    let mut file = linear(100, 18);
    file.result.bits = 20;
    check_refused(file, "the result would fail");
    let error = Program::new(linear(1 << 20, 34)).unwrap_err();
    assert!(matches!(error, ProgramError::TooNoisy { .. }), "{error}");
}

/// A sum of two scaled inputs, rounded into a table of 64 entries.
fn activation(bias: i64) -> ProgramFile {
    let linear = linear(100, 7 + 10);
    ProgramFile {
        params: ParamSet::Bootstrap,
        rounds: vec![Round {
            sums: vec![sum(&[(0, 100), (1, 100)], bias)],
            lookup: Some(Lookup {
                bits: 6,
                fraction_bits: 10,
                precision: Precision::Rounded,
                step_bits: 12,
                tables: vec![(0..64).map(|i| (i - 32).max(0) * 10).collect()],
                uses: vec![0],
                reads: vec![],
            }),
        }],
        result: ResultSpec {
            bits: 20,
            precision: Precision::Rounded,
            ..linear.result
        },
        ..linear
    }
}

#[test]
fn a_rounded_lookup_keeps_away_from_the_padding_bit() {
    // -25600..=25400 lies in 0..65536 with thousands to spare on both sides.
    let program = Program::new(activation(32 << 10)).unwrap();
    let round = program.noise().rounds[0];
    assert_eq!(round.precision, Precision::Rounded);
    assert!(
        round.log2_p_fail <= -128.0 && round.sigmas > 13.0,
        "{round:?}"
    );
    assert!(
        round.sd_entries > 0.1 && round.sd_entries < 0.2,
        "{round:?}"
    );
    // 100 · 100 above the middle: 10000 / 1024 rounds to 10 entries.
    assert_eq!(program.evaluate_clear(&[50, 50]), Some(vec![100]));
    assert_eq!(program.evaluate_clear(&[-50, -50]), Some(vec![0]));
    assert!(program.noise().score_error[0] > 0.0);
    // The least sum is 1000 units from the first entry: inside, but noise might carry it into the padding bit.
    let error = Program::new(activation(25600 + 1000)).unwrap_err();
    assert!(matches!(error, ProgramError::TooNoisy { .. }), "{error}");
    check_refused(activation(25600 - 1000), "padding bit");
}

#[test]
fn one_bootstrap_can_be_read_in_several_places() {
    let mut file = trees();
    file.rounds[0].sums[0].terms = vec![(0, 1)];
    let lookup = file.rounds[0].lookup.as_mut().unwrap();
    lookup.reads = vec![(0, 0), (0, 2), (1, 0)];
    file.rounds[1].sums[0].terms = vec![(0, 1), (1, 10), (2, 1)];
    let program = Program::new(file.clone()).unwrap();
    assert_eq!(program.bootstraps_per_row(), 2);
    // -2 and ten times 4000 of the first table, 6 of the second, and the bias.
    assert_eq!(
        program.evaluate_clear(&[1, 0, 0]),
        Some(vec![-2 + 40_000 + 6 + 7])
    );
    let reads = |reads: &[(u32, u32)]| {
        let mut file = file.clone();
        file.rounds[0].lookup.as_mut().unwrap().reads = reads.to_vec();
        file
    };
    check_refused(reads(&[(0, 0), (0, 3), (1, 0)]), "leaves its table");
    check_refused(reads(&[(0, 0), (2, 0), (1, 0)]), "no sum 2");
}

#[test]
fn what_stands_for_a_missing_value_is_an_input_like_others() {
    let mut file = trees();
    file.inputs[0].missing = Some(1);
    let public = crate::PublicProgram::from(&Program::new(file.clone()).unwrap());
    assert_eq!(public.encode(0, &[0.0, 1.0]).unwrap(), [0, 0, 1]);
    let error = public.encode(0, &[f64::NAN, 1.0]).unwrap_err();
    assert!(error.to_string().contains("`a`"), "{error}");
    file.inputs[1].missing = Some(0);
    let public = crate::PublicProgram::from(&Program::new(file.clone()).unwrap());
    assert_eq!(public.encode(0, &[f64::NAN, 1.0]).unwrap(), [1, 0, 1]);
    file.inputs[1].missing = Some(2);
    check_refused(file, "missing");
}

#[test]
fn inputs_of_one_column_rise_together() {
    // Above 0.5 and not above 1.5 lies in 0..=1, and so three of it fit a table of four entries.
    let mut file = trees();
    file.rounds[0].sums[0].terms = vec![(0, 3), (1, -3)];
    let program = Program::new(file.clone()).unwrap();
    assert_eq!(program.sum_intervals(0)[0], (0, 3));
    // A missing value that is below the lower edge and above the higher one is another place.
    file.inputs[0].missing = Some(0);
    file.inputs[1].missing = Some(1);
    check_refused(file.clone(), "sum 0 lies in -3..=3");
    // With nothing to stand for it in one input, the row is refused.
    file.inputs[0].missing = None;
    Program::new(file.clone()).unwrap();
    // Other columns are free.
    file.rounds[0].sums[0].terms = vec![(0, 3), (2, -3)];
    check_refused(file, "sum 0 lies in -3..=3");
}

#[test]
fn the_least_value_of_the_bits_is_no_result() {
    // With noise, -2^19 of 20 bits is now and then read as 2^19.
    let mut file = trees();
    file.rounds[1].sums[0] = sum(&[(0, 1)], 2 - (1 << 19));
    check_refused(file.clone(), "outside of the 20 bits");
    file.rounds[1].sums[0].bias += 1;
    Program::new(file).unwrap();
}

/// 9 bits, which 100 + 250 leaves; in two parts, of which each may leave them.
fn wrapping() -> ProgramFile {
    let mut file = trees();
    let lookup = file.rounds[0].lookup.as_mut().unwrap();
    lookup.step_bits = 9;
    lookup.tables = vec![vec![1, -2, 3, 250], vec![-256, 6, 7, 255]];
    file.rounds[1].sums = vec![sum(&[(0, 1)], 100), sum(&[(1, 1)], 0)];
    file.result = ResultSpec {
        bits: 30,
        precision: Precision::Exact,
        wraps: true,
        ..file.result
    };
    file.result.scores[0].results = vec![0, 1];
    file
}

#[test]
fn results_that_wrap_are_read_modulo_their_bits() {
    let mut file = wrapping();
    let program = Program::new(file.clone()).unwrap();
    assert_eq!(program.result_intervals(), [(-256, 255), (-256, 255)]);
    // 100 + 250 is -162 in 9 bits; what is added to it brings the score back.
    let results = program.evaluate_clear(&[1, 1, 0]).unwrap();
    assert_eq!(results, [100 + 250 - 512, 6]);
    let public = crate::PublicProgram::from(&program);
    assert_eq!(public.clear_scores(&results)[0].integer, 356.0 - 512.0);
    // -256 with a little noise to either side is the same residue.
    let unit = 1u64 << (64 - 9);
    for noise in [0, 1000, u64::MAX - 1000] {
        let phases = [(256 * unit).wrapping_add(noise), 0];
        assert_eq!(public.scores(&phases)[0].integer, -256.0);
    }
    file.result.wraps = false;
    check_refused(file, "outside of the 9 bits");
}

#[test]
fn only_exact_results_of_lookups_wrap() {
    let mut file = trees();
    file.result.wraps = true;
    check_refused(file, "result.wraps");
    let mut file = linear(3, 20);
    file.result.wraps = true;
    check_refused(file, "result.wraps");
}

proptest! {
    #[test]
    fn a_residue_differs_by_whole_turns_and_lies_nearest(value in -(1i64 << 52)..1 << 52, bits in 1u32..=48) {
        let residue = nearest_residue(value, bits);
        let turn = 1i64 << bits;
        prop_assert_eq!((value - residue) % turn, 0);
        prop_assert!((-turn / 2..turn / 2).contains(&residue));
    }
}

#[test]
fn one_against_the_rest_gives_shares() {
    let mut file = trees();
    file.rounds[1].sums = vec![sum(&[(0, 1)], 0), sum(&[(1, 1)], 7)];
    let second = ScoreMeaning {
        results: vec![1],
        ..file.result.scores[0].clone()
    };
    file.result.scores.push(second);
    file.result.link = Link::LogisticShare;
    let public = crate::PublicProgram::from(&Program::new(file).unwrap());
    let scores = public.clear_scores(&[0, 1000]);
    let second = 1.0 / (1.0 + (-1.0f64).exp());
    let got = public.predictions(&scores);
    assert!((got[0] - 0.5 / (0.5 + second)).abs() < 1e-12, "{got:?}");
    assert!((got[0] + got[1] - 1.0).abs() < 1e-12, "{got:?}");
}

#[test]
fn a_score_may_be_the_sum_of_several_results() {
    let mut file = trees();
    file.rounds[1].sums = vec![sum(&[(0, 1)], 0), sum(&[(1, 1)], 7)];
    file.result.scores[0].results = vec![1, 0];
    let program = Program::new(file.clone()).unwrap();
    let public = crate::PublicProgram::from(&program);
    let scores = public.clear_scores(&program.evaluate_clear(&[1, 1, 0]).unwrap());
    assert_eq!(scores[0].integer, 4000.0 + 6.0 + 7.0);
    file.result.scores[0].results = vec![1];
    check_refused(file.clone(), "part of a score");
    file.result.scores[0].results = vec![1, 1];
    check_refused(file.clone(), "twice");
    file.result.scores[0].results = vec![1, 0, 2];
    check_refused(file, "no result 2");
}

#[test]
fn hostile_files_are_refused_with_the_place() {
    let with = |change: fn(&mut ProgramFile)| {
        let mut file = trees();
        change(&mut file);
        file
    };
    check_refused(with(|f| f.format = "other/9".into()), "other/9");
    check_refused(with(|f| f.name = "../etc".into()), "name");
    check_refused(with(|f| f.description = "\u{1b}[2J".into()), "control");
    check_refused(with(|f| f.inputs.clear()), "inputs");
    check_refused(with(|f| f.inputs[0].column = 9), "no column 9");
    check_refused(
        with(|f| f.inputs[0].encode = Encode::Above(f64::NAN)),
        "finite",
    );
    check_refused(with(|f| f.rounds.clear()), "rounds");
    check_refused(with(|f| f.params = ParamSet::Linear), "params");
    check_refused(with(|f| f.input_step_bits = 64), "input_step_bits");
    check_refused(with(|f| f.input_bits = 7), "input_bits");
    check_refused(with(|f| f.rounds[0].sums[0].terms[0].0 = 3), "no input 3");
    check_refused(with(|f| f.rounds[0].sums[0].terms[1].0 = 0), "rise");
    check_refused(
        with(|f| f.rounds[0].sums[0].terms[0].1 = i64::MIN),
        "weight",
    );
    check_refused(with(|f| f.rounds[0].sums[0].bias = i64::MIN), "bias");
    check_refused(
        with(|f| f.rounds[0].sums[0].bias = 1),
        "sum 0 lies in 1..=4",
    );
    check_refused(
        with(|f| f.rounds[0].sums[0].terms[0].1 = MAX_INTEGER),
        "outside of the table",
    );
    check_refused(with(|f| f.rounds[0].lookup = None), "only the last round");
    check_refused(
        with(|f| f.rounds[0].lookup.as_mut().unwrap().bits = 40),
        "bits is 1 to 4",
    );
    check_refused(
        with(|f| f.rounds[0].lookup.as_mut().unwrap().step_bits = 0),
        "1 to 48",
    );
    check_refused(
        with(|f| f.rounds[0].lookup.as_mut().unwrap().tables[0].push(0)),
        "entries",
    );
    check_refused(
        with(|f| f.rounds[0].lookup.as_mut().unwrap().tables[0][0] = 1 << 19),
        "half the torus",
    );
    check_refused(
        with(|f| f.rounds[0].lookup.as_mut().unwrap().uses[0] = 2),
        "no table 2",
    );
    check_refused(
        with(|f| f.rounds[0].lookup.as_mut().unwrap().uses.push(0)),
        "one table for each",
    );
    check_refused(
        with(|f| f.rounds[1].sums[0].terms[0].1 = 1 << 20),
        "outside of the 20 bits",
    );
    check_refused(with(|f| f.result.bits = 64), "result.bits");
    check_refused(with(|f| f.result.scores.clear()), "result.scores");
    check_refused(with(|f| f.result.scores[0].scale = 0.0), "scale");
    let many = Decide::Greatest { labels: vec![] };
    let mut file = trees();
    file.result.decide = Some(many);
    check_refused(file, "one label per score");
}

#[test]
fn unknown_fields_and_oversize_files_are_refused() {
    let mut json = serde_json::to_value(trees()).unwrap();
    json["surprise"] = 1.into();
    let error = Program::from_json(&serde_json::to_vec(&json).unwrap()).unwrap_err();
    assert!(error.to_string().contains("surprise"), "{error}");
    let error = Program::from_json(&vec![b' '; MAX_PROGRAM_BYTES + 1]).unwrap_err();
    assert!(matches!(error, ProgramError::Oversize { .. }));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Program::from_json(&bytes).is_err());
    }

    /// A sound file with a few bytes changed is refused, or taken and then evaluates without a panic.
    #[test]
    fn damaged_files_never_panic(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)) {
        let mut json = serde_json::to_vec(&trees()).unwrap();
        for (at, byte) in changes {
            let at = at.index(json.len());
            json[at] = byte;
        }
        if let Ok(program) = Program::from_json(&json) {
            let _ = program.evaluate_clear(&vec![1; program.input_count()]);
        }
    }
}
