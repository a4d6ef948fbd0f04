//! Permits under threads, and the bound on keys.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock::NANOS_PER_MS;
use crate::primitives::RawCircuitSpec;

fn breaker(probes: u32) -> Arc<Breaker> {
    with_min_calls(probes, 10)
}

fn with_min_calls(probes: u32, min_calls: u32) -> Arc<Breaker> {
    let raw = RawCircuitSpec {
        window_ms: 60_000,
        min_calls,
        failure_rate: 0.5,
        slow_call_ms: 0,
        slow_rate: 0.0,
        open_for_ms: 1000,
        probes,
    };
    Arc::new(Breaker::new(CircuitSpec::new(raw).unwrap()))
}

const FAILED: Settlement = Settlement {
    failure: true,
    latency_us: 1,
};
const PASSED: Settlement = Settlement {
    failure: false,
    latency_us: 1,
};

#[test]
fn threads_together_get_no_more_probes_than_there_are() {
    let breaker = breaker(3);
    for _ in 0..10 {
        let (_, permit) = breaker.admit("k", 0);
        permit.unwrap().settle(FAILED, 0);
    }
    let now = 1000 * NANOS_PER_MS;
    let (probes, held) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    match breaker.admit("k", now) {
                        (Admission::Probe, Some(permit)) => {
                            probes.fetch_add(1, Ordering::SeqCst);
                            held.lock().push(permit);
                        }
                        (Admission::Refuse { .. }, None) => {}
                        (other, _) => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(probes.load(Ordering::SeqCst), 3);
    // Two are lost, and go out again; three must pass.
    let mut held = held.into_inner();
    held.truncate(1);
    for _ in 0..2 {
        let (admission, permit) = breaker.admit("k", now);
        assert_eq!(admission, Admission::Probe);
        held.extend(permit);
    }
    assert!(matches!(
        breaker.admit("k", now),
        (Admission::Refuse { .. }, None)
    ));
    for permit in held {
        assert_eq!(breaker.state("k", now), CircuitState::HalfOpen);
        permit.settle(PASSED, now);
    }
    assert_eq!(breaker.state("k", now), CircuitState::Closed);
}

#[test]
fn every_settled_call_is_counted_once_across_threads() {
    // So many that it never opens: every result counts.
    let breaker = with_min_calls(1, 1_000_000);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let breaker = &breaker;
            scope.spawn(move || {
                for n in 0..500 {
                    let (_, permit) = breaker.admit("k", 0);
                    let permit = permit.unwrap();
                    // One in four is dropped unsettled, one in four fails.
                    match (thread + n) % 4 {
                        0 => drop(permit),
                        1 => permit.settle(FAILED, 0),
                        _ => permit.settle(PASSED, 0),
                    }
                }
            });
        }
    });
    let snapshot = &breaker.snapshot(0)[0];
    assert_eq!(
        (snapshot.calls, snapshot.failures, snapshot.times_opened),
        (3000, 1000, 0)
    );
}

#[test]
fn keys_are_bounded_and_idle_ones_make_room() {
    let breaker = breaker(1);
    for n in 0..MAX_BREAKER_KEYS {
        let (_, permit) = breaker.admit(&format!("k{n}"), 0);
        permit.unwrap().settle(PASSED, 0);
    }
    assert!(matches!(
        breaker.admit("one-more", 0),
        (Admission::Pass, None)
    ));
    breaker.force("one-more", CircuitState::Open, 0, 0);
    assert_eq!(breaker.state("one-more", 0), CircuitState::Closed);
    // A minute later none of them counts any more.
    let later = 120_000 * NANOS_PER_MS;
    assert!(matches!(
        breaker.admit("one-more", later),
        (Admission::Pass, Some(_))
    ));
    assert_eq!(breaker.snapshot(later).len(), 1);
    assert!(matches!(
        breaker.admit(&"x".repeat(MAX_BREAKER_KEY_BYTES + 1), later),
        (Admission::Pass, None)
    ));
}
