//! CUDA kernels, whole, on the CPU: the same device code, compiled by the machine's C++ compiler, with blocks, threads and
//! barriers emulated; held against the reference. So a kernel is known to be right before it meets a GPU.
#![allow(unsafe_code)]

use std::path::Path;
use std::process::Command;

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE as N, SMALL_DIMENSION};
use kernels::rns::{PRIMES, Prime, RnsKey, rotate, to_q};
use libloading::Library;

/// A factor, and ⌊factor · 2^32 / p⌋ beside it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Factor {
    w: u32,
    w_over_p: u32,
}

#[repr(C)]
struct Twiddles {
    forward: *const Factor,
    backward: *const Factor,
    scale: Factor,
}

#[repr(C)]
struct RotateRns {
    keys: *const *const u32,
    key_of: *const u32,
    table_of: *const u32,
    turns: *const u16,
    reads_of: *const u32,
    tables: *const u64,
    reads: *const u32,
    out: *mut u64,
    twiddles: [Twiddles; 2],
}

fn factor(prime: Prime, w: u32) -> Factor {
    Factor {
        w,
        w_over_p: ((u64::from(w) << 32) / u64::from(prime.p)) as u32,
    }
}

/// Powers of a root, in bit-reversed order.
fn powers(prime: Prime, root: u32) -> Vec<Factor> {
    let reversed = |at: usize| (at as u32).reverse_bits() >> (u32::BITS - N.ilog2());
    (0..N)
        .map(|at| factor(prime, prime.pow(root, reversed(at))))
        .collect()
}

/// Compiled anew for each run of the tests: it takes seconds, and a stale one would be worse.
fn emulation(folder: &Path) -> Library {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/emulated.cpp");
    let library = folder.join("emulated.so");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let built = Command::new(&compiler)
        .args([
            "-std=c++17",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
            "-o",
        ])
        .arg(&library)
        .arg(&source)
        .status()
        .unwrap_or_else(|error| {
            panic!("{compiler}: {error}; a C++ compiler is needed (apt-get install g++)")
        });
    assert!(built.success(), "{compiler} does not take the kernels");
    // It runs no code of its own when it is loaded.
    unsafe { Library::new(&library) }.unwrap()
}

/// Numbers for tests, the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[test]
fn the_rotation_is_that_of_the_reference_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let library = emulation(folder.path());
    let mut random = Random(41);
    // Any words are a key: what is compared is arithmetic.
    let mut words = |count: usize| (0..count).map(|_| random.next()).collect::<Vec<u64>>();
    let keys = [
        words(SMALL_DIMENSION * 4 * N),
        words(SMALL_DIMENSION * 4 * N),
    ];
    let keys = keys.map(|standard| RnsKey::new(&standard));
    let tables = [words(N), words(N), words(N)];
    let cases = [
        (0usize, 2usize, vec![0u32, 5, 2047]),
        (1, 0, vec![1024]),
        (0, 1, vec![]),
    ];
    let turns: Vec<u16> = words(cases.len() * (SMALL_DIMENSION + 1))
        .iter()
        .map(|word| (word % (2 * N as u64)) as u16)
        .collect();

    let mut expected = Vec::new();
    for ((key, table, reads), turns) in cases.iter().zip(turns.chunks_exact(SMALL_DIMENSION + 1)) {
        let (mask, body) = turns.split_at(SMALL_DIMENSION);
        let turned = rotate(&keys[*key], &tables[*table], mask, body[0]);
        expected.extend(reads.iter().flat_map(|&at| turned.extract(at as usize)));
    }

    let key_words = keys.each_ref().map(|key| key.words().as_ptr());
    let key_of: Vec<u32> = cases.iter().map(|case| case.0 as u32).collect();
    let table_of: Vec<u32> = cases.iter().map(|case| case.1 as u32).collect();
    let reads: Vec<u32> = cases.iter().flat_map(|case| case.2.clone()).collect();
    let mut reads_of = vec![0u32];
    for case in &cases {
        reads_of.push(reads_of[reads_of.len() - 1] + case.2.len() as u32);
    }
    let tables: Vec<u64> = tables.iter().flatten().map(|&word| to_q(word)).collect();
    let factors = PRIMES.map(|prime| {
        let backward = powers(prime, prime.inverse(prime.root));
        (
            powers(prime, prime.root),
            backward,
            factor(prime, prime.inverse(N as u32)),
        )
    });
    let twiddles = factors
        .each_ref()
        .map(|(forward, backward, scale)| Twiddles {
            forward: forward.as_ptr(),
            backward: backward.as_ptr(),
            scale: *scale,
        });
    let mut out = vec![0u64; reads.len() * LWE_WORDS];
    let args = RotateRns {
        keys: key_words.as_ptr(),
        key_of: key_of.as_ptr(),
        table_of: table_of.as_ptr(),
        turns: turns.as_ptr(),
        reads_of: reads_of.as_ptr(),
        tables: tables.as_ptr(),
        reads: reads.as_ptr(),
        out: out.as_mut_ptr(),
        twiddles,
    };
    type Run = unsafe extern "C" fn(*const RotateRns, u32, bool);
    // The function has this type in emulated.cpp, and everything that `args` points at lives to the end of this one.
    let run = unsafe { library.get::<Run>(b"emulated_rotate_rns\0") }.unwrap();
    for downwards in [false, true] {
        out.fill(0);
        unsafe { run(&args, cases.len() as u32, downwards) };
        assert_eq!(out, expected, "downwards: {downwards}");
    }
}
