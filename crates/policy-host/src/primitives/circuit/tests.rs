//! The transition table, each row; and random lives against a model that keeps every call.

use proptest::prelude::*;

use super::*;

const MS: u64 = NANOS_PER_MS;

fn raw() -> RawCircuitSpec {
    RawCircuitSpec {
        window_ms: 1000,
        min_calls: 4,
        failure_rate: 0.5,
        slow_call_ms: 0,
        slow_rate: 0.0,
        open_for_ms: 500,
        probes: 2,
    }
}

fn spec() -> CircuitSpec {
    CircuitSpec::new(raw()).unwrap()
}

fn call(circuit: &mut Circuit, spec: &CircuitSpec, failure: bool, now: u64) -> bool {
    let admitted = !matches!(circuit.admit(spec, now), Admission::Refuse { .. });
    if admitted {
        circuit.settle(
            spec,
            circuit.generation(),
            Settlement {
                failure,
                latency_us: 1000,
            },
            now,
        );
    }
    admitted
}

/// Opened at `now`.
fn opened(spec: &CircuitSpec, now: u64) -> Circuit {
    let mut circuit = Circuit::new();
    for _ in 0..4 {
        assert!(call(&mut circuit, spec, true, now));
    }
    assert_eq!(circuit.state(now), CircuitState::Open);
    circuit
}

#[test]
fn it_opens_at_the_rate_and_not_below_the_least_number_of_calls() {
    let spec = spec();
    let mut circuit = Circuit::new();
    for failure in [true, true, true] {
        call(&mut circuit, &spec, failure, 0);
    }
    assert_eq!(
        circuit.state(0),
        CircuitState::Closed,
        "three calls are too few"
    );
    call(&mut circuit, &spec, false, 0);
    assert_eq!(circuit.state(0), CircuitState::Open, "three of four");
    assert_eq!(
        circuit.admit(&spec, 100 * MS),
        Admission::Refuse {
            retry_after_ms: 400
        }
    );
    assert_eq!(
        (circuit.times_opened(), circuit.open_for_ms(100 * MS)),
        (1, 400)
    );
}

#[test]
fn failures_leave_with_the_window() {
    let spec = spec();
    let mut circuit = Circuit::new();
    for _ in 0..3 {
        call(&mut circuit, &spec, true, 0);
    }
    for n in 0..5 {
        call(&mut circuit, &spec, false, 1000 * MS + n);
    }
    assert_eq!(circuit.state(2000 * MS), CircuitState::Closed);
    assert_eq!(circuit.counts(&spec, 1000 * MS), (5, 0, 0));
    assert!(circuit.is_idle(&spec, 5000 * MS));
}

#[test]
fn slow_calls_open_it_as_well() {
    let spec = CircuitSpec::new(RawCircuitSpec {
        slow_call_ms: 100,
        slow_rate: 0.75,
        failure_rate: 0.0,
        ..raw()
    })
    .unwrap();
    let mut circuit = Circuit::new();
    for latency_us in [100_000, 99_999, 100_000] {
        circuit.settle(
            &spec,
            0,
            Settlement {
                failure: true,
                latency_us,
            },
            0,
        );
    }
    assert_eq!(circuit.state(0), CircuitState::Closed);
    circuit.settle(
        &spec,
        0,
        Settlement {
            failure: false,
            latency_us: 500_000,
        },
        0,
    );
    assert_eq!(circuit.state(0), CircuitState::Open);
}

#[test]
fn probes_close_it_when_all_pass() {
    let spec = spec();
    let mut circuit = opened(&spec, 0);
    let now = 500 * MS;
    assert_eq!(circuit.state(now), CircuitState::HalfOpen);
    assert_eq!(circuit.would_admit(&spec, now), Admission::Probe);
    assert_eq!(circuit.admit(&spec, now), Admission::Probe);
    let generation = circuit.generation();
    assert_eq!(circuit.admit(&spec, now), Admission::Probe);
    assert!(
        matches!(circuit.admit(&spec, now), Admission::Refuse { .. }),
        "both probes are out"
    );
    circuit.abandon(generation);
    assert_eq!(
        circuit.admit(&spec, now),
        Admission::Probe,
        "one came back uncounted"
    );
    let passed = Settlement {
        failure: false,
        latency_us: 1,
    };
    circuit.settle(&spec, generation, passed, now);
    assert_eq!(circuit.state(now), CircuitState::HalfOpen);
    circuit.settle(&spec, generation, passed, now);
    assert_eq!(circuit.state(now), CircuitState::Closed);
}

