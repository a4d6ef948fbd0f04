//! By the functions of its backend, with memory that is kept: `ffi`, the best that it can do.

use std::ffi::c_void;

use tfhe::core_crypto::gpu::CudaStreams;
use tfhe::core_crypto::gpu::vec::CudaVec;
use tfhe::core_crypto::prelude::*;
use tfhe_cuda_backend::bindings as ffi;
use tfhe_cuda_backend::cuda_bind as cb;

use crate::Opt;
use crate::keys::{HostBsk, Keys, check};
use crate::params::Params;
use crate::timing::{report, time};

/// Plain device memory, freed on drop.
pub(crate) struct Dev(*mut c_void);
impl Dev {
    fn new(bytes: usize, s: &CudaStreams) -> Self {
        let p = unsafe { cb::cuda_malloc_async(bytes as u64, s.ptr[0], 0) };
        Dev(p)
    }
    fn from(v: &[u64], s: &CudaStreams) -> Self {
        let d = Self::new(v.len() * 8, s);
        unsafe {
            cb::cuda_memcpy_async_to_gpu(d.0, v.as_ptr().cast(), (v.len() * 8) as u64, s.ptr[0], 0)
        };
        s.synchronize();
        d
    }
}
impl Drop for Dev {
    fn drop(&mut self) {
        unsafe { cb::cuda_drop(self.0, 0) }
    }
}

pub(crate) struct Raw {
    pub(crate) ksk: Dev,
    pub(crate) bsk: Dev,
    pub(crate) lut: Dev,
}

impl Raw {
    pub(crate) fn new(p: &Params, k: &Keys, s: &CudaStreams) -> Self {
        let (st, n, g, nn, l) = (
            s.ptr[0],
            p.lwe_dimension.0 as u32,
            p.glwe_dimension.0 as u32,
            p.polynomial_size.0 as u32,
            p.pbs_level.0 as u32,
        );
        let bsk = unsafe {
            match &k.bsk {
                HostBsk::Classic(b) => {
                    let d = Dev::new(b.as_ref().len() * 8, s);
                    ffi::cuda_convert_lwe_programmable_bootstrap_key_64_async(
                        st,
                        0,
                        d.0,
                        b.as_ref().as_ptr().cast(),
                        n,
                        g,
                        l,
                        nn,
                    );
                    d
                }
                HostBsk::Multi(b) => {
                    let d = Dev::new(b.as_ref().len() * 8, s);
                    ffi::cuda_convert_lwe_multi_bit_programmable_bootstrap_key_64_async(
                        st,
                        0,
                        d.0,
                        b.as_ref().as_ptr().cast(),
                        n,
                        g,
                        l,
                        nn,
                        p.grouping.unwrap().0 as u32,
                    );
                    d
                }
            }
        };
        s.synchronize();
        Raw {
            ksk: Dev::from(k.ksk.as_ref(), s),
            bsk,
            lut: Dev::from(k.lut.as_ref(), s),
        }
    }

    pub(crate) fn run(
        &self,
        p: &Params,
        k: &Keys,
        o: &Opt,
        s: &CudaStreams,
        host: &LweCiphertextListOwned<u64>,
        b: usize,
        ix: [&CudaVec<u64>; 3],
    ) {
        let big = k.big_sk.lwe_dimension().0;
        let d_in = Dev::from(host.as_ref(), s);
        let d_ks = Dev::new((p.lwe_dimension.0 + 1) * b * 8, s);
        let d_out = Dev::new((big + 1) * b * 8, s);
        let st = s.ptr[0];
        let (n, g, nn, l, bl) = (
            p.lwe_dimension.0 as u32,
            p.glwe_dimension.0 as u32,
            p.polynomial_size.0 as u32,
            p.pbs_level.0 as u32,
            p.pbs_base_log.0 as u32,
        );
        let [i_in, i_out, i_lut] = ix.map(|v| v.ptr[0].cast_const());
        let mut buf: *mut i8 = std::ptr::null_mut();
        let scratch = unsafe {
            match p.grouping {
                None => ffi::scratch_cuda_programmable_bootstrap_64_async(
                    st,
                    0,
                    &mut buf,
                    n,
                    g,
                    nn,
                    l,
                    b as u32,
                    true,
                    if p.centered {
                        ffi::PBS_MS_REDUCTION_T_CENTERED
                    } else {
                        ffi::PBS_MS_REDUCTION_T_NO_REDUCTION
                    },
                ),
                Some(_) => ffi::scratch_cuda_multi_bit_programmable_bootstrap_64_async(
                    st, 0, &mut buf, g, nn, l, b as u32, true,
                ),
            }
        };
        let ks = || unsafe {
            ffi::cuda_keyswitch_gemm_64_64_async(
                st,
                0,
                d_ks.0,
                i_out,
                d_in.0,
                i_in,
                self.ksk.0,
                big as u32,
                n,
                p.ks_base_log.0 as u32,
                p.ks_level.0 as u32,
                b as u32,
                true,
            )
        };
        let pbs = || unsafe {
            match p.grouping {
                None => ffi::cuda_programmable_bootstrap_64_async(
                    st, 0, d_out.0, i_out, self.lut.0, i_lut, d_ks.0, i_in, self.bsk.0, buf, n, g,
                    nn, bl, l, b as u32, 1, 0,
                ),
                Some(gf) => ffi::cuda_multi_bit_programmable_bootstrap_64_async(
                    st,
                    0,
                    d_out.0,
                    i_out,
                    self.lut.0,
                    i_lut,
                    d_ks.0,
                    i_in,
                    self.bsk.0,
                    buf,
                    n,
                    g,
                    nn,
                    gf.0 as u32,
                    bl,
                    l,
                    b as u32,
                    1,
                    0,
                ),
            }
        };
        let both = time(o.secs, o.reps, || {
            ks();
            pbs();
            s.synchronize();
        });
        let mut out =
            LweCiphertextList::new(0u64, LweSize(big + 1), LweCiphertextCount(b), p.modulus);
        unsafe {
            cb::cuda_memcpy_async_to_cpu(
                out.as_mut().as_mut_ptr().cast(),
                d_out.0,
                ((big + 1) * b * 8) as u64,
                st,
                0,
            )
        };
        s.synchronize();
        let (bad, sd) = check(p, k, &out);
        let mut tail = format!(",\"wrong\":{bad},\"checked\":{b},\"scratch_bytes\":{scratch}");
        if o.noise {
            tail += &format!(",\"out_err_log2_sd\":{sd:.2}");
        }
        report(p, "ffi", "ks+pbs", b, &both, &tail);
        let only = time(o.secs / 3.0, o.reps, || {
            ks();
            s.synchronize();
        });
        report(p, "ffi", "ks", b, &only, "");
        let only = time(o.secs / 3.0, o.reps, || {
            pbs();
            s.synchronize();
        });
        report(p, "ffi", "pbs", b, &only, "");
        unsafe {
            match p.grouping {
                None => ffi::cleanup_cuda_programmable_bootstrap_64(st, 0, &mut buf),
                Some(_) => ffi::cleanup_cuda_multi_bit_programmable_bootstrap_64(st, 0, &mut buf),
            }
        }
        s.synchronize();
    }
}
