//! Keys, inputs, and the check of what comes out.

use tfhe::core_crypto::prelude::*;

use crate::params::Params;

pub(crate) enum HostBsk {
    Classic(LweBootstrapKeyOwned<u64>),
    Multi(LweMultiBitBootstrapKeyOwned<u64>),
}

pub(crate) struct Keys {
    pub(crate) big_sk: LweSecretKeyOwned<u64>,
    pub(crate) ksk: LweKeyswitchKeyOwned<u64>,
    pub(crate) bsk: HostBsk,
    pub(crate) lut: GlweCiphertextOwned<u64>,
    pub(crate) delta: u64,
}

pub(crate) type Gen = EncryptionRandomGenerator<DefaultRandomGenerator>;

pub(crate) fn f(x: u64, p: u64) -> u64 {
    (3 * x + 1) % p
}

pub(crate) fn keygen(
    p: &Params,
    enc: &mut Gen,
    sec: &mut SecretRandomGenerator<DefaultRandomGenerator>,
) -> Keys {
    let small = allocate_and_generate_new_binary_lwe_secret_key(p.lwe_dimension, sec);
    let glwe =
        allocate_and_generate_new_binary_glwe_secret_key(p.glwe_dimension, p.polynomial_size, sec);
    let big_sk = glwe.clone().into_lwe_secret_key();
    let ksk = allocate_and_generate_new_lwe_keyswitch_key(
        &big_sk,
        &small,
        p.ks_base_log,
        p.ks_level,
        p.lwe_noise,
        p.modulus,
        enc,
    );
    let bsk = match p.grouping {
        None => HostBsk::Classic(par_allocate_and_generate_new_lwe_bootstrap_key(
            &small,
            &glwe,
            p.pbs_base_log,
            p.pbs_level,
            p.glwe_noise,
            p.modulus,
            enc,
        )),
        Some(g) => HostBsk::Multi(par_allocate_and_generate_new_lwe_multi_bit_bootstrap_key(
            &small,
            &glwe,
            p.pbs_base_log,
            p.pbs_level,
            g,
            p.glwe_noise,
            p.modulus,
            enc,
        )),
    };
    let delta = (1u64 << 63) / p.plain_modulus;
    let pm = p.plain_modulus;
    let lut = generate_programmable_bootstrap_glwe_lut(
        p.polynomial_size,
        p.glwe_dimension.to_glwe_size(),
        pm as usize,
        p.modulus,
        delta,
        |x: u64| f(x, pm),
    );
    Keys {
        big_sk,
        ksk,
        bsk,
        lut,
        delta,
    }
}

pub(crate) fn inputs(p: &Params, k: &Keys, b: usize, enc: &mut Gen) -> LweCiphertextListOwned<u64> {
    let pl = PlaintextList::from_container(
        (0..b)
            .map(|i| (i as u64 % p.plain_modulus) * k.delta)
            .collect::<Vec<_>>(),
    );
    let mut l = LweCiphertextList::new(
        0u64,
        k.big_sk.lwe_dimension().to_lwe_size(),
        LweCiphertextCount(b),
        p.modulus,
    );
    par_encrypt_lwe_ciphertext_list(&k.big_sk, &mut l, &pl, p.glwe_noise, enc);
    l
}

/// Wrong results, and the standard deviation of the output phase error in log2 of the torus.
pub(crate) fn check(p: &Params, k: &Keys, out: &LweCiphertextListOwned<u64>) -> (usize, f64) {
    let b = out.lwe_ciphertext_count().0;
    let mut pl = PlaintextList::new(0u64, PlaintextCount(b));
    decrypt_lwe_ciphertext_list(&k.big_sk, out, &mut pl);
    let (mut bad, mut sq) = (0usize, 0f64);
    for (i, d) in pl.iter().enumerate() {
        let want = f(i as u64 % p.plain_modulus, p.plain_modulus);
        let got = (d.0.wrapping_add(k.delta / 2) / k.delta) % (2 * p.plain_modulus);
        bad += usize::from(got != want);
        let e = d.0.wrapping_sub(want * k.delta) as i64 as f64 / 2f64.powi(64);
        sq += e * e;
    }
    (bad, (sq / b as f64).sqrt().log2())
}
