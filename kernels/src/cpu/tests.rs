use super::*;
use crate::direct::Direct;
use crate::testing::{Random, fixture};
use fhe::noise;

/// Encryptions of `values`, in units of 2^-step_bits, under one of the fixture's keys.
fn encrypt(key: usize, values: &[i64], step_bits: u32) -> LweBatch {
    let mut batch = LweBatch::zeros(vec![key as u32; values.len()]);
    for (index, (words, &value)) in batch
        .words
        .chunks_exact_mut(LWE_WORDS)
        .zip(values)
        .enumerate()
    {
        let plain = (value as u64) << (64 - step_bits);
        words.copy_from_slice(&fixture().clients[key].encrypt_word(plain, index as u64));
    }
    batch
}

/// Measured and predicted standard deviation differ by less than a tenth.
fn check_noise(what: &str, errors: &[f64], predicted_variance: f64) {
    let variance = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
    let ratio = (variance / predicted_variance).sqrt();
    let (measured, predicted) = (variance.sqrt().log2(), predicted_variance.sqrt().log2());
    println!(
        "{what}: standard deviation measured 2^{measured:.2}, predicted 2^{predicted:.2}, ratio {ratio:.3}"
    );
    assert!(
        (0.9..1.1).contains(&ratio),
        "{what}: measured 2^{measured:.2}, predicted 2^{predicted:.2}"
    );
}

fn check_centred(what: &str, errors: &[f64]) {
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let variance = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
    assert!(
        mean.abs() < 0.15 * variance.sqrt(),
        "{what} is not centred: {mean:e}"
    );
}

/// As a part of the torus.
fn torus(word: u64) -> f64 {
    word as i64 as f64 / 2f64.powi(64)
}

#[test]
fn keyswitch_is_word_for_word_that_of_tfhe_and_its_noise_is_as_predicted() {
    let fixture = fixture();
    let values: Vec<i64> = (0..600).map(|i| i % 16).collect();
    let batch = encrypt(0, &values, 5);
    let ours = fixture.backend.keyswitch(&fixture.keys, &batch).unwrap();
    let first = LweBatch {
        words: batch.words[..40 * LWE_WORDS].to_vec(),
        keys: batch.keys[..40].to_vec(),
    };
    let theirs = Direct::new(&fixture.evaluation[0])
        .unwrap()
        .keyswitch(&first);
    assert_eq!(ours.words[..40 * SMALL_WORDS], theirs.words);

    let errors: Vec<f64> = (0..batch.len())
        .map(|i| {
            let exact = (values[i] as u32) << 27;
            let phase = fixture.clients[0].small_phase(ours.ciphertext(i));
            f64::from(phase.wrapping_sub(exact) as i32) / 2f64.powi(32)
        })
        .collect();
    check_noise("keyswitch", &errors, noise::fresh() + noise::keyswitch());
}

#[test]
fn modulus_switch_noise_is_as_predicted() {
    let fixture = fixture();
    let mut random = Random(7);
    let errors: Vec<f64> = (0..2000)
        .map(|_| {
            let words: Vec<u32> = (0..SMALL_WORDS).map(|_| random.next() as u32).collect();
            let before = fixture.clients[0].small_phase(&words);
            let switched = bootstrap::Switched::new(&words);
            let after = fixture.clients[0].switched_phase(&switched);
            // The switch takes half a unit away so that a box of the table is met in its middle.
            let after = (after << 20).wrapping_add(1 << 19);
            f64::from(after.wrapping_sub(before) as i32) / 2f64.powi(32)
        })
        .collect();
    check_noise("modulus switch", &errors, noise::modulus_switch());
    check_centred("modulus switch", &errors);
}