#[test]
fn one_failed_probe_opens_it_and_late_answers_change_nothing() {
    let spec = spec();
    let mut circuit = opened(&spec, 0);
    let late = circuit.generation();
    let now = 500 * MS;
    circuit.admit(&spec, now);
    let generation = circuit.generation();
    circuit.admit(&spec, now);
    circuit.settle(
        &spec,
        generation,
        Settlement {
            failure: true,
            latency_us: 1,
        },
        now,
    );
    assert_eq!(circuit.state(now), CircuitState::Open);
    let before = circuit.clone();
    for old in [0, late, generation] {
        circuit.settle(
            &spec,
            old,
            Settlement {
                failure: false,
                latency_us: 1,
            },
            now,
        );
        circuit.abandon(old);
    }
    assert_eq!(circuit, before);
}

#[test]
fn it_can_be_forced() {
    let spec = spec();
    let mut circuit = Circuit::new();
    circuit.force(&spec, CircuitState::Open, 50, 0);
    assert_eq!(
        (circuit.state(49 * MS), circuit.state(50 * MS)),
        (CircuitState::Open, CircuitState::HalfOpen)
    );
    circuit.force(&spec, CircuitState::Closed, 0, 0);
    assert_eq!(circuit.admit(&spec, 0), Admission::Pass);
    circuit.force(&spec, CircuitState::HalfOpen, 0, 0);
    assert_eq!(circuit.admit(&spec, 0), Admission::Probe);
    circuit.force(&spec, CircuitState::Open, 0, 0);
    assert_eq!(circuit.state(499 * MS), CircuitState::Open);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |change: fn(&mut RawCircuitSpec)| {
        let mut raw = raw();
        change(&mut raw);
        assert!(CircuitSpec::new(raw).is_err(), "{raw:?}");
    };
    check(|raw| raw.window_ms = 9);
    check(|raw| raw.window_ms = MAX_SPAN_MS + 1);
    check(|raw| raw.min_calls = 0);
    check(|raw| raw.failure_rate = f32::NAN);
    check(|raw| raw.failure_rate = 1.5);
    check(|raw| raw.failure_rate = -0.1);
    check(|raw| raw.failure_rate = 0.0);
    check(|raw| raw.slow_rate = 0.5);
    check(|raw| raw.open_for_ms = 0);
    check(|raw| raw.probes = 0);
    check(|raw| raw.probes = MAX_PROBES + 1);
}

/// The same rules, told by a list of every call since it last closed, and dates.
struct Model {
    calls: Vec<(u64, bool)>,
    open_until: Option<u64>,
    probes: Option<u32>,
}

impl Model {
    fn call(&mut self, failure: bool, now: u64) -> bool {
        if let Some(until) = self.open_until {
            if now < until {
                return false;
            }
            self.open_until = None;
            self.probes = Some(0);
        }
        match (self.probes, failure) {
            (Some(_), true) => {
                self.probes = None;
                self.open_until = Some(now + 500 * MS);
            }
            (Some(passed), false) if passed + 1 == 2 => {
                self.probes = None;
                self.calls.clear();
            }
            (Some(passed), false) => self.probes = Some(passed + 1),
            (None, _) => self.closed_call(failure, now),
        }
        true
    }

    fn closed_call(&mut self, failure: bool, now: u64) {
        self.calls.push((now, failure));
        let tenth = |at: u64| at / (100 * MS);
        let recent: Vec<bool> = self
            .calls
            .iter()
            .filter(|(at, _)| tenth(*at) + 10 > tenth(now))
            .map(|(_, failure)| *failure)
            .collect();
        let failures = recent.iter().filter(|failure| **failure).count();
        if recent.len() >= 4 && failures * 2 >= recent.len() {
            self.open_until = Some(now + 500 * MS);
            self.calls.clear();
        }
    }
}

proptest! {
    #[test]
    fn it_lives_as_the_model_says(calls in prop::collection::vec((0..400u64, prop::bool::weighted(0.4)), 1..300)) {
        let spec = spec();
        let mut circuit = Circuit::new();
        let mut model = Model { calls: Vec::new(), open_until: None, probes: None };
        let mut now = 12_345 * MS;
        for (pause_ms, failure) in calls {
            now += pause_ms * MS;
            prop_assert_eq!(call(&mut circuit, &spec, failure, now), model.call(failure, now));
            let want = match (model.open_until, model.probes) {
                (Some(_), _) => CircuitState::Open,
                (None, Some(_)) => CircuitState::HalfOpen,
                (None, None) => CircuitState::Closed,
            };
            prop_assert_eq!(circuit.state(now), want);
        }
    }
}
