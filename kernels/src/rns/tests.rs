use super::ntt::Twiddles;
use super::rotation::joined;
use super::*;
use crate::cpu::Switched;
use crate::testing::{Random, fixture};
use crate::{Backend, Table};
use fhe::noise;
use fhe::params::{POLYNOMIAL_SIZE as N, SMALL_DIMENSION};
use proptest::prelude::*;
use rayon::prelude::*;

/// Σ a_i b_j X^(i + j) modulo X^N + 1 and p, term by term.
fn product(p: Prime, a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = vec![0; N];
    for (i, &a) in a.iter().enumerate().filter(|(_, a)| **a != 0) {
        for (j, &b) in b.iter().enumerate() {
            let term = p.mul(a, b);
            match i + j {
                at if at < N => out[at] = p.add(out[at], term),
                at => out[at - N] = p.sub(out[at - N], term),
            }
        }
    }
    out
}

#[test]
fn the_modulus_is_a_product_of_primes() {
    for Prime { p, root } in PRIMES {
        let divisors = (2..).take_while(|d: &u32| d * d <= p);
        assert!(divisors.into_iter().all(|d| !p.is_multiple_of(d)), "{p}");
        assert_ne!(root, 0);
    }
    assert_eq!(Q, 4_611_255_024_196_841_473);
}

#[test]
fn transforms_multiply_polynomials() {
    let mut random = Random(31);
    for p in PRIMES {
        let twiddles = Twiddles::new(p);
        let mut next = || (random.next() % u64::from(p.p)) as u32;
        let a: Vec<u32> = (0..N).map(|_| next()).collect();
        let b: Vec<u32> = (0..N).map(|_| next()).collect();
        let (mut at, mut bt) = (a.clone(), b.clone());
        twiddles.transform(&mut at);
        twiddles.transform(&mut bt);
        let mut back = at.clone();
        twiddles.back(&mut back);
        assert_eq!(back, a);
        let mut ab: Vec<u32> = at.iter().zip(&bt).map(|(a, b)| p.mul(*a, *b)).collect();
        twiddles.back(&mut ab);
        assert_eq!(ab, product(p, &a, &b));
    }
}

proptest! {
    #[test]
    fn a_residue_is_found_from_its_two(residue in 0..Q) {
        let [a, b] = PRIMES.map(|prime| (residue % u64::from(prime.p)) as u32);
        prop_assert_eq!(joined(a, b), residue);
    }

    #[test]
    fn a_digit_leaves_half_of_its_unit(residue in prop_oneof![0..Q, 0..4u64, Q - 4..Q]) {
        let digit = digit(residue);
        prop_assert!((-(1 << 22)..1 << 22).contains(&digit));
        // In units of Q / 2^23.
        let left = residue as f64 / Q as f64 * 2f64.powi(23) - f64::from(digit);
        let left = left - (left / 2f64.powi(23)).round() * 2f64.powi(23);
        prop_assert!(left.abs() <= 0.5 + 1e-6, "{}", left);
    }

    #[test]
    fn words_come_back_from_the_modulus(word in any::<u64>()) {
        let off = from_q(to_q(word)).wrapping_sub(word) as i64;
        prop_assert!(off.abs() <= 5, "{}", off);
        prop_assert!(to_q(word) < Q);
    }
}

/// The variance of what it puts out: tfhe-rs's formula, of a transform that loses nothing of 64 bits.
fn predicted() -> f64 {
    use tfhe::core_crypto::commons::noise_formulas::lwe_programmable_bootstrap::pbs_variance_132_bits_security_tuniform_fft_mul;
    use tfhe::core_crypto::prelude::*;
    pbs_variance_132_bits_security_tuniform_fft_mul(
        LweDimension(SMALL_DIMENSION),
        GlweDimension(1),
        PolynomialSize(N),
        DecompositionBaseLog(fhe::params::PBS_BASE_LOG),
        DecompositionLevelCount(fhe::params::PBS_LEVELS),
        64.0,
        2f64.powi(64),
    )
    .0
}

#[test]
fn a_rotation_turns_by_what_the_ciphertext_holds_with_the_noise_that_is_predicted() {
    let fixture = fixture();
    let mut random = Random(33);
    let standard = fixture.evaluation[0].bootstrap().unwrap();
    let key = RnsKey::new(standard.par_decompress_into_lwe_bootstrap_key().as_ref());
    let polynomial: Vec<u64> = (0..N).map(|_| random.next()).collect();
    let smalls: Vec<Vec<u32>> = (0..16)
        .map(|_| {
            (0..=SMALL_DIMENSION)
                .map(|_| random.next() as u32)
                .collect()
        })
        .collect();
    // All coefficients of a turned polynomial carry noise of the same kind.
    let errors: Vec<f64> = smalls
        .par_iter()
        .flat_map_iter(|small| {
            let switched = Switched::new(small);
            let turn = fixture.clients[0].switched_phase(&switched) as usize;
            let turned = rotate(&key, &polynomial, switched.turns(), switched.body());
            let phases = fixture.clients[0].ring_phases(&turned.words());
            let expected = |at: usize| match (at + turn) % (2 * N) {
                from if from < N => polynomial[from],
                from => polynomial[from - N].wrapping_neg(),
            };
            let error =
                |at: usize| phases[at].wrapping_sub(expected(at)) as i64 as f64 / 2f64.powi(64);
            (0..N).map(error).collect::<Vec<_>>()
        })
        .collect();
    let variance = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
    let ratio = (variance / predicted()).sqrt();
    println!(
        "standard deviation 2^{:.3}, {ratio:.3} of what is predicted",
        variance.sqrt().log2()
    );
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
    assert!(variance < noise::bootstrapped());
}

#[test]
fn the_reference_decrypts_like_the_cpu_and_reads_several_places() {
    let fixture = fixture();
    let backend = RnsBackend::new(crate::CpuBackend::new(None).unwrap());
    let key = std::sync::Arc::new(backend.expand(&fixture.evaluation[1]).unwrap());
    let values = [0i64, 5, 7];
    let words = values
        .iter()
        .enumerate()
        .flat_map(|(i, &value)| fixture.clients[1].encrypt_word((value as u64) << 59, i as u64));
    let batch = crate::LweBatch {
        words: words.collect(),
        keys: vec![0; values.len()],
    };
    let keys = [key];
    let entries: Vec<i64> = (0..16).map(|i| i * 3 - 20).collect();
    let table = Table::new(&entries, 8).unwrap();
    let small = backend.keyswitch(&keys, &batch).unwrap();
    let read = |input, shift: usize| crate::Read {
        input,
        coefficient: (shift * table.box_len()) as u32,
        keep: crate::Read::WHOLE,
    };
    let reads = [read(0, 0), read(1, 0), read(1, 4), read(2, 1)];
    let out = backend
        .bootstrap(&keys, &small, &[&table], &[0; 3], &reads)
        .unwrap();
    let expected = [entries[0], entries[5], entries[9], entries[8]];
    for (index, expected) in expected.into_iter().enumerate() {
        let phase = fixture.clients[1].phase(out.ciphertext(index));
        let error = phase.wrapping_sub((expected as u64) << 56) as i64 as f64 / 2f64.powi(64);
        assert!(
            error.abs() < noise::bound_2m128(noise::bootstrapped()),
            "{index}: {error:e}"
        );
    }
}
