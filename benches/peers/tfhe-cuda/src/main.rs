//! tfhe-rs' CUDA backend, measured: keyswitch and bootstrap of batches of ciphertexts, inputs and keys on the device, one JSON object
//! a line.

use std::time::Instant;

use tfhe::core_crypto::prelude::*;

use crate::cpu::cpu;
use crate::device::gpu_info;
use crate::gpu::gpu;
use crate::keys::{Gen, keygen};
use crate::params::{Params, classic, multi_bit};

mod cpu;
mod device;
mod gpu;
mod keys;
mod params;
mod raw;
mod timing;

const TFHE_VERSION: &str = "1.8.2";
const CUDA_BACKEND_VERSION: &str = "0.16.0";

pub(crate) struct Opt {
    pub(crate) batches: Vec<usize>,
    pub(crate) sets: Vec<Params>,
    pub(crate) modes: Vec<String>,
    pub(crate) secs: f64,
    pub(crate) reps: usize,
    pub(crate) noise: bool,
    pub(crate) cpu: bool,
    pub(crate) max_total: f64,
}

pub(crate) fn usage() -> ! {
    eprintln!(
        "tfhe-peer: tfhe-rs {TFHE_VERSION} CUDA keyswitch+PBS benchmark (device code for sm_90 only, polynomial size 2048 only)\n\
         options: --batches 1,32,264,1056,4224   batch sizes\n\
         \x20        --sets classic,multibit        parameter sets\n\
         \x20        --modes api,ffi                api: tfhe-rs core_crypto calls (scratch allocated in each call); ffi: the same kernels, scratch kept\n\
         \x20        --secs 1.5  --reps 50          time and count limit of one case\n\
         \x20        --max-total 200                no new case after this many seconds\n\
         \x20        --noise                        adds the standard deviation of the output error (log2 of the torus)\n\
         \x20        --cpu                          no GPU: the same parameters and check on the CPU (self test; small batches)"
    );
    std::process::exit(2)
}

pub(crate) fn parse() -> Opt {
    let mut o = Opt {
        batches: vec![1, 32, 264, 1056, 4224],
        sets: vec![classic(), multi_bit()],
        modes: vec!["api".into(), "ffi".into()],
        secs: 1.5,
        reps: 50,
        noise: false,
        cpu: false,
        max_total: 200.0,
    };
    let mut a = std::env::args().skip(1);
    while let Some(x) = a.next() {
        let mut val = || a.next().unwrap_or_else(|| usage());
        match x.as_str() {
            "--batches" => {
                o.batches = val()
                    .split(',')
                    .map(|s| s.parse().unwrap_or_else(|_| usage()))
                    .collect()
            }
            "--sets" => {
                o.sets = val()
                    .split(',')
                    .map(|s| match s {
                        "classic" => classic(),
                        "multibit" => multi_bit(),
                        _ => usage(),
                    })
                    .collect()
            }
            "--modes" => o.modes = val().split(',').map(str::to_owned).collect(),
            "--secs" => o.secs = val().parse().unwrap_or_else(|_| usage()),
            "--reps" => o.reps = val().parse().unwrap_or_else(|_| usage()),
            "--max-total" => o.max_total = val().parse().unwrap_or_else(|_| usage()),
            "--noise" => o.noise = true,
            "--cpu" => o.cpu = true,
            _ => usage(),
        }
    }
    if o.batches.iter().any(|&b| b == 0) {
        usage()
    }
    o
}

pub(crate) fn main() {
    let o = parse();
    println!(
        "{{\"kind\":\"peer\",\"tfhe\":\"{TFHE_VERSION}\",\"tfhe_cuda_backend\":\"{CUDA_BACKEND_VERSION}\",\"device_code\":\"sm_90\",\"nvcc\":\"13.0.88\"}}"
    );
    if !o.cpu {
        gpu_info();
    }
    let start = Instant::now();
    for p in &o.sets {
        println!(
            "{{\"kind\":\"params\",\"params\":\"{}\",\"n\":{},\"k\":{},\"N\":{},\"pbs_base_log\":{},\"pbs_level\":{},\"ks_base_log\":{},\"ks_level\":{},\"grouping\":{},\"lwe_noise\":\"{:?}\",\"glwe_noise\":\"{:?}\",\"log2_p_fail\":{},\"centered_ms\":{}}}",
            p.name,
            p.lwe_dimension.0,
            p.glwe_dimension.0,
            p.polynomial_size.0,
            p.pbs_base_log.0,
            p.pbs_level.0,
            p.ks_base_log.0,
            p.ks_level.0,
            p.grouping.map_or(1, |g| g.0),
            p.lwe_noise,
            p.glwe_noise,
            p.log2_p_fail,
            p.centered
        );
        let mut seeder = new_seeder();
        let seeder = seeder.as_mut();
        let mut sec = SecretRandomGenerator::<DefaultRandomGenerator>::new(seeder.seed());
        let mut enc = Gen::new(seeder.seed(), seeder);
        let t = Instant::now();
        let keys = keygen(p, &mut enc, &mut sec);
        println!(
            "{{\"kind\":\"keygen\",\"params\":\"{}\",\"s\":{:.2}}}",
            p.name,
            t.elapsed().as_secs_f64()
        );
        if o.cpu {
            cpu(p, &keys, &o, &mut enc);
        } else {
            gpu(p, &keys, &o, &mut enc, start);
        }
    }
    println!(
        "{{\"kind\":\"end\",\"s\":{:.1}}}",
        start.elapsed().as_secs_f64()
    );
}
