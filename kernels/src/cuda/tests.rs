//! Kernels, whole, on the CPU, each against the reference; then the device that launches them. So both are known to be right
//! before they meet a GPU.
#![allow(unsafe_code)]

use std::sync::Arc;

use fhe::params::{LWE_WORDS, POLYNOMIAL_SIZE as N, SMALL_DIMENSION, SMALL_WORDS};

use super::args::*;
use super::constants::{Factors, roots};
use super::device::{About, CudaDevice, KEY_BYTES, Method};
use super::emulation::{Emulation, library};
use super::runtime::{Kernel, Runtime};
use crate::backend::*;
use crate::cpu::{CpuBackend, Switched};
use crate::device::{Device, DeviceError, Task};
use crate::rns::{PRIMES, RnsBackend, RnsKey, rotate};
use crate::survey::Budget;
use crate::testing::{Random, fixture};

fn words(random: &mut Random, count: usize) -> Vec<u64> {
    (0..count).map(|_| random.next()).collect()
}

fn address<T>(of: &[T]) -> Address {
    of.as_ptr() as Address
}

/// Launches a kernel in both orders.
fn launch<A: KernelArgs>(kernel: Kernel, blocks: usize, args: &A, mut check: impl FnMut(bool)) {
    for downwards in [false, true] {
        let emulation = Emulation {
            downwards,
            ..Emulation::new(0)
        };
        // SAFETY: the test's own arguments.
        unsafe { emulation.launch(0, kernel, blocks, args) }.unwrap();
        check(downwards);
    }
}

#[test]
fn kernels_are_launched_as_their_headers_say() {
    for kernel in Kernel::ALL {
        let number = |what: &str| {
            let name = format!("{what}_of_{}\0", kernel.name());
            // SAFETY: a function without arguments.
            unsafe {
                let of = library().get::<unsafe extern "C" fn() -> u32>(name.as_bytes());
                of.unwrap()()
            }
        };
        let shape = (number("threads"), number("shared"));
        assert_eq!(kernel.shape(), shape, "{kernel:?}");
    }
}

#[test]
fn the_exact_rotation_is_that_of_the_reference_to_the_bit() {
    let mut random = Random(41);
    // Any words are a key: what is compared is arithmetic.
    let standard = [0, 1].map(|_| words(&mut random, SMALL_DIMENSION * 4 * N));
    let keys = standard.each_ref().map(|standard| RnsKey::new(standard));
    let tables = [0, 1, 2].map(|_| words(&mut random, N));
    let cases = [
        (0usize, 2usize, vec![0u32, 5, 2047]),
        (1, 0, vec![1024]),
        (0, 1, vec![]),
    ];
    let turns: Vec<u16> = words(&mut random, cases.len() * SMALL_WORDS)
        .iter()
        .map(|word| (word % (2 * N as u64)) as u16)
        .collect();

    let mut expected = Vec::new();
    for ((key, table, reads), turns) in cases.iter().zip(turns.chunks_exact(SMALL_WORDS)) {
        let (mask, body) = turns.split_at(SMALL_DIMENSION);
        let turned = rotate(&keys[*key], &tables[*table], mask, body[0]);
        expected.extend(reads.iter().flat_map(|&at| turned.extract(at as usize)));
    }

    let key_words = keys.each_ref().map(|key| address(key.words()));
    let key_of: Vec<u32> = cases.iter().map(|case| case.0 as u32).collect();
    let table_of: Vec<u32> = cases.iter().map(|case| case.1 as u32).collect();
    let reads: Vec<u32> = cases
        .iter()
        .flat_map(|case| case.2.iter().map(|&at| at | Read::WHOLE << 16))
        .collect();
    let mut reads_of = vec![0u32];
    for case in &cases {
        reads_of.push(reads_of[reads_of.len() - 1] + case.2.len() as u32);
    }
    let tables: Vec<u64> = tables.concat();
    let factors = PRIMES.map(Factors::of);
    let twiddles = factors.each_ref().map(|factors| Twiddles {
        forward: address(&factors.forward),
        backward: address(&factors.backward),
        scale: factors.scale,
    });
    let out = vec![0u64; reads.len() * LWE_WORDS];
    let args = RotateRns {
        lookups: Lookups {
            key_of: address(&key_of),
            table_of: address(&table_of),
            turns: address(&turns),
            reads_of: address(&reads_of),
            tables: address(&tables),
            reads: address(&reads),
            out: address(&out),
        },
        keys: address(&key_words),
        twiddles,
    };
    launch(Kernel::RotateRns, cases.len(), &args, |downwards| {
        assert_eq!(written(&out), expected, "downwards: {downwards}");
    });

    // And the form of the key itself, of its first and last polynomials.
    let polynomials = SMALL_DIMENSION * 4;
    for first in [0, polynomials - 3] {
        let out = vec![0u32; 3 * 2 * N];
        let args = ConvertRns {
            input: address(&standard[0][first * N..]),
            out: address(&out),
            twiddles,
        };
        launch(Kernel::ConvertRns, 3, &args, |_| {
            let expected = &keys[0].words()[first * 2 * N..][..3 * 2 * N];
            assert_eq!(written(&out), expected);
        });
    }
}