#[test]
fn bootstrap_is_that_of_tfhe_and_its_noise_is_as_predicted() {
    let fixture = fixture();
    let mut random = Random(9);
    let values = [3i64, 0, 15, 8, 1, 2, 7, 11];
    let batch = encrypt(0, &values, 5);
    let entries: Vec<i64> = (0..16).map(|i| i * 100 - 700).collect();
    let table = Table::new(&entries, 20).unwrap();
    let small = fixture.backend.keyswitch(&fixture.keys, &batch).unwrap();
    let ours = fixture
        .backend
        .bootstrap(&fixture.keys, &small, &[&table], &[0; 8], &Read::plain(8))
        .unwrap();
    let direct = Direct::new(&fixture.evaluation[0]).unwrap();
    let theirs = direct.keyswitch_bootstrap(&batch, &table);
    for (index, &value) in values.iter().enumerate() {
        let exact = (entries[value as usize] as u64) << 44;
        for result in [&ours, &theirs] {
            let phase = fixture.clients[0].phase(result.ciphertext(index));
            let error = torus(phase.wrapping_sub(exact));
            assert!(
                error.abs() < noise::bound_2m128(noise::bootstrapped()),
                "{error:e}"
            );
        }
    }

    // All 2048 coefficients of the turned polynomials carry noise of the same kind: many samples of a few rotations.
    let polynomial: Vec<i64> = (0..POLYNOMIAL_SIZE)
        .map(|_| random.next() as i64 >> 1)
        .collect();
    let table = Table::new(&polynomial, 63).unwrap();
    let key = fixture.keys[0].bootstrap().unwrap();
    // Noise within one polynomial is correlated, so it takes a good number of rotations.
    let batch = encrypt(0, &(0..64).map(|i| i % 16).collect::<Vec<_>>(), 5);
    let small = fixture.backend.keyswitch(&fixture.keys, &batch).unwrap();
    let of_block = |block: Vec<usize>| -> Vec<f64> {
        let list = bootstrap::rotate(key, &small, &block, &[&table], &[0; 64]);
        let pairs = block.iter().zip(&list);
        pairs
            .flat_map(|(&index, ring)| {
                let switched = bootstrap::Switched::new(small.ciphertext(index));
                let turn = fixture.clients[0].switched_phase(&switched);
                ring_errors(
                    &fixture.clients[0].ring_phases(&[ring.mask(), ring.body()].concat()),
                    &table,
                    turn as usize,
                )
            })
            .collect()
    };
    let blocks: Vec<Vec<usize>> = (0..8).map(|b| (8 * b..8 * b + 8).collect()).collect();
    let errors: Vec<f64> = blocks.into_par_iter().flat_map(of_block).collect();
    check_noise("bootstrap", &errors, noise::bootstrapped());
    check_centred("bootstrap", &errors);
}

#[test]
fn every_coefficient_of_an_accumulator_can_be_extracted() {
    let fixture = fixture();
    let mut random = Random(11);
    let mut accumulator = rotation::Accumulator::new(&[0; POLYNOMIAL_SIZE], 0);
    for word in accumulator.words_mut() {
        *word = random.next();
    }
    let ring = [accumulator.mask(), accumulator.body()].concat();
    let phases = fixture.clients[0].ring_phases(&ring);
    let mut out = vec![0; LWE_WORDS];
    for coefficient in [0, 1, 7, 1024, POLYNOMIAL_SIZE - 1] {
        bootstrap::extract(&accumulator, coefficient, &mut out);
        assert_eq!(fixture.clients[0].phase(&out), phases[coefficient]);
    }
}

/// What each coefficient of a turned table is off by.
fn ring_errors(phases: &[u64], table: &Table, turn: usize) -> Vec<f64> {
    let polynomial = table.polynomial();
    let error = |(at, &phase): (usize, &u64)| {
        let from = (at + turn) % (2 * POLYNOMIAL_SIZE);
        let word = polynomial[from % POLYNOMIAL_SIZE];
        let exact = if from < POLYNOMIAL_SIZE {
            word
        } else {
            word.wrapping_neg()
        };
        torus(phase.wrapping_sub(exact))
    };
    phases.iter().enumerate().map(error).collect()
}

