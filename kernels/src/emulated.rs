//! CUDA kernels, whole, on the CPU: the same device code, compiled by the machine's C++ compiler, with blocks, threads and
//! barriers emulated; held against the reference. So a kernel is known to be right before it meets a GPU.
#![allow(unsafe_code)]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE as N, SMALL_DIMENSION};
use libloading::Library;

use crate::cpu::Switched;
use crate::rns::{PRIMES, Prime, RnsKey, rotate, to_q};
use crate::testing::{Random, fixture};
use crate::{Backend, LweBatch, Table};

/// A factor, and ⌊factor · 2^32 / p⌋ beside it.
#[repr(C, align(8))]
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
struct Lookups {
    key_of: *const u32,
    table_of: *const u32,
    turns: *const u16,
    reads_of: *const u32,
    tables: *const u64,
    reads: *const u32,
    out: *mut u64,
}

#[repr(C)]
struct RotateRns {
    lookups: Lookups,
    keys: *const *const u32,
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
fn emulation() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/emulated.cpp");
        let library = folder.path().join("emulated.so");
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let mut command = Command::new(&compiler);
        command.args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared"]);
        if cfg!(target_os = "linux") {
            command.arg("-Werror");
        }
        // Elsewhere coroutines of POSIX are there only for who asks.
        command.args(["-D_XOPEN_SOURCE=700", "-D_DARWIN_C_SOURCE", "-o"]);
        let built = command.arg(&library).arg(&source).status();
        let built = built.unwrap_or_else(|error| {
            panic!("{compiler}: {error}; a C++ compiler is needed (apt-get install g++)")
        });
        assert!(built.success(), "{compiler} does not take the kernels");
        // It runs no code of its own when it is loaded.
        unsafe { Library::new(&library) }.unwrap()
    })
}

#[test]
fn the_exact_rotation_is_that_of_the_reference_to_the_bit() {
    let library = emulation();
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
        lookups: Lookups {
            key_of: key_of.as_ptr(),
            table_of: table_of.as_ptr(),
            turns: turns.as_ptr(),
            reads_of: reads_of.as_ptr(),
            tables: tables.as_ptr(),
            reads: reads.as_ptr(),
            out: out.as_mut_ptr(),
        },
        keys: key_words.as_ptr(),
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

#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
struct Complex {
    re: f64,
    im: f64,
}

#[repr(C)]
struct RotateFft {
    lookups: Lookups,
    ciphertexts: u32,
    keys: *const *const Complex,
    roots: *const Complex,
}

const POINTS: usize = N / 2;

/// At 2^s + g, the root by which group g of stage s splits.
fn roots() -> Vec<Complex> {
    let mut angles = vec![0.0; POINTS];
    angles[1] = std::f64::consts::FRAC_PI_4;
    for at in 2..POINTS {
        let turned = if at % 2 == 1 {
            std::f64::consts::PI
        } else {
            0.0
        };
        angles[at] = (angles[at / 2] + turned) / 2.0;
    }
    let root = |angle: f64| Complex {
        re: angle.cos(),
        im: angle.sin(),
    };
    angles.into_iter().map(root).collect()
}

/// The roots as the kernel reads them: of each five stages the first stage's, and then those of groups with an even number; first
/// those that all lanes share, and then for each place 32 lanes side by side.
fn laid_out(roots: &[Complex]) -> Vec<Complex> {
    const LANES: usize = 32;
    // Of the five stages that begin with this group.
    let of = |first: usize, place: usize| match place {
        0 => roots[first],
        _ => {
            let stage = place.ilog2() + 1;
            let group = 2 * place - (1 << stage);
            roots[(first << stage) + group]
        }
    };
    let shared = (0..16).map(|place| of(1, place));
    let of_lanes = (0..16).flat_map(|place| (0..LANES).map(move |lane| of(LANES + lane, place)));
    shared.chain(of_lanes).collect()
}

/// A polynomial of a key as the kernel reads it: in turns, divided by the number of points, point 32 lane + j at 32 j + lane.
fn key_points(polynomial: &[u64], roots: &[Complex]) -> Vec<Complex> {
    let turns = |word: u64| word as i64 as f64 / 2f64.powi(64) / POINTS as f64;
    let mut points: Vec<Complex> = (0..POINTS)
        .map(|j| Complex {
            re: turns(polynomial[j]),
            im: turns(polynomial[j + POINTS]),
        })
        .collect();
    let mut half = POINTS / 2;
    while half > 0 {
        let groups = POINTS / 2 / half;
        for (group, pair) in points.chunks_exact_mut(2 * half).enumerate() {
            let root = roots[groups + group];
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                let turned = Complex {
                    re: b.re * root.re - b.im * root.im,
                    im: b.re * root.im + b.im * root.re,
                };
                *b = Complex {
                    re: a.re - turned.re,
                    im: a.im - turned.im,
                };
                *a = Complex {
                    re: a.re + turned.re,
                    im: a.im + turned.im,
                };
            }
        }
        half /= 2;
    }
    (0..POINTS)
        .map(|at| points[32 * (at % 32) + at / 32])
        .collect()
}

