//! The backend on a software device, to the bit against the CPU.

use std::sync::{Arc, OnceLock};

use fhe::noise;
use fhe::params::{LWE_WORDS, SMALL_WORDS};

use super::memory::{KEY_BYTES, TERMS};
use super::*;
use crate::backend::{KernelError, LweBatch, LweSum, Read, SmallBatch, Table};
use crate::conformance::Cases;
use crate::device::{Device, DeviceError, Task};
use crate::rns::{RnsBackend, RnsCpuKey};
use crate::testing::{Random, fixture};
use crate::{Accelerated, Backend, CpuBackend, Gpus};

/// A GPU to test on, by part of its name, in place of the software device.
const DEVICE: &str = "VEILGATE_WGPU_DEVICE";
const SOFTWARE: &str = "llvmpipe";

/// None: this machine has nothing to test on, which is an error in CI.
fn which() -> Option<Which> {
    if let Ok(name) = std::env::var(DEVICE) {
        return Some(Which::Named(name));
    }
    // Every Mac has a GPU; it comes before a software device, if there is one.
    if cfg!(target_os = "macos") {
        return Some(Which::Best);
    }
    if std::env::var_os("VEILGATE_VULKAN_DIR").is_some() {
        return Some(Which::Named(SOFTWARE.to_owned()));
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    assert!(
        !in_ci,
        "VEILGATE_VULKAN_DIR is not set: run `cargo xtask test`"
    );
    eprintln!(
        "not tried: VEILGATE_VULKAN_DIR is not set (`cargo xtask vulkan` prints what sets it)"
    );
    None
}

fn open() -> Option<WgpuDevice> {
    let options = Options {
        which: which()?,
        allow_software: true,
        key_bytes: Some(3 * KEY_BYTES),
        batch: Some(16),
    };
    let device = WgpuDevice::open(&options).unwrap();
    // For the log of a machine that nobody sees: `cargo test -- --nocapture`.
    eprintln!("tested on {}", device.name());
    Some(device)
}

/// Keys of the fixture's two clients in places 0 and 1, and the second's in place 2 as well.
fn device() -> Option<&'static WgpuDevice> {
    static DEVICE: OnceLock<Option<WgpuDevice>> = OnceLock::new();
    let opened = DEVICE.get_or_init(|| {
        let device = open()?;
        for (place, key) in [0, 1, 1].into_iter().enumerate() {
            device.upload(place, &fixture().evaluation[key]).unwrap();
        }
        Some(device)
    });
    opened.as_ref()
}

/// A call's places: its keys are the fixture's second, first, and second again, in another buffer.
const PLACES: [usize; 3] = [1, 0, 2];
const CLIENTS: [usize; 3] = [1, 0, 1];

/// Words near a half, a whole turn, and where digits carry.
const EDGES: [u64; 12] = [
    0,
    1,
    1 << 63,
    (1 << 63) - 1,
    (1 << 63) + 1,
    u64::MAX,
    0x7fff_8000_0000_0000,
    0x8000_8000_0000_0000,
    0x8888_7fff_ffff_ffff,
    0x8888_8888_8888_8888,
    0x7777_8000_0000_0000,
    0xffff_ffff_7fff_ffff,
];

/// Random words, with edges among them, at the end too.
fn words(random: &mut Random, count: usize) -> Vec<u64> {
    let mut word = |at: usize| match at % 7 {
        3 => EDGES[random.next() as usize % EDGES.len()],
        _ => random.next(),
    };
    let mut words: Vec<u64> = (0..count).map(&mut word).collect();
    let ends = words.iter_mut().skip(LWE_WORDS - 1).step_by(LWE_WORDS);
    for (word, edge) in ends.zip(EDGES) {
        *word = edge;
    }
    words
}

fn large(random: &mut Random, keys: Vec<u32>) -> LweBatch {
    LweBatch {
        words: words(random, keys.len() * LWE_WORDS),
        keys,
    }
}

