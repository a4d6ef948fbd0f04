//! By the calls that tfhe-rs offers: `api`.

use std::time::Instant;

use tfhe::core_crypto::gpu::glwe_ciphertext_list::CudaGlweCiphertextList;
use tfhe::core_crypto::gpu::lwe_bootstrap_key::{
    CudaLweBootstrapKey, CudaModulusSwitchNoiseReductionConfiguration,
};
use tfhe::core_crypto::gpu::lwe_ciphertext_list::CudaLweCiphertextList;
use tfhe::core_crypto::gpu::lwe_keyswitch_key::CudaLweKeyswitchKey;
use tfhe::core_crypto::gpu::lwe_multi_bit_bootstrap_key::CudaLweMultiBitBootstrapKey;
use tfhe::core_crypto::gpu::vec::{CudaVec, GpuIndex};
use tfhe::core_crypto::gpu::{
    CudaStreams, cuda_keyswitch_lwe_ciphertext,
    cuda_multi_bit_programmable_bootstrap_lwe_ciphertext,
    cuda_programmable_bootstrap_lwe_ciphertext,
};
use tfhe::core_crypto::prelude::*;

use crate::keys::{Gen, HostBsk, Keys, check, inputs};
use crate::params::Params;
use crate::raw::Raw;
use crate::timing::{report, time};
use crate::{Opt, usage};

pub(crate) enum DevBsk {
    Classic(CudaLweBootstrapKey),
    Multi(CudaLweMultiBitBootstrapKey<u64>),
}

pub(crate) fn idx(n: usize, s: &CudaStreams, zero: bool) -> CudaVec<u64> {
    let v: Vec<u64> = (0..n as u64).map(|i| if zero { 0 } else { i }).collect();
    let d = unsafe { CudaVec::from_cpu_async(&v, s, 0) };
    s.synchronize();
    d
}

pub(crate) fn gpu(p: &Params, k: &Keys, o: &Opt, enc: &mut Gen, start: Instant) {
    let s = CudaStreams::new_single_gpu(GpuIndex::new(0));
    let d_ksk = CudaLweKeyswitchKey::from_lwe_keyswitch_key(&k.ksk, &s);
    let d_bsk = match &k.bsk {
        HostBsk::Classic(b) => DevBsk::Classic(CudaLweBootstrapKey::from_lwe_bootstrap_key(
            b,
            p.centered
                .then_some(CudaModulusSwitchNoiseReductionConfiguration::Centered),
            &s,
        )),
        HostBsk::Multi(b) => {
            DevBsk::Multi(CudaLweMultiBitBootstrapKey::from_lwe_multi_bit_bootstrap_key(b, &s))
        }
    };
    // The same keys once more for the ffi mode (the fields of the types above are private).
    let raw = Raw::new(p, k, &s);
    let d_lut = CudaGlweCiphertextList::from_glwe_ciphertext(&k.lut, &s);
    for &b in &o.batches {
        let host = inputs(p, k, b, enc);
        let d_in = CudaLweCiphertextList::from_lwe_ciphertext_list(&host, &s);
        let mut d_ks =
            CudaLweCiphertextList::new(p.lwe_dimension, LweCiphertextCount(b), p.modulus, &s);
        let mut d_out = CudaLweCiphertextList::new(
            k.big_sk.lwe_dimension(),
            LweCiphertextCount(b),
            p.modulus,
            &s,
        );
        let (i_in, i_out, i_lut) = (idx(b, &s, false), idx(b, &s, false), idx(b, &s, true));
        for mode in &o.modes {
            if start.elapsed().as_secs_f64() > o.max_total {
                println!(
                    "{{\"kind\":\"skipped\",\"params\":\"{}\",\"mode\":\"{mode}\",\"batch\":{b}}}",
                    p.name
                );
                continue;
            }
            if mode == "api" {
                let st = time(o.secs, o.reps, || {
                    cuda_keyswitch_lwe_ciphertext(
                        &d_ksk, &d_in, &mut d_ks, &i_in, &i_out, true, &s, true,
                    );
                    match &d_bsk {
                        DevBsk::Classic(k) => cuda_programmable_bootstrap_lwe_ciphertext(
                            &d_ks, &mut d_out, &d_lut, &i_lut, &i_out, &i_in, k, &s,
                        ),
                        DevBsk::Multi(k) => cuda_multi_bit_programmable_bootstrap_lwe_ciphertext(
                            &d_ks, &mut d_out, &d_lut, &i_lut, &i_out, &i_in, k, &s,
                        ),
                    }
                    s.synchronize();
                });
                let (bad, sd) = check(p, k, &d_out.to_lwe_ciphertext_list(&s));
                let mut tail = format!(",\"wrong\":{bad},\"checked\":{b}");
                if o.noise {
                    tail += &format!(",\"out_err_log2_sd\":{sd:.2}");
                }
                report(p, "api", "ks+pbs", b, &st, &tail);
            } else if mode == "ffi" {
                raw.run(p, k, o, &s, &host, b, [&i_in, &i_out, &i_lut]);
            } else {
                usage()
            }
        }
    }
}
