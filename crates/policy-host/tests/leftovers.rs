//! Swapping and compiling without end: what is dropped is gone. In a binary of its own, one after the other, since the memory and the
//! mappings of the whole process are what is measured. Only Linux tells of them as files.
#![cfg(target_os = "linux")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Bench, bare, exchange, now};
use policy_host::{Chain, InstanceChoice, Outcome, Policy, PolicySpec};

static ALONE: Mutex<()> = Mutex::new(());

fn answering(status: u16) -> Vec<u8> {
    bare(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const {status})) (i32.const 1024)"
    ))
}

fn status(chain: &Chain) -> u16 {
    match now(chain.on_request(&mut exchange(&[]))) {
        Outcome::Respond(response) => response.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

/// What this process holds: memory in KiB, and how many mappings (compiled code is in mappings of its own).
#[derive(Debug, Clone, Copy)]
struct Held {
    kib: u64,
    mappings: usize,
}

fn held() -> Held {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    Held {
        kib: number.parse().unwrap(),
        mappings: maps.lines().count(),
    }
}

#[track_caller]
fn check(before: Held, kib: u64, mappings: usize) {
    let after = held();
    assert!(
        after.kib < before.kib + kib && after.mappings < before.mappings + mappings,
        "{before:?}, then {after:?}"
    );
}

#[test]
fn ten_thousand_swaps_leave_nothing_behind() {
    let _alone = ALONE.lock();
    let bench = Bench::with_workers(1);
    let guests = [answering(201), answering(202)];
    let mut serving: Option<Arc<Policy>> = None;
    let mut swap = |number: usize| {
        let mut spec = PolicySpec::new("p", guests[number % 2].clone());
        // Configurations differ, so that nothing is taken for the one before.
        spec.limits.fuel = 1_000_000 + number as u64;
        let next = bench
            .load(spec)
            .unwrap_or_else(|error| panic!("swap {number}: {error}"));
        let chain = Chain::new(vec![next.clone()]);
        assert_eq!(usize::from(status(&chain)), 201 + number % 2);
        serving = Some(next);
    };
    (0..1000).for_each(&mut swap);
    let warm = held();
    (1000..10_000).for_each(&mut swap);
    // Nine thousand instances hold some 200 MiB.
    check(warm, 16 * 1024, 50);
}

#[test]
fn modules_that_are_compiled_and_dropped_leave_nothing_behind() {
    let _alone = ALONE.lock();
    let bench = Bench::with_workers(1);
    let load = |number: u16| {
        // Every one is new to the compiler.
        let policy = bench
            .load(PolicySpec::new("p", answering(200 + number)))
            .unwrap();
        assert_eq!(status(&Chain::new(vec![policy])), 200 + number);
    };
    // More than the compiler remembers, and than there are places for instances: each is mapped when it is first used.
    (0..80).for_each(load);
    let warm = held();
    (80..140).for_each(load);
    // Sixty modules have two mappings each, at the least.
    check(warm, 16 * 1024, 50);
}

#[test]
fn a_fresh_instance_remembers_nothing_and_a_warm_one_does() {
    let _alone = ALONE.lock();
    // Answers 201, then 202, and so on, as long as its memory is the same.
    let counting = bare(
        "(i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
         (i32.store8 (i32.const 1024) (i32.const 1))
         (i32.store16 (i32.const 1028) (i32.add (i32.const 200) (i32.load (i32.const 512)))) (i32.const 1024)",
    );
    let bench = Bench::with_workers(1);
    let seen = |instance: InstanceChoice| {
        let mut spec = PolicySpec::new("p", counting.clone());
        spec.instance = instance;
        let policy = bench.load(spec).unwrap();
        let chain = Chain::new(vec![policy.clone()]);
        let seen = [(); 3].map(|()| status(&chain));
        assert_eq!(policy.stats().calls, 3);
        seen
    };
    assert_eq!(seen(InstanceChoice::Warm), [201, 202, 203]);
    assert_eq!(seen(InstanceChoice::PerRequest), [201, 201, 201]);
}