fn small(random: &mut Random, keys: Vec<u32>) -> SmallBatch {
    let words = words(random, keys.len() * SMALL_WORDS);
    let mut words: Vec<u32> = words.iter().map(|word| (word >> 32) as u32).collect();
    // Halfway between two steps of the switch to 2N.
    words
        .iter_mut()
        .step_by(5)
        .for_each(|word| *word = (*word << 20) | 1 << 19);
    // Every other one: a mask that is off by one unit in all, of which half is to be rounded towards zero, and a body that then lies on
    // either side of halfway.
    let odd = words.chunks_exact_mut(SMALL_WORDS).skip(1).step_by(2);
    for (ciphertext, unit) in odd.zip([1, u32::MAX].into_iter().cycle()) {
        ciphertext.iter_mut().for_each(|word| *word &= 0xfff0_0000);
        ciphertext[0] = ciphertext[0].wrapping_add(unit);
        ciphertext[SMALL_WORDS - 1] -= u32::from(unit != 1);
    }
    SmallBatch { words, keys }
}

fn reference() -> &'static (RnsBackend, Vec<Arc<RnsCpuKey>>) {
    static REFERENCE: OnceLock<(RnsBackend, Vec<Arc<RnsCpuKey>>)> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let backend = RnsBackend::new(CpuBackend::new(None).unwrap());
        let expand =
            |&client: &usize| Arc::new(backend.expand(&fixture().evaluation[client]).unwrap());
        let keys = CLIENTS.iter().map(expand).collect();
        (backend, keys)
    })
}

#[test]
fn sums_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    let mut random = Random(51);
    let inputs = large(&mut random, vec![0; 16]);
    let mut terms = |count: usize| -> Vec<(u32, i64)> {
        let weight = |random: &mut Random| EDGES[random.next() as usize % 12] as i64;
        (0..count)
            .map(|i| (i as u32 % 14, weight(&mut random) ^ i as i64))
            .collect()
    };
    let sums = [terms(1), terms(0), terms(200), terms(TERMS + 300), terms(3)];
    let sums: Vec<LweSum<'_>> = sums
        .iter()
        .enumerate()
        .map(|(index, terms)| LweSum {
            base: index % 3,
            terms,
            constant: EDGES[index + 1],
            key: 0,
        })
        .collect();
    let expected = fixture().backend.linear(&inputs, &sums).unwrap();
    let mut out = vec![7; sums.len() * LWE_WORDS];
    assert!(device.linear(&inputs, &sums, &mut out).unwrap());
    assert_eq!(out, expected.words);
    assert!(device.linear(&inputs, &[], &mut []).unwrap());
}

fn keyswitched(device: &WgpuDevice, batch: &LweBatch) -> Vec<u32> {
    let mut out = vec![7; batch.len() * SMALL_WORDS];
    let mut tasks: Vec<Task<'_, u64, u32>> = out
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
    device.keyswitch(&PLACES, &mut tasks).unwrap();
    out
}

#[test]
fn keyswitches_are_those_of_the_cpu() {
    let Some(device) = device() else { return };
    let mut random = Random(52);
    // Of one key more than read it together.
    let keys = vec![0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0];
    let batch = large(&mut random, keys);
    let of_clients = CLIENTS.map(|client| fixture().keys[client].clone());
    let expected = fixture().backend.keyswitch(&of_clients, &batch).unwrap();
    assert_eq!(keyswitched(device, &batch), expected.words);
    assert_eq!(keyswitched(device, &LweBatch::default()), [0; 0]);
}

/// Of each task, the coefficients that are read.
type Reads = Vec<Vec<u32>>;

fn reads_of(reads: &Reads) -> Vec<Vec<Read>> {
    let of_one = |(input, coefficients): (usize, &Vec<u32>)| {
        let read = |&coefficient| Read {
            input: input as u32,
            coefficient,
            // Of some, a few bits alone.
            keep: [Read::WHOLE, 1, 48, 63][coefficient as usize % 4],
        };
        coefficients.iter().map(read).collect()
    };
    reads.iter().enumerate().map(of_one).collect()
}