#[test]
fn hiding_keeps_the_value_and_replaces_the_mask() {
    let fixture = fixture();
    let values: Vec<i64> = (0..400).map(|i| i % 100 - 50).collect();
    let clear = encrypt(0, &values, 20);
    let mut hidden = clear.clone();
    // The least flooding there is, so that the other noise can be measured.
    fixture
        .backend
        .hide(&fixture.keys, &mut hidden, &vec![0; 400], [1; 32])
        .unwrap();
    let errors: Vec<f64> = (0..400)
        .map(|i| {
            let before = fixture.clients[0].phase(clear.ciphertext(i));
            torus(
                fixture.clients[0]
                    .phase(hidden.ciphertext(i))
                    .wrapping_sub(before),
            )
        })
        .collect();
    // Not centred: the key's own noise is the same each time, and half of it is added on average.
    check_noise("fresh mask", &errors, noise::rerandomisation());

    let same = clear
        .words
        .iter()
        .zip(&hidden.words)
        .filter(|(a, b)| a == b)
        .count();
    assert_eq!(same, 0, "a word of the mask was kept");
    let mut other = clear.clone();
    fixture
        .backend
        .hide(&fixture.keys, &mut other, &vec![0; 400], [2; 32])
        .unwrap();
    assert!(
        other.words.iter().zip(&hidden.words).all(|(a, b)| a != b),
        "two seeds gave one mask"
    );

    let mut flooded = clear.clone();
    fixture
        .backend
        .hide(&fixture.keys, &mut flooded, &vec![40; 400], [1; 32])
        .unwrap();
    let errors: Vec<f64> = (0..400)
        .map(|i| {
            let exact = (values[i] as u64) << 44;
            torus(
                fixture.clients[0]
                    .phase(flooded.ciphertext(i))
                    .wrapping_sub(exact),
            )
        })
        .collect();
    // Uniform in ±2^40: the variance is a third of the bound's square.
    check_noise("flooding", &errors, 2f64.powi(2 * (40 - 64)) / 3.0);
    check_centred("flooding", &errors);
}

#[test]
fn sums_of_ciphertexts_are_sums_of_values() {
    let fixture = fixture();
    let batch = encrypt(0, &[5, -7, 11], 20);
    let terms = [(0, 3), (2, -4)];
    let sum = LweSum {
        base: 0,
        terms: &terms,
        constant: 1 << 44,
        key: 0,
    };
    let shifted = LweSum {
        base: 1,
        terms: &terms[..1],
        ..sum
    };
    let out = fixture.backend.linear(&batch, &[sum, shifted]).unwrap();
    let value = |i| (fixture.clients[0].phase(out.ciphertext(i)) as i64 + (1 << 43)) >> 44;
    assert_eq!([value(0), value(1)], [3 * 5 - 4 * 11 + 1, 3 * -7 + 1]);
}

#[test]
fn what_does_not_fit_together_is_an_error() {
    let fixture = fixture();
    let backend = &fixture.backend;
    let batch = encrypt(0, &[1, 2], 5);
    let foreign = LweBatch {
        keys: vec![0, 99],
        ..batch.clone()
    };
    assert!(matches!(
        backend.keyswitch(&fixture.keys, &foreign),
        Err(KernelError::Shape(_))
    ));
    let torn = LweBatch {
        words: batch.words[1..].to_vec(),
        ..batch.clone()
    };
    assert!(matches!(
        backend.keyswitch(&fixture.keys, &torn),
        Err(KernelError::Shape(_))
    ));
    let sum = LweSum {
        base: 0,
        terms: &[(7, 1)],
        constant: 0,
        key: 0,
    };
    assert!(matches!(
        backend.linear(&batch, &[sum]),
        Err(KernelError::Shape(_))
    ));
    let other_key = LweSum {
        terms: &[(0, 1)],
        key: 1,
        ..sum
    };
    assert!(matches!(
        backend.linear(&batch, &[other_key]),
        Err(KernelError::Shape(_))
    ));
    let small = backend.keyswitch(&fixture.keys, &batch).unwrap();
    let table = Table::new(&[0, 1], 5).unwrap();
    assert!(matches!(
        backend.bootstrap(&fixture.keys, &small, &[&table], &[0, 1], &Read::plain(2)),
        Err(KernelError::Shape(_))
    ));
    assert!(Table::new(&[1, 2, 3], 5).is_err());
    let linear = vec![fixture.linear_key.clone()];
    assert!(matches!(
        backend.keyswitch(&linear, &batch),
        Err(KernelError::NoBootstrapKey)
    ));
    let empty = backend
        .keyswitch(&fixture.keys, &LweBatch::default())
        .unwrap();
    assert!(
        backend
            .bootstrap(&fixture.keys, &empty, &[], &[], &[])
            .unwrap()
            .is_empty()
    );
}
