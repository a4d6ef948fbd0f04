use super::*;
use std::collections::HashSet;

use proptest::prelude::*;

const DEFAULT_PRIORITY: u8 = 5;

const LIMITS: Limits = Limits {
    requests: 1000,
    bytes: 1 << 20,
    tenant_requests: 500,
    tenant_bytes: 1 << 19,
    max_wait: Duration::from_secs(3600),
};

fn terms(tenant: &str, cost: u64) -> Terms {
    Terms {
        tenant: tenant.parse().unwrap(),
        class: Class::Awaited,
        priority: DEFAULT_PRIORITY,
        urgency: 3,
        cost,
        bytes: 1,
        deadline: None,
    }
}

/// A batch of one request.
fn one<T>(scheduler: &mut Scheduler<T>, now: Instant) -> Option<T> {
    scheduler
        .take(now, Duration::ZERO, |_| false, |_, _, _| Fit::Whole)
        .batch
        .pop()
}

fn refused<T>(scheduler: &mut Scheduler<T>, now: Instant, terms: Terms, item: T) -> Busy {
    match scheduler.admit(now, terms, item) {
        Ok(()) => panic!("it was admitted"),
        Err((_, busy)) => busy,
    }
}

#[test]
fn one_row_passes_another_tenants_hundreds() {
    let now = Instant::now();
    let mut queue = Scheduler::new(LIMITS);
    for _ in 0..500 {
        assert!(queue.admit(now, terms("many", 100), "many").is_ok());
    }
    assert_eq!(one(&mut queue, now), Some("many"));
    assert!(queue.admit(now, terms("few", 100), "few").is_ok());
    assert_eq!(one(&mut queue, now), Some("few"));
    assert_eq!(one(&mut queue, now), Some("many"));
    // Coming back at once, it has had its turn.
    assert!(queue.admit(now, terms("few", 100), "few").is_ok());
    let next: Vec<_> = (0..2).filter_map(|_| one(&mut queue, now)).collect();
    assert!(next.contains(&"few"), "{next:?}");
}

#[test]
fn each_step_of_priority_doubles_a_share() {
    let now = Instant::now();
    let mut queue = Scheduler::new(LIMITS);
    for _ in 0..90 {
        let high = Terms {
            priority: DEFAULT_PRIORITY + 1,
            ..terms("high", 10)
        };
        assert!(queue.admit(now, high, "high").is_ok());
        assert!(queue.admit(now, terms("usual", 10), "usual").is_ok());
    }
    let first: Vec<_> = (0..60).filter_map(|_| one(&mut queue, now)).collect();
    let high = first.iter().filter(|&&who| who == "high").count();
    assert!((39..=41).contains(&high), "{high} of 60");
}

#[test]
fn urgency_orders_one_tenants_requests_and_passes_nobody_elses() {
    let now = Instant::now();
    let mut queue = Scheduler::new(LIMITS);
    for (tenant, urgency, name) in [
        ("a", 7, "a7"),
        ("a", 3, "a3"),
        ("b", 3, "b3"),
        ("a", 0, "a0"),
        ("a", 3, "a3 again"),
    ] {
        let terms = Terms {
            urgency,
            ..terms(tenant, 10)
        };
        assert!(queue.admit(now, terms, name).is_ok());
    }
    let mut order = Vec::new();
    while let Some(name) = one(&mut queue, now) {
        order.push(name);
    }
    let of_a: Vec<_> = order.iter().filter(|name| name.starts_with('a')).collect();
    assert_eq!(of_a, [&"a0", &"a3", &"a3 again", &"a7"]);
    assert!(order[..2].contains(&"b3"), "{order:?}");
}

#[test]
fn a_full_share_is_told_from_a_full_queue() {
    let now = Instant::now();
    let limits = Limits {
        requests: 3,
        tenant_requests: 2,
        ..LIMITS
    };
    let mut queue = Scheduler::new(limits);
    for tenant in ["a", "a", "b"] {
        let own = terms(tenant, 1);
        assert!(queue.admit(now, own, ()).is_ok());
    }
    assert_eq!(
        refused(&mut queue, now, terms("a", 1), ()).refusal,
        Refusal::TenantFull
    );
    assert_eq!(
        refused(&mut queue, now, terms("c", 1), ()).refusal,
        Refusal::Full
    );
    // Bytes count as requests do.
    let mut queue = Scheduler::new(LIMITS);
    let heavy = || Terms {
        bytes: 300_000,
        ..terms("a", 1)
    };
    assert!(queue.admit(now, heavy(), ()).is_ok());
    assert_eq!(
        refused(&mut queue, now, heavy(), ()).refusal,
        Refusal::TenantFull
    );
}