/// Results of one call, one after the other.
fn looked_up<In>(
    inputs: &[&[In]],
    keys: &[u32],
    uses: &[u32],
    reads: &Reads,
    call: impl FnOnce(&mut [Task<'_, In, u64>]) -> Result<(), DeviceError>,
) -> Result<Vec<u64>, DeviceError> {
    let reads = reads_of(reads);
    let mut outs: Vec<Vec<u64>> = reads
        .iter()
        .map(|reads| vec![7; reads.len() * LWE_WORDS])
        .collect();
    let mut tasks: Vec<Task<'_, In, u64>> = outs
        .iter_mut()
        .enumerate()
        .map(|(index, out)| Task {
            index,
            input: inputs[index],
            key: keys[index],
            table: uses[index],
            reads: &reads[index],
            out,
        })
        .collect();
    call(&mut tasks)?;
    Ok(outs.concat())
}

fn tables(random: &mut Random) -> [Table; 3] {
    let mut table = |bits: u32, step| {
        let entries: Vec<i64> = (0..1 << bits).map(|_| random.next() as i64 >> 44).collect();
        Table::new(&entries, step).unwrap()
    };
    [table(4, 5), table(11, 30), table(0, 1)]
}

#[test]
fn bootstraps_are_those_of_the_reference() {
    let Some(device) = device() else { return };
    let mut random = Random(53);
    let batch = small(&mut random, vec![1, 0, 2, 0]);
    let (tables, uses) = (tables(&mut random), [2, 1, 0, 1]);
    let tables = [&tables[0], &tables[1], &tables[2]];
    let reads: Reads = vec![vec![0, 5, 2047], vec![1024], vec![], vec![2047, 0]];
    let (backend, keys) = reference();
    let all: Vec<Read> = reads_of(&reads).concat();
    let expected = backend
        .bootstrap(keys, &batch, &tables, &uses, &all)
        .unwrap();
    let inputs: Vec<&[u32]> = (0..batch.len()).map(|i| batch.ciphertext(i)).collect();
    let out = looked_up(&inputs, &batch.keys, &uses, &reads, |tasks| {
        device.bootstrap(&PLACES, &tables, tasks)
    });
    assert_eq!(out.unwrap(), expected.words);
    let none = looked_up(
        &[],
        &[],
        &[],
        &vec![],
        |tasks: &mut [Task<'_, u32, u64>]| device.bootstrap(&PLACES, &tables, tasks),
    );
    assert_eq!(none.unwrap(), [0; 0]);
}

#[test]
fn lookups_decrypt_and_are_those_of_the_reference() {
    let Some(device) = device() else { return };
    let values = [3u64, 15, 0, 7];
    let keys = vec![0u32, 1, 2, 1];
    let words = values.iter().enumerate().flat_map(|(index, value)| {
        let client = &fixture().clients[CLIENTS[keys[index] as usize]];
        client.encrypt_word(value << 59, index as u64)
    });
    let batch = LweBatch {
        words: words.collect(),
        keys,
    };
    let entries = [
        (0..16).map(|i| i * 5 - 40).collect::<Vec<i64>>(),
        (0..16).map(|i| 60 - i * i / 2).collect(),
    ];
    let tables = entries
        .each_ref()
        .map(|entries| Table::new(entries, 8).unwrap());
    let tables = [&tables[0], &tables[1]];
    let uses = [0, 1, 0, 0];
    let next = tables[0].box_len() as u32;
    let reads: Reads = vec![vec![0], vec![0], vec![next, 0], vec![next]];
    let read_entries = [(0, 3), (1, 15), (2, 1), (2, 0), (3, 8)];

    let inputs: Vec<&[u64]> = (0..batch.len()).map(|i| batch.ciphertext(i)).collect();
    let out = looked_up(&inputs, &batch.keys, &uses, &reads, |tasks| {
        device.look_up(&PLACES, &tables, tasks)
    })
    .unwrap();
    for ((input, entry), ciphertext) in read_entries.into_iter().zip(out.chunks_exact(LWE_WORDS)) {
        let client = &fixture().clients[CLIENTS[batch.keys[input] as usize]];
        let expected = entries[uses[input] as usize][entry] as u64;
        let error = client.phase(ciphertext).wrapping_sub(expected << 56);
        let error = error as i64 as f64 / 2f64.powi(64);
        let bound = noise::bound_2m128(noise::bootstrapped());
        assert!(error.abs() < bound, "input {input}: {error:e}");
    }
    let (backend, keys) = reference();
    let small = backend.keyswitch(keys, &batch).unwrap();
    let all: Vec<Read> = reads_of(&reads).concat();
    let expected = backend
        .bootstrap(keys, &small, &tables, &uses, &all)
        .unwrap();
    assert_eq!(out, expected.words);
}

#[test]
fn what_a_device_cannot_take_is_an_error() {
    let Some(device) = device() else { return };
    let limit = device.batch();
    assert_eq!((limit, device.places()), (16, 3));
    let batch = LweBatch::zeros(vec![0; limit + 1]);
    let sums = device.linear(&batch, &[], &mut []);
    let too_large = KernelError::TooLarge { got: 17, limit: 16 }.to_string();
    assert!(matches!(sums, Ok(false)), "{sums:?}");
    let table = Table::new(&[1], 3).unwrap();
    let reads: Reads = vec![vec![0; limit + 1]];
    let lookup = looked_up(&[batch.ciphertext(0)], &[0], &[0], &reads, |tasks| {
        device.look_up(&PLACES, &[&table], tasks)
    });
    assert_eq!(lookup.unwrap_err().to_string(), too_large);
    let upload = device.upload(3, &fixture().evaluation[0]);
    assert!(matches!(upload, Err(DeviceError::Asked(_))), "{upload:?}");
    let linear = device.upload(0, &fixture().linear.1);
    assert!(matches!(linear, Err(DeviceError::Asked(_))), "{linear:?}");
}

#[test]
fn a_device_that_is_lost_or_has_no_key_says_so() {
    let Some(device) = open() else { return };
    let batch = LweBatch::zeros(vec![0; 2]);
    let table = Table::new(&[1], 3).unwrap();
    let reads: Reads = vec![vec![0]];
    let look_up = || {
        looked_up(&[batch.ciphertext(0)], &[0], &[0], &reads, |tasks| {
            device.look_up(&[2], &[&table], tasks)
        })
    };
    let without_key = look_up();
    assert!(
        matches!(without_key, Err(DeviceError::Asked(_))),
        "{without_key:?}"
    );
    device.with_gpu(|gpu| gpu.device.destroy());
    let lost = look_up();
    assert!(matches!(lost, Err(DeviceError::Lost(_))), "{lost:?}");
    let sums = device.linear(&batch, &[], &mut []);
    assert!(matches!(sums, Err(DeviceError::Lost(_))), "{sums:?}");
}

#[test]
fn what_the_driver_refuses_is_an_error_once() {
    let Some(device) = open() else { return };
    let too_large = wgpu::BufferDescriptor {
        label: None,
        size: 1 << 60,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    };
    device.with_gpu(|gpu| drop(gpu.device.create_buffer(&too_large)));
    let batch = LweBatch::zeros(vec![0]);
    let sums = [LweSum {
        base: 0,
        terms: &[(0, 1)],
        constant: 5,
        key: 0,
    }];
    let mut out = vec![7; LWE_WORDS];
    let refused = device.linear(&batch, &sums, &mut out);
    assert!(
        matches!(refused, Err(DeviceError::Driver(_))),
        "{refused:?}"
    );
    assert!(device.linear(&batch, &sums, &mut out).unwrap());
    assert_eq!((out[0], out[LWE_WORDS - 1]), (0, 5));
}

#[test]
fn work_that_was_not_done_is_an_error() {
    let Some(device) = open() else { return };
    device.with_gpu(|gpu| {
        let all = gpu.confirm(gpu.encoder());
        assert!(all.is_ok(), "{all:?}");
        // A dispatch of two workgroups that no one runs.
        gpu.receipt.expect([1, 2, 1]);
        let some = gpu.confirm(gpu.encoder());
        assert!(matches!(some, Err(DeviceError::Driver(_))), "{some:?}");
        // The next call counts anew.
        gpu.receipt.begin(&gpu.queue);
        let all = gpu.confirm(gpu.encoder());
        assert!(all.is_ok(), "{all:?}");
    });
}

#[test]
fn a_software_device_is_found_and_opened_only_for_who_asks() {
    if which() != Some(Which::Named(SOFTWARE.to_owned())) {
        return;
    }
    let found = WgpuDevice::found();
    let software: Vec<_> = found.iter().filter(|found| found.software).collect();
    assert!(
        software
            .iter()
            .any(|found| found.name.contains(SOFTWARE) && found.unfit.is_none()),
        "{found:?}"
    );
    for found in &software {
        let refused = WgpuDevice::open(&Options {
            which: Which::Index(found.index),
            ..Options::default()
        });
        assert!(matches!(refused, Err(OpenError::Software(_))));
    }
}

#[test]
fn random_programs_are_computed_as_by_the_reference() {
    let Some(device) = open() else { return };
    let gpus = Gpus::new(vec![Box::new(device)], |failed| panic!("{failed:?}"));
    let backend = Accelerated::new(CpuBackend::new(None).unwrap(), Some(gpus));
    let reference = RnsBackend::new(CpuBackend::new(None).unwrap());
    let cases = Cases::random(71, 3).unwrap();
    assert_eq!(cases.run(backend).unwrap(), cases.run(reference).unwrap());
}