/// What kernels wrote, read anew: the compiler is not to know it.
fn written<T: Clone>(out: &[T]) -> Vec<T> {
    std::hint::black_box(out).to_vec()
}

#[test]
fn keys_are_transformed_by_the_roots_that_rotations_use() {
    let mut random = Random(42);
    let standard = words(&mut random, 8 * N);
    let roots = roots();
    let out = vec![[0f64; 2]; 8 * N / 2];
    let args = ConvertFft {
        input: address(&standard),
        out: address(&out),
        roots: address(&roots),
    };
    launch(Kernel::ConvertFft, 2, &args, |_| {
        for (polynomial, points) in standard.chunks_exact(N).zip(written(&out).chunks(N / 2)) {
            // Point k is the polynomial at an odd power of a root of X^N + 1: all of them by definition is slow, three are not.
            for at in [0usize, 1, 777] {
                // 32 lane + j at 32 j + lane.
                let point = points[32 * (at % 32) + at / 32];
                let angle = angle_of(at);
                let terms = polynomial.iter().enumerate().map(|(power, &word)| {
                    let value = word as i64 as f64 / 2f64.powi(74);
                    let turned = angle * power as f64;
                    [value * turned.cos(), value * turned.sin()]
                });
                let sum = terms.fold([0.0, 0.0], |a, b| [a[0] + b[0], a[1] + b[1]]);
                let far = (sum[0] - point[0]).hypot(sum[1] - point[1]);
                assert!(far < 1e-9, "point {at}: {sum:?} and {point:?}");
            }
        }
    });
}

/// The angle of the root of X^1024 - i that a transform's point is at: group by group, the low half has the root and the high
/// half its negative.
fn angle_of(point: usize) -> f64 {
    use std::f64::consts::{FRAC_PI_2, PI};
    let mut angle = FRAC_PI_2;
    for stage in 0..10 {
        angle /= 2.0;
        if point >> (9 - stage) & 1 == 1 {
            angle += PI;
        }
    }
    angle
}

#[test]
fn sums_are_those_of_the_cpu() {
    let mut random = Random(43);
    let inputs = LweBatch {
        words: words(&mut random, 5 * LWE_WORDS),
        keys: vec![0; 5],
    };
    let rows: Vec<Vec<(u32, i64)>> = (0..11)
        .map(|row| {
            let terms = (0..4).map(|input| ((input + row / 10) % 4, random.next() as i64));
            terms.collect()
        })
        .collect();
    let mut sums: Vec<LweSum<'_>> = rows
        .iter()
        .map(|terms| LweSum {
            base: 1,
            terms,
            constant: random.next(),
            key: 0,
        })
        .collect();
    let nothing = LweSum {
        terms: &[],
        ..sums[0]
    };
    sums.insert(3, nothing);
    let device = emulated(Method::Exact, 0);
    let mut out = vec![0; sums.len() * LWE_WORDS];
    assert!(device.linear(&inputs, &sums, &mut out).unwrap());
    let expected = fixture().backend.linear(&inputs, &sums).unwrap();
    assert_eq!(out, expected.words);
    // Several pieces, and one sum over more than there are buffers for.
    let many: Vec<LweSum<'_>> = (0..300).map(|index| sums[index % sums.len()]).collect();
    let mut out = vec![0; many.len() * LWE_WORDS];
    assert!(device.linear(&inputs, &many, &mut out).unwrap());
    let expected = fixture().backend.linear(&inputs, &many).unwrap();
    assert_eq!(out, expected.words);
    let far = [(0u32, 1i64), (64, 1)];
    let wide = LweSum {
        base: 0,
        terms: &far,
        ..nothing
    };
    let inputs = LweBatch::zeros(vec![0; 65]);
    assert!(!device.linear(&inputs, &[wide], &mut out).unwrap());
}