#[test]
fn who_would_wait_too_long_is_turned_away_and_told_when_to_come() {
    let now = Instant::now();
    let limits = Limits {
        max_wait: Duration::from_secs(4),
        ..LIMITS
    };
    let mut queue = Scheduler::new(limits);
    // A second each, at the first estimate.
    let second = (1e9 / FIRST_UNIT_NS) as u64;
    for _ in 0..5 {
        assert!(queue.admit(now, terms("a", second), ()).is_ok());
    }
    let busy = refused(&mut queue, now, terms("a", second), ());
    assert_eq!((busy.refusal, busy.retry_after_s), (Refusal::TenantFull, 2));
    // Another tenant does not wait for all of them.
    assert!(queue.admit(now, terms("b", second), ()).is_ok());
    // Measured ten times as fast, the same queue is short.
    while one(&mut queue, now).is_some() {
        queue.finished(Duration::from_millis(100));
    }
    for _ in 0..6 {
        assert!(queue.admit(now, terms("a", second), ()).is_ok());
    }
}

#[test]
fn deadlines_turn_away_at_once_and_drop_before_anything_is_computed() {
    let now = Instant::now();
    let mut queue = Scheduler::new(LIMITS);
    let second = (1e9 / FIRST_UNIT_NS) as u64;
    let within = |time| Terms {
        deadline: Some(now + time),
        ..terms("a", second)
    };
    let late = refused(&mut queue, now, within(Duration::from_millis(900)), "x");
    assert_eq!(late.refusal, Refusal::TooLate);
    let soon = within(Duration::from_millis(1100));
    assert!(queue.admit(now, soon, "soon").is_ok());
    assert!(queue.admit(now, terms("a", second), "later").is_ok());
    let taken = queue.take(
        now + Duration::from_secs(2),
        Duration::ZERO,
        |_| false,
        |_, _, _| Fit::Whole,
    );
    assert_eq!((taken.late, taken.batch), (vec!["soon"], vec!["later"]));
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_batch_ends_with_its_time_and_who_has_gone_costs_none_of_it() {
    let now = Instant::now();
    let mut queue = Scheduler::new(LIMITS);
    let tenth = (1e8 / FIRST_UNIT_NS) as u64;
    for index in 0..6 {
        assert!(queue.admit(now, terms("a", tenth), index).is_ok());
    }
    let gone = |index: &i32| *index % 2 == 1;
    let taken = queue.take(now, Duration::from_millis(250), gone, |_, _, _| Fit::Whole);
    assert_eq!((taken.batch, taken.gone), (vec![0, 2], 2));
    // One that is longer than a batch is a batch.
    assert!(queue.admit(now, terms("b", 100 * tenth), 10).is_ok());
    queue.finished(Duration::from_millis(200));
    let taken = queue.take(now, Duration::from_millis(250), gone, |_, _, _| Fit::Whole);
    assert_eq!(taken.batch, [10]);
}

#[test]
fn what_nobody_waits_for_comes_last_and_no_limit_refuses_it() {
    let now = Instant::now();
    let limits = Limits {
        requests: 2,
        max_wait: Duration::ZERO,
        ..LIMITS
    };
    let mut queue = Scheduler::new(limits);
    let behind = |tenant| Terms {
        class: Class::Behind,
        urgency: 0,
        priority: 9,
        ..terms(tenant, 1_000_000)
    };
    for name in ["behind", "behind", "behind"] {
        assert!(queue.admit(now, behind("a"), name).is_ok());
    }
    // Neither their number nor their time is in the way of the others.
    assert!(queue.admit(now, terms("b", 10), "awaited").is_ok());
    let late = Terms {
        urgency: 7,
        priority: 0,
        ..terms("a", 10)
    };
    assert!(queue.admit(now, late, "awaited too").is_ok());
    let all = Duration::from_secs(3600);
    let taken = queue.take(now, all, |_| false, |_, _, _| Fit::Whole);
    assert_eq!(taken.batch.len(), 2, "no batch holds both classes");
    assert!(taken.batch.iter().all(|name| name.starts_with("awaited")));
    let taken = queue.take(now, all, |_| false, |_, _, _| Fit::Whole);
    assert_eq!(taken.batch, ["behind"; 3]);
}

/// Rows that are left of a request, each of a cost of 100.
fn some_rows(rows: &mut u64, left: u64, held: usize) -> Fit<u64> {
    match (left / 100, held) {
        (most, _) if most >= *rows => Fit::Whole,
        (0, 1..) => Fit::No,
        (most, _) => {
            let most = most.max(1);
            *rows -= most;
            Fit::Part(most, most * 100)
        }
    }
}

#[test]
fn a_long_request_is_taken_in_parts_between_which_others_have_their_turn() {
    let now = Instant::now();
    let mut queue = Scheduler::new(LIMITS);
    let four_rows = Duration::from_nanos((400.0 * FIRST_UNIT_NS) as u64);
    let next = |queue: &mut Scheduler<u64>| queue.take(now, four_rows, |_| false, some_rows).batch;
    assert!(queue.admit(now, terms("long", 25_600), 256).is_ok());
    assert!(queue.admit(now, terms("long", 100), 1).is_ok());
    assert_eq!(next(&mut queue), [4]);
    assert!(queue.admit(now, terms("short", 100), 1).is_ok());
    // The other's one row is first, and the next rows of the long one fill the batch up.
    assert_eq!(next(&mut queue), [1, 3]);
    let mut parts = Vec::new();
    while queue.len() > 0 {
        parts.extend(next(&mut queue));
    }
    // Its own second request has waited for all of it.
    assert_eq!(parts.iter().sum::<u64>(), 256 - 4 - 3 + 1);
    assert_eq!(parts[parts.len() - 2..], [1, 1]);
}

#[derive(Clone, Debug)]
enum Event {
    Arrive {
        tenant: u8,
        cost: u64,
        urgency: u8,
        deadline_ms: Option<u64>,
    },
    Take {
        after_ms: u64,
        speed: u64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let arrive = (
        0u8..4,
        1u64..5000,
        0u8..8,
        proptest::option::of(1u64..10_000),
    )
        .prop_map(|(tenant, cost, urgency, deadline_ms)| Event::Arrive {
            tenant,
            cost,
            urgency,
            deadline_ms,
        });
    let take = (0u64..50, 1u64..10).prop_map(|(after_ms, speed)| Event::Take { after_ms, speed });
    proptest::collection::vec(prop_oneof![3 => arrive, 1 => take], 1..200)
}

proptest! {
    /// Whatever arrives and however long it takes: everything admitted comes out once, nothing late is computed, the
    /// limits hold.
    #[test]
    fn nothing_is_lost_and_nothing_answered_twice(events in events()) {
        let start = Instant::now();
        let mut now = start;
        let limits = Limits { requests: 40, tenant_requests: 20, ..LIMITS };
        let mut queue = Scheduler::new(limits);
        let (mut admitted, mut out) = (HashSet::new(), HashSet::new());
        let mut deadlines = HashMap::new();
        let drain = events.len();
        let last = std::iter::repeat_n(Event::Take { after_ms: 1, speed: 1 }, drain);
        for (id, event) in events.into_iter().chain(last).enumerate() {
            match event {
                Event::Arrive { tenant, cost, urgency, deadline_ms } => {
                    let deadline = deadline_ms.map(|ms| now + Duration::from_millis(ms));
                    let terms = Terms { urgency, deadline, ..terms(&format!("t{tenant}"), cost) };
                    if queue.admit(now, terms, id).is_ok() {
                        admitted.insert(id);
                        deadlines.insert(id, deadline);
                    }
                }
                Event::Take { after_ms, speed } => {
                    now += Duration::from_millis(after_ms);
                    let taken = queue.take(now, Duration::from_millis(5), |_| false, |_, _, held| match held < 8 { true => Fit::Whole, false => Fit::No });
                    prop_assert!(taken.batch.len() <= 8);
                    for id in &taken.batch {
                        prop_assert!(deadlines[id].is_none_or(|deadline| deadline > now));
                    }
                    for id in taken.batch.iter().chain(&taken.late) {
                        prop_assert!(out.insert(*id), "{id} twice");
                    }
                    queue.finished(Duration::from_micros(taken.cost * speed));
                }
            }
            prop_assert!(queue.len() <= 40);
        }
        prop_assert_eq!(admitted, out);
        prop_assert_eq!(queue.len(), 0);
    }

    /// Two tenants that always have something waiting get the same, but for one request of each.
    #[test]
    fn shares_are_equal_while_both_wait(costs in proptest::collection::vec((1u64..1000, 1u64..1000), 20..100)) {
        let now = Instant::now();
        let mut queue = Scheduler::new(LIMITS);
        for (a, b) in &costs {
            prop_assert!(queue.admit(now, terms("a", *a), ("a", *a)).is_ok());
            prop_assert!(queue.admit(now, terms("b", *b), ("b", *b)).is_ok());
        }
        let (mut of_a, mut of_b) = (0u64, 0u64);
        let (mut left_a, mut left_b) = (costs.len(), costs.len());
        while left_a > 0 && left_b > 0 {
            match one(&mut queue, now) {
                Some(("a", cost)) => { of_a += cost; left_a -= 1 }
                Some((_, cost)) => { of_b += cost; left_b -= 1 }
                None => break,
            }
            prop_assert!(of_a.abs_diff(of_b) <= 1000, "{of_a} and {of_b}");
        }
    }
}
