//! Exactness under threads, and all-or-none over several limiters.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::clock::NANOS_PER_MS;
use crate::primitives::Algorithm;

fn limiter(id: u64, limit: u64) -> Limiter {
    Limiter::new(
        id,
        RateSpec::new(Algorithm::FixedWindow, limit, 1000, 0).unwrap(),
        1024,
    )
}

/// Runs `call` on eight threads, 500 times each; how often it said yes.
fn hammer(call: impl Fn(u64) -> bool + Sync) -> u64 {
    let yes = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (call, yes) = (&call, &yes);
            scope.spawn(move || {
                for n in 0..500 {
                    yes.fetch_add(u64::from(call(thread * 500 + n)), Ordering::SeqCst);
                }
            });
        }
    });
    yes.load(Ordering::SeqCst)
}

#[test]
fn threads_together_never_pass_the_limit_and_reach_it() {
    for algorithm in [
        Algorithm::Gcra,
        Algorithm::SlidingWindow,
        Algorithm::FixedWindow,
    ] {
        let limiter = Limiter::new(0, RateSpec::new(algorithm, 1234, 1000, 0).unwrap(), 1024);
        assert_eq!(
            hammer(|_| limiter.take("k", 1, 5 * NANOS_PER_MS).allowed),
            1234
        );
        assert_eq!(limiter.peek("k", 5 * NANOS_PER_MS).remaining, 0);
        assert_eq!(limiter.keys(), 1);
    }
}

#[test]
fn threads_that_take_from_several_limiters_stay_exact_and_do_not_deadlock() {
    let (user, tenant, all) = (limiter(1, 100), limiter(2, 300), limiter(3, 1000));
    let passed = hammer(|n| {
        let key = format!("user-{}", n % 7);
        let mut shares = vec![
            Share {
                limiter: &user,
                key: &key,
                cost: 1,
            },
            Share {
                limiter: &tenant,
                key: "t",
                cost: 1,
            },
            Share {
                limiter: &all,
                key: "",
                cost: 1,
            },
        ];
        shares.rotate_left((n % 3) as usize);
        take_all(&shares, 0).is_some_and(|verdict| verdict.allowed)
    });
    assert_eq!(passed, 300);
    // What a refused request had taken from the others went back.
    assert_eq!(
        (tenant.peek("t", 0).remaining, all.peek("", 0).remaining),
        (0, 700)
    );
    let users: u64 = (0..7)
        .map(|n| 100 - user.peek(&format!("user-{n}"), 0).remaining)
        .sum();
    assert_eq!(users, 300);
}

#[test]
fn all_or_none_counts_the_same_key_twice_and_tells_the_tightest() {
    let (small, large) = (limiter(1, 3), limiter(2, 10));
    let twice = |cost| {
        let shares = [
            Share {
                limiter: &small,
                key: "k",
                cost,
            },
            Share {
                limiter: &large,
                key: "k",
                cost: 1,
            },
            Share {
                limiter: &small,
                key: "k",
                cost,
            },
        ];
        take_all(&shares, 0).unwrap()
    };
    assert!(!twice(2).allowed);
    assert_eq!(
        (small.peek("k", 0).remaining, large.peek("k", 0).remaining),
        (3, 10)
    );
    let verdict = twice(1);
    assert_eq!(
        (verdict.allowed, verdict.remaining, verdict.limit),
        (true, 1, 3)
    );
    assert!(take_all(&[], 0).is_none());
}

#[test]
fn a_flood_of_keys_stays_within_the_capacity_and_is_counted() {
    let limiter = Limiter::new(0, RateSpec::new(Algorithm::Gcra, 1, 1000, 0).unwrap(), 160);
    for n in 0..2000 {
        assert!(limiter.take(&format!("key-{n}"), 1, 0).allowed);
    }
    assert!(limiter.keys() <= 160);
    assert!(limiter.evicted_live() >= 1840);
    // Once their time has passed, keys go without loss.
    let before = limiter.evicted_live();
    for n in 2000..2100u64 {
        limiter.take(&format!("key-{n}"), 1, n * 10_000 * NANOS_PER_MS);
    }
    assert_eq!(limiter.evicted_live(), before);
}

#[test]
fn peeking_makes_no_entry() {
    let limiter = limiter(0, 5);
    assert_eq!(limiter.peek("k", 0).remaining, 5);
    assert_eq!(limiter.keys(), 0);
    limiter.settle("k", 2, 0);
    assert_eq!(limiter.peek("k", 0).remaining, 3);
}

#[test]
fn every_share_is_told_where_it_stands_taken_or_not() {
    let (small, large) = (limiter(1, 1), limiter(2, 10));
    let each = |cost| {
        let share = |limiter, cost| Share {
            limiter,
            key: "k",
            cost,
        };
        let verdicts = take_each(&[share(&large, cost), share(&small, 1)], 0);
        verdicts
            .iter()
            .map(|verdict| (verdict.allowed, verdict.remaining))
            .collect::<Vec<_>>()
    };
    assert_eq!(each(3), [(true, 7), (true, 0)]);
    assert_eq!(each(3), [(true, 7), (false, 0)], "nothing was taken");
    assert_eq!(each(8), [(false, 7), (false, 0)], "both are refused");
}