/// A device of one multiprocessor with memory for two keys, which are in it.
fn emulated(method: Method, keys: usize) -> CudaDevice<Emulation> {
    let about = About {
        name: "an emulated device".to_owned(),
        method,
        multiprocessors: 1,
    };
    let device = CudaDevice::new(
        Emulation::new(1 << 30),
        about,
        Budget {
            key_bytes: 2 * KEY_BYTES as u64,
        },
    );
    let device = device.unwrap();
    assert_eq!(device.places(), 2);
    for place in 0..keys {
        // The second key comes first: places are not keys.
        device
            .upload(place, &fixture().evaluation[1 - place])
            .unwrap();
    }
    device
}

/// 70 ciphertexts with runs of keys that make tiles of all sizes, more than a piece holds.
#[test]
fn keyswitches_are_those_of_the_cpu() {
    let fixture = fixture();
    let device = emulated(Method::Exact, 2);
    let mut random = Random(44);
    let keys: Vec<u32> = [vec![1; 1], vec![0; 49], vec![1; 20]].concat();
    let mut batch = LweBatch {
        words: words(&mut random, keys.len() * LWE_WORDS),
        keys,
    };
    // Where roundings are decided.
    let edges = [
        0,
        u64::MAX,
        1 << 63,
        (1 << 63) - 1,
        1 << 47,
        3 << 46,
        0x8000 << 47,
    ];
    for (index, word) in batch.words.iter_mut().enumerate().take(9 * LWE_WORDS) {
        *word = edges[index % edges.len()] ^ (*word >> 60 & u64::from(index % 3 == 0));
    }
    let expected = fixture.backend.keyswitch(&fixture.keys, &batch).unwrap();
    let mut out = SmallBatch::zeros(batch.keys.clone());
    let mut tasks: Vec<Task<'_, u64, u32>> = out
        .words
        .chunks_exact_mut(SMALL_WORDS)
        .enumerate()
        .map(|(index, out)| Task {
            index,
            input: batch.ciphertext(index),
            key: batch.keys[index],
            table: 0,
            reads: &[],
            out,
        })
        .collect();
    // A launch that fails is an error, and the next one is as good as without it.
    *device.runtime().failure.lock() = Some(DeviceError::Driver("broken".to_owned()));
    let failed = device.keyswitch(&[1, 0], &mut tasks);
    assert!(matches!(failed, Err(DeviceError::Driver(_))));
    device.keyswitch(&[1, 0], &mut tasks).unwrap();
    assert_eq!(out, expected);
    let memory = device.memory().unwrap();
    let share = memory.used as f64 / memory.taken as f64;
    assert!((0.9..=1.0).contains(&share), "{memory:?}");
    // And what it is switched to.
    let turns = vec![0u16; out.words.len()];
    let args = ModulusSwitch {
        input: address(&out.words),
        turns: address(&turns),
    };
    launch(Kernel::ModulusSwitch, out.len(), &args, |_| {
        for (index, turns) in written(&turns).chunks_exact(SMALL_WORDS).enumerate() {
            let switched = Switched::new(out.ciphertext(index));
            assert_eq!(turns[..SMALL_DIMENSION], *switched.turns());
            assert_eq!(turns[SMALL_DIMENSION], switched.body());
        }
    });
}

struct Asked {
    batch: LweBatch,
    tables: [Table; 2],
    entries: [Vec<i64>; 2],
    uses: Vec<u32>,
    reads: Vec<Read>,
    /// Of each read, which entry it is.
    read_entries: Vec<usize>,
}

/// Lookups of two keys.
fn asked(count: usize) -> Asked {
    let fixture = fixture();
    let values = [3u64, 15, 0, 7, 8, 12];
    let keys = vec![0u32, 1, 1, 0, 1, 0];
    let ciphertexts = values.iter().zip(&keys).enumerate();
    let words = ciphertexts.flat_map(|(index, (&value, &key))| {
        fixture.clients[key as usize].encrypt_word(value << 59, index as u64)
    });
    let entries = [
        (0..16).map(|i| i * 5 - 40).collect::<Vec<i64>>(),
        (0..16).map(|i| 60 - i * i / 2).collect(),
    ];
    // Of each the entry that it points at, and of one the next as well.
    let mut reads = Read::plain(count);
    reads.insert(
        3,
        Read {
            input: 2,
            coefficient: (N / 16) as u32,
            keep: 24,
        },
    );
    let mut words: Vec<u64> = words.collect();
    words.truncate(count * LWE_WORDS);
    Asked {
        batch: LweBatch {
            words,
            keys: keys[..count].to_vec(),
        },
        tables: entries
            .each_ref()
            .map(|entries| Table::new(entries, 8).unwrap()),
        entries,
        uses: [0, 1, 0, 1, 1, 0][..count].to_vec(),
        reads,
        read_entries: vec![3, 15, 0, 1, 7, 8, 12],
    }
}

