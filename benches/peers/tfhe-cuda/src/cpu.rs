//! The same parameters, table and check on the CPU: a test of this program where there is no GPU.

use std::time::Instant;

use tfhe::core_crypto::prelude::*;

use crate::Opt;
use crate::keys::{Gen, HostBsk, Keys, check, inputs};
use crate::params::Params;
use crate::timing::{Stats, report};

/// The same parameters, LUT and check on the CPU, one ciphertext after the other on one thread.
pub(crate) fn cpu(p: &Params, k: &Keys, o: &Opt, enc: &mut Gen) {
    for &b in &o.batches {
        let host = inputs(p, k, b, enc);
        let mut out = LweCiphertextList::new(
            0u64,
            k.big_sk.lwe_dimension().to_lwe_size(),
            LweCiphertextCount(b),
            p.modulus,
        );
        let mut ks = LweCiphertext::new(0u64, p.lwe_dimension.to_lwe_size(), p.modulus);
        let mut st = Stats {
            min: 0.0,
            median: 0.0,
            max: 0.0,
            reps: 1,
        };
        match &k.bsk {
            HostBsk::Classic(bsk) => {
                let mut fb = FourierLweBootstrapKey::new(
                    bsk.input_lwe_dimension(),
                    bsk.glwe_size(),
                    bsk.polynomial_size(),
                    bsk.decomposition_base_log(),
                    bsk.decomposition_level_count(),
                );
                par_convert_standard_lwe_bootstrap_key_to_fourier(bsk, &mut fb);
                let t = Instant::now();
                for (i, mut r) in host.iter().zip(out.iter_mut()) {
                    keyswitch_lwe_ciphertext(&k.ksk, &i, &mut ks);
                    programmable_bootstrap_lwe_ciphertext(&ks, &mut r, &k.lut, &fb);
                }
                st.median = t.elapsed().as_secs_f64();
            }
            HostBsk::Multi(bsk) => {
                let mut fb = FourierLweMultiBitBootstrapKey::new(
                    bsk.input_lwe_dimension(),
                    bsk.glwe_size(),
                    bsk.polynomial_size(),
                    bsk.decomposition_base_log(),
                    bsk.decomposition_level_count(),
                    bsk.grouping_factor(),
                );
                par_convert_standard_lwe_multi_bit_bootstrap_key_to_fourier(bsk, &mut fb);
                let t = Instant::now();
                for (i, mut r) in host.iter().zip(out.iter_mut()) {
                    keyswitch_lwe_ciphertext(&k.ksk, &i, &mut ks);
                    multi_bit_programmable_bootstrap_lwe_ciphertext(
                        &ks,
                        &mut r,
                        &k.lut,
                        &fb,
                        ThreadCount(2),
                        false,
                    );
                }
                st.median = t.elapsed().as_secs_f64();
            }
        }
        (st.min, st.max) = (st.median, st.median);
        let (bad, sd) = check(p, k, &out);
        report(
            p,
            "cpu",
            "ks+pbs",
            b,
            &st,
            &format!(",\"wrong\":{bad},\"checked\":{b},\"out_err_log2_sd\":{sd:.2}"),
        );
    }
}
