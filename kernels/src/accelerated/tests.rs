use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fhe::params::LWE_WORDS;
use parking_lot::Mutex;

use super::*;
use crate::testing::card::{CpuCard, Script};
use crate::testing::{Random, fixture};

/// A backend with these cards, their scripts, and how often one has failed.
fn machine(cards: Vec<CpuCard>) -> (Accelerated, Vec<Arc<Mutex<Script>>>, Arc<AtomicUsize>) {
    let scripts = cards.iter().map(|card| card.script.clone()).collect();
    let devices = cards
        .into_iter()
        .map(|card| Box::new(card) as Box<dyn Device>);
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let gpus = Gpus::new(devices.collect(), move |failed| {
        assert!(failed.card.starts_with("a card"));
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let cpu = CpuBackend::new(Some(1)).unwrap();
    (Accelerated::new(cpu, Some(gpus)), scripts, failures)
}

fn keys(backend: &Accelerated) -> Vec<Arc<AcceleratedKey>> {
    let expand = |key| Arc::new(backend.expand(key).unwrap());
    fixture().evaluation.iter().map(expand).collect()
}

struct Lookups {
    batch: LweBatch,
    tables: [Table; 2],
    uses: Vec<u32>,
    reads: Vec<Read>,
}

/// Lookups of both keys and both tables; of some inputs nothing is read, of some twice, and not in the order of inputs.
fn lookups(count: usize) -> Lookups {
    let mut random = Random(7);
    let keys: Vec<u32> = (0..count).map(|_| random.next() as u32 % 2).collect();
    let words = (0..count * LWE_WORDS).map(|_| random.next()).collect();
    let table = |step: i64| Table::new(&(0..16).map(|i| i * step).collect::<Vec<_>>(), 8).unwrap();
    let mut reads: Vec<Read> = Vec::new();
    for input in (0..count as u32).rev() {
        for read in 0..input % 3 {
            reads.push(Read {
                input,
                coefficient: read * 128,
                keep: if input % 4 == 1 { 20 } else { Read::WHOLE },
            });
        }
    }
    Lookups {
        batch: LweBatch { words, keys },
        tables: [table(3), table(-5)],
        uses: (0..count as u32).map(|index| index / 2 % 2).collect(),
        reads,
    }
}

/// Holds what a backend gives against the CPU's, by one call and by two.
fn check(backend: &Accelerated, asked: &Lookups) {
    let tables: Vec<&Table> = asked.tables.iter().collect();
    let (batch, uses, reads) = (&asked.batch, &asked.uses, &asked.reads);
    let mut timings = Timings::default();
    let fixture = fixture();
    let expected = fixture
        .backend
        .look_up(&fixture.keys, batch, &tables, uses, reads, &mut timings)
        .unwrap();
    let keys = keys(backend);
    let got = backend.look_up(&keys, batch, &tables, uses, reads, &mut timings);
    assert_eq!(got.unwrap(), expected);
    assert_eq!(timings.bootstraps, 2 * batch.len());
    let small = backend.keyswitch(&keys, batch).unwrap();
    assert_eq!(
        small,
        fixture.backend.keyswitch(&fixture.keys, batch).unwrap()
    );
    let got = backend.bootstrap(&keys, &small, &tables, uses, reads);
    assert_eq!(got.unwrap(), expected);
}

#[test]
fn a_card_computes_what_the_cpu_does_in_calls_that_it_takes() {
    let (backend, scripts, failures) = machine(vec![CpuCard::new(2, 4)]);
    check(&backend, &lookups(11));
    let script = scripts[0].lock();
    assert_eq!(script.uploads.len(), 2, "each key once");
    assert!(script.calls.iter().all(|&call| call <= 4));
    assert!(script.calls.len() >= 8);
    assert_eq!(failures.load(Ordering::Relaxed), 0);
}

#[test]
fn keys_take_turns_in_one_place_and_a_card_with_less_memory_than_it_said_uses_what_it_has() {
    for (places, memory) in [(1, 1), (8, 1)] {
        let (backend, scripts, failures) = machine(vec![CpuCard::new(places, 64)]);
        scripts[0].lock().memory = memory;
        check(&backend, &lookups(6));
        assert!(scripts[0].lock().uploads.len() >= 4, "two keys, in turn");
        assert_eq!(failures.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn two_cards_share_the_work() {
    let (backend, scripts, _) = machine(vec![CpuCard::new(2, 64), CpuCard::new(2, 64)]);
    check(&backend, &lookups(12));
    assert!(scripts.iter().all(|script| !script.lock().calls.is_empty()));
}

#[test]
fn what_a_card_fails_at_another_one_does_and_after_that_the_cpu() {
    let broken = || DeviceError::Driver("broken".to_owned());
    let (backend, scripts, failures) = machine(vec![CpuCard::new(2, 3), CpuCard::new(2, 3)]);
    scripts[0].lock().failures.push(broken());
    check(&backend, &lookups(9));
    assert_eq!(failures.load(Ordering::Relaxed), 1);
    let calls = scripts[0].lock().calls.len();
    assert_eq!(calls, 1, "a card that failed rests");

    let (backend, scripts, failures) = machine(vec![CpuCard::new(2, 3)]);
    scripts[0]
        .lock()
        .failures
        .push(DeviceError::Lost("gone".to_owned()));
    check(&backend, &lookups(9));
    assert_eq!(failures.load(Ordering::Relaxed), 1, "one line, and no more");
    assert_eq!(scripts[0].lock().calls.len(), 1);

    // No memory for a single key.
    let (backend, scripts, failures) = machine(vec![CpuCard::new(2, 3)]);
    scripts[0].lock().memory = 0;
    check(&backend, &lookups(3));
    assert_eq!(failures.load(Ordering::Relaxed), 1);
}

#[test]
fn a_failure_in_the_middle_loses_nothing() {
    // The second call of three fails; failures are taken from the end.
    for at in 0..3 {
        let (backend, scripts, failures) = machine(vec![CpuCard::new(2, 2)]);
        let asked = lookups(8);
        let tables: Vec<&Table> = asked.tables.iter().collect();
        let keys = keys(&backend);
        let mut timings = Timings::default();
        let first = lookups(at * 2);
        backend.keyswitch(&keys, &first.batch).unwrap();
        scripts[0]
            .lock()
            .failures
            .push(DeviceError::OutOfMemory("full".to_owned()));
        let got = backend
            .look_up(
                &keys,
                &asked.batch,
                &tables,
                &asked.uses,
                &asked.reads,
                &mut timings,
            )
            .unwrap();
        let fixture = fixture();
        let expected = fixture.backend.look_up(
            &fixture.keys,
            &asked.batch,
            &tables,
            &asked.uses,
            &asked.reads,
            &mut timings,
        );
        assert_eq!(got, expected.unwrap());
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn sums_go_to_a_card_when_there_are_enough_of_them() {
    let (backend, scripts, _) = machine(vec![CpuCard::new(1, 64)]);
    let batch = lookups(4).batch;
    let batch = LweBatch {
        keys: vec![0; 4],
        ..batch
    };
    for (terms, calls) in [(2, 0), (40, 1)] {
        let terms: Vec<(u32, i64)> = (0..terms)
            .map(|term| (term % 4, i64::from(term) - 9))
            .collect();
        let sum = LweSum {
            base: 0,
            terms: &terms,
            constant: 5,
            key: 0,
        };
        let got = backend.linear(&batch, &[sum, sum]).unwrap();
        assert_eq!(got, fixture().backend.linear(&batch, &[sum, sum]).unwrap());
        assert_eq!(scripts[0].lock().calls.len(), calls);
    }
    // It fails: the CPU does it.
    scripts[0]
        .lock()
        .failures
        .push(DeviceError::Driver("broken".to_owned()));
    let terms: Vec<(u32, i64)> = (0..40).map(|term| (term % 4, 3)).collect();
    let sum = LweSum {
        base: 0,
        terms: &terms,
        constant: 5,
        key: 0,
    };
    let got = backend.linear(&batch, &[sum]).unwrap();
    assert_eq!(got, fixture().backend.linear(&batch, &[sum]).unwrap());
}

#[test]
fn wrong_work_is_an_error_and_no_failure_of_a_card() {
    let (backend, scripts, failures) = machine(vec![CpuCard::new(1, 64)]);
    let keys = keys(&backend);
    let asked = lookups(3);
    let tables: Vec<&Table> = asked.tables.iter().collect();
    let mut timings = Timings::default();
    let mut strange = asked.batch.clone();
    strange.keys[1] = 2;
    let got = backend.look_up(
        &keys,
        &strange,
        &tables,
        &asked.uses,
        &asked.reads,
        &mut timings,
    );
    assert!(matches!(got, Err(KernelError::Shape(_))), "{got:?}");
    let linear = Arc::new(backend.expand(&fixture().linear.1).unwrap());
    let got = backend.keyswitch(&[keys[0].clone(), linear], &asked.batch);
    assert!(matches!(got, Err(KernelError::NoBootstrapKey)), "{got:?}");
    assert!(scripts[0].lock().calls.is_empty());
    assert_eq!(failures.load(Ordering::Relaxed), 0);
}

#[test]
fn what_cards_do_and_what_they_leave_is_counted() {
    let (backend, scripts, _) = machine(vec![CpuCard::new(2, 4)]);
    let gpus = backend.gpus.clone().unwrap();
    let (keys, asked) = (keys(&backend), lookups(9));
    let tables: Vec<&Table> = asked.tables.iter().collect();
    let look_up = || {
        let (batch, uses, reads) = (&asked.batch, &asked.uses, &asked.reads);
        let mut timings = Timings::default();
        backend
            .look_up(&keys, batch, &tables, uses, reads, &mut timings)
            .unwrap();
    };
    let counted = || {
        let one = gpus.counts().next().unwrap();
        (one.ciphertexts, one.uploads, gpus.left())
    };
    // Nothing is read of every third.
    look_up();
    assert_eq!(counted(), (6, 2, 0));
    look_up();
    assert_eq!(counted(), (12, 2, 0));
    scripts[0]
        .lock()
        .failures
        .push(DeviceError::Lost("gone".to_owned()));
    look_up();
    assert_eq!(counted(), (12, 2, 6));
}