fn look_up(device: &CudaDevice<Emulation>, asked: &Asked) -> Result<Vec<u64>, DeviceError> {
    let mut out = vec![0u64; asked.reads.len() * LWE_WORDS];
    let mut rest = &mut out[..];
    let mut tasks: Vec<Task<'_, u64, u64>> = Vec::new();
    for input in 0..asked.batch.len() {
        let start = asked
            .reads
            .partition_point(|read| (read.input as usize) < input);
        let end = asked
            .reads
            .partition_point(|read| (read.input as usize) <= input);
        let (own, others) = rest.split_at_mut((end - start) * LWE_WORDS);
        rest = others;
        tasks.push(Task {
            index: input,
            input: asked.batch.ciphertext(input),
            key: asked.batch.keys[input],
            table: asked.uses[input],
            reads: &asked.reads[start..end],
            out: own,
        });
    }
    let tables: Vec<&Table> = asked.tables.iter().collect();
    // Key 0 is in place 1.
    device.look_up(&[1, 0], &tables, &mut tasks)?;
    Ok(out)
}

#[test]
fn an_exact_device_looks_up_what_the_reference_does_to_the_bit() {
    let device = emulated(Method::Exact, 2);
    let asked = asked(3);
    let reference = RnsBackend::new(CpuBackend::new(None).unwrap());
    let keys: Vec<_> = fixture()
        .evaluation
        .iter()
        .map(|key| Arc::new(reference.expand(key).unwrap()))
        .collect();
    let tables: Vec<&Table> = asked.tables.iter().collect();
    let mut timings = Timings::default();
    let (batch, uses, reads) = (&asked.batch, &asked.uses, &asked.reads);
    let expected = reference.look_up(&keys, batch, &tables, uses, reads, &mut timings);
    let expected = expected.unwrap().words;
    assert_eq!(look_up(&device, &asked).unwrap(), expected);
}

#[test]
fn a_device_with_fourier_transforms_looks_up_with_the_noise_that_is_predicted() {
    // Blocks that are full and one that is not.
    let asked = asked(6);
    let mut both = Vec::new();
    let mut device = emulated(Method::Fourier { together: 4 }, 2);
    for downwards in [false, true] {
        device.runtime_mut().downwards = downwards;
        both.push(look_up(&device, &asked).unwrap());
    }
    assert_eq!(both[0], both[1], "a thread does not wait for another one");
    let kernels = [1, 2, 3].map(|together| {
        let device = emulated(Method::Fourier { together }, 2);
        assert_eq!(look_up(&device, &asked).unwrap(), both[0], "{together}");
        let last = device.runtime().launches.lock().pop();
        last.unwrap()
    });
    let expected = [(1, 6), (2, 3), (3, 2)].map(|(n, blocks)| (Kernel::RotateFft(n), blocks));
    assert_eq!(kernels, expected);
    let results = both[0].chunks_exact(LWE_WORDS);
    for ((read, entry), ciphertext) in asked.reads.iter().zip(&asked.read_entries).zip(results) {
        let input = read.input as usize;
        let expected = asked.entries[asked.uses[input] as usize][*entry] as u64;
        let client = &fixture().clients[asked.batch.keys[input] as usize];
        let phase = client.phase(ciphertext);
        let error = phase.wrapping_sub(expected << 56) as i64 as f64 / 2f64.powi(64);
        let bound = fhe::noise::bound_2m128(fhe::noise::bootstrapped());
        assert!(error.abs() < bound, "input {input}: {error:e}");
    }
}

#[test]
fn a_device_with_too_little_memory_says_how_much_it_needs() {
    let about = About {
        name: "a small device".to_owned(),
        method: Method::Exact,
        multiprocessors: 1,
    };
    let device = CudaDevice::new(Emulation::new(100 << 20), about, Budget::default());
    let Err(DeviceError::OutOfMemory(why)) = device.map(|_| ()) else {
        panic!("it has no room for a key");
    };
    assert!(why.contains("MB are needed"), "{why}");
}