#[test]
fn the_rotation_by_fourier_transforms_decrypts_with_the_noise_that_is_predicted() {
    let library = emulation();
    let fixture = fixture();
    let roots = roots();
    let keys: Vec<Vec<Complex>> = fixture
        .evaluation
        .iter()
        .map(|key| {
            let standard = key
                .bootstrap()
                .unwrap()
                .par_decompress_into_lwe_bootstrap_key();
            let polynomials = standard.as_ref().chunks_exact(N);
            polynomials.flat_map(|p| key_points(p, &roots)).collect()
        })
        .collect();
    let key_points: Vec<*const Complex> = keys.iter().map(|key| key.as_ptr()).collect();
    // Six ciphertexts of two keys: a block that is full and one that is not.
    let values = [3u64, 15, 0, 7, 8, 12];
    let key_of = [0u32, 1, 1, 0, 1, 0];
    let table_of = [0u32, 1, 0, 1, 1, 0];
    let words = values
        .iter()
        .zip(key_of)
        .enumerate()
        .flat_map(|(index, (&value, key))| {
            fixture.clients[key as usize].encrypt_word(value << 59, index as u64)
        });
    let batch = LweBatch {
        words: words.collect(),
        keys: key_of.to_vec(),
    };
    let small = fixture.backend.keyswitch(&fixture.keys, &batch).unwrap();
    let turns: Vec<u16> = (0..values.len())
        .flat_map(|index| {
            let switched = Switched::new(small.ciphertext(index));
            [switched.turns(), &[switched.body()]].concat()
        })
        .collect();
    let entries = [
        (0..16).map(|i| i * 5 - 40).collect::<Vec<i64>>(),
        (0..16).map(|i| 60 - i * i / 2).collect(),
    ];
    let tables: Vec<u64> = entries
        .iter()
        .flat_map(|entries| Table::new(entries, 8).unwrap().polynomial())
        .collect();
    // Of each the entry that it points at, and of one the next as well.
    let reads = [0u32, 0, 0, (N / 16) as u32, 0, 0, 0];
    let read_values = [(0, 3), (1, 15), (2, 0), (2, 1), (3, 7), (4, 8), (5, 12)];
    let reads_of = [0u32, 1, 2, 4, 5, 6, 7];
    let laid_out = laid_out(&roots);
    let mut out = vec![0u64; reads.len() * LWE_WORDS];
    let args = RotateFft {
        lookups: Lookups {
            key_of: key_of.as_ptr(),
            table_of: table_of.as_ptr(),
            turns: turns.as_ptr(),
            reads_of: reads_of.as_ptr(),
            tables: tables.as_ptr(),
            reads: reads.as_ptr(),
            out: out.as_mut_ptr(),
        },
        ciphertexts: values.len() as u32,
        keys: key_points.as_ptr(),
        roots: laid_out.as_ptr(),
    };
    type Run = unsafe extern "C" fn(*const RotateFft, bool);
    // As above.
    let run = unsafe { library.get::<Run>(b"emulated_rotate_fft\0") }.unwrap();
    let mut both = Vec::new();
    for downwards in [false, true] {
        out.fill(0);
        unsafe { run(&args, downwards) };
        both.push(out.clone());
    }
    assert_eq!(both[0], both[1], "a thread does not wait for another one");
    for ((input, entry), ciphertext) in read_values.into_iter().zip(out.chunks_exact(LWE_WORDS)) {
        let expected = entries[table_of[input] as usize][entry] as u64;
        let phase = fixture.clients[key_of[input] as usize].phase(ciphertext);
        let error = phase.wrapping_sub(expected << 56) as i64 as f64 / 2f64.powi(64);
        let bound = fhe::noise::bound_2m128(fhe::noise::bootstrapped());
        assert!(error.abs() < bound, "input {input}: {error:e}");
        println!("input {input}: 2^{:.1}", error.abs().log2());
    }
}
