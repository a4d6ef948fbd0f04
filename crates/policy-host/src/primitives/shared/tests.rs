//! A store that does as defined is told the same as the limiters of one process; what makes no sense is not believed.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::limit_store::LimitStep;
use crate::primitives::{self, Limiter, Share};

const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::Gcra,
    Algorithm::SlidingWindow,
    Algorithm::FixedWindow,
];

fn spec(algorithm: Algorithm, limit: u64, per_ms: u64) -> RateSpec {
    RateSpec::new(algorithm, limit, per_ms, 0).unwrap()
}

fn entry(key: &str, spec: RateSpec, cost: u64) -> LimitEntry {
    LimitEntry {
        key: key.to_owned(),
        spec,
        cost,
    }
}

/// What a caller does, how much of it, and after how many µs.
type Action = (u8, Vec<(usize, u64)>, i64, u64);

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let shares = proptest::collection::vec((0usize..6, 0u64..9), 1..5);
    proptest::collection::vec((0u8..4, shares, -20i64..20, 0u64..400_000), 1..60)
}

proptest! {
    #[test]
    fn the_store_and_the_process_tell_the_same(limits in proptest::array::uniform3(1u64..12), per in 1u64..2000, all in actions()) {
        let specs: Vec<RateSpec> = (0..3).map(|at| spec(ALGORITHMS[at], limits[at], per)).collect();
        let limiters: Vec<Limiter> = (0..3).map(|at| Limiter::new(at as u64, specs[at], 1024)).collect();
        let names: Vec<StoredName> = (0..3).map(|at| StoredName::new("p", "l", &specs[at])).collect();
        let mut kept = HashMap::new();
        let mut now_us = 1_700_000_000_000_000;
        for (action, shares, delta, later) in all {
            now_us += later;
            let now_ns = now_us * NANOS_PER_US;
            // Three limits with two callers each.
            let callers = ["ann", "bob"];
            let entries: Vec<LimitEntry> = shares.iter()
                .map(|(at, cost)| entry(&names[at % 3].key(callers[at / 3]), specs[at % 3], *cost))
                .collect();
            let (limiter, caller) = (&limiters[shares[0].0 % 3], callers[shares[0].0 / 3]);
            match action {
                0 => {
                    let answer = LimitStep::Peek(entries[0].clone()).apply(&mut kept, now_us).unwrap();
                    prop_assert_eq!(glance(&entries[0], &answer), Some(limiter.peek(caller, now_ns)));
                }
                1 => {
                    LimitStep::Settle(entries[0].clone(), delta).apply(&mut kept, now_us).unwrap();
                    limiter.settle(caller, delta, now_ns);
                }
                _ => {
                    let here: Vec<Share<'_>> = shares.iter().map(|(at, cost)| Share {
                        limiter: &limiters[at % 3], key: callers[at / 3], cost: *cost,
                    }).collect();
                    let answer = LimitStep::Take(entries.clone()).apply(&mut kept, now_us).unwrap();
                    prop_assert_eq!(verdicts(&entries, &answer), Some(primitives::take_each(&here, now_ns)));
                }
            }
        }
    }
}

#[test]
fn keys_are_short_printable_and_apart() {
    let one = spec(Algorithm::Gcra, 5, 1000);
    let name = |scope: &str, name: &str, spec: &RateSpec| StoredName::new(scope, name, spec);
    let keys = [
        name("p", "l", &one).key("ann"),
        name("p", "l", &one).key("bob"),
        name("p", "m", &one).key("ann"),
        name("q", "l", &one).key("ann"),
        name("pl", "", &one).key("ann"),
        name("p", "l", &spec(Algorithm::Gcra, 6, 1000)).key("ann"),
        name("p", "l", &spec(Algorithm::Gcra, 5, 1001)).key("ann"),
        name("p", "l", &spec(Algorithm::FixedWindow, 5, 1000)).key("ann"),
        name("p", "l", &one).key(&"x".repeat(1 << 20)),
        name("p", "é\r\n *", &one).key("\0"),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(
            key.len() <= 180 && key.bytes().all(|byte| byte.is_ascii_graphic()),
            "{key}"
        );
        assert!(!key.contains("ann") && !keys[..at].contains(key), "{key}");
    }
    let long = name(&"s".repeat(500), &"n".repeat(64), &one).key("ann");
    assert!(long.len() <= 180, "{long}");
    assert_eq!(keys[0], name("p", "l", &one).key("ann"));
    assert!(keys[0].starts_with("p:l:"), "{}", keys[0]);
}

#[test]
fn what_makes_no_sense_is_not_believed() {
    let bucket = spec(Algorithm::Gcra, 5, 1000);
    let entries = [entry("a", bucket, 1)];
    let full = |whole, parts| LimitState::Bucket {
        full_at: Micros { whole, parts },
    };
    let window = LimitState::Window {
        index: 0,
        previous: 0,
        current: 1,
    };
    let answer = |taken, before: Vec<Option<LimitState>>| LimitAnswer {
        now_us: 1_000_000,
        taken,
        before,
    };
    let told = |taken, before| verdicts(&entries, &answer(taken, before));
    assert!(told(true, vec![None]).is_some());
    assert!(told(true, vec![Some(full(1_000_000, 4))]).is_some());
    // Of another kind, with more parts than there are, too few, too many, and not what follows from the state.
    assert_eq!(told(true, vec![Some(window)]), None);
    assert_eq!(told(true, vec![Some(full(1_000_000, 5))]), None);
    assert_eq!(told(true, vec![]), None);
    assert_eq!(told(true, vec![None, None]), None);
    assert_eq!(told(false, vec![None]), None);
    assert_eq!(told(true, vec![Some(full(9_000_000, 0))]), None);
    let far = LimitAnswer {
        now_us: u64::MAX,
        ..answer(true, vec![None])
    };
    assert_eq!(verdicts(&entries, &far), None);
}

#[test]
fn a_limit_that_takes_longer_than_a_century_is_refused_and_debts_end_there() {
    let slow = RateSpec::new(Algorithm::Gcra, 1, 31 * 86_400_000, 1000).unwrap();
    assert!(slow.check_stored().is_ok());
    let slower = RateSpec::new(Algorithm::Gcra, 1, 31 * 86_400_000, 1200).unwrap();
    assert!(slower.check_stored().is_err());
    let now_us = 1_700_000_000_000_000;
    let debt = settle(RateState::fresh(&slow), &slow, now_us, i64::MAX);
    let LimitState::Bucket { full_at } = stored(debt, &slow) else {
        panic!("a bucket")
    };
    assert_eq!(full_at.whole, now_us + MAX_SPAN_US);
    // With the longest debt and the dearest price on top, a double is still exact.
    assert!(full_at.whole + MAX_SPAN_US < 1 << 53);
    assert_eq!(
        debt.peek(&slow, now_us * NANOS_PER_US).reset_ms,
        MAX_SPAN_US / 1000
    );
}
