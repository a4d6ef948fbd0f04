use super::*;

const STORE: Incarnation = Incarnation([1; 16]);
const OTHER: Incarnation = Incarnation([2; 16]);
const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        max_in_flight: 4,
        backoff_first: SECOND,
        backoff_most: 300 * SECOND,
    }
}

fn batches(range: std::ops::RangeInclusive<u64>) -> Vec<BatchNo> {
    range.map(BatchNo).collect()
}

fn memory(store: Incarnation, explained: &str) -> Memory {
    Memory {
        store: Some(store),
        explained: Explained::from_text(explained),
    }
}

fn ranges(text: &str) -> BatchRanges {
    let mut ranges = Vec::new();
    for part in text.split_whitespace() {
        let (first, last) = part.split_once('-').unwrap();
        ranges.push((
            BatchNo(first.parse().unwrap()),
            BatchNo(last.parse().unwrap()),
        ));
    }
    ranges
}

/// A state that is sending, with what it did after a survey found these holes.
fn surveyed(memory: Memory, holes: &str, store: Incarnation) -> (SyncState, Instant, Vec<Action>) {
    let now = Instant::now();
    let mut state = SyncState::new(limits(), memory, now, 0.0);
    assert_eq!(state.poll(now, &[]), Some(Action::Connect));
    state.handle(now, Event::Connected, 0.5);
    assert_eq!(state.poll(now, &[]), Some(Action::Enrol));
    state.handle(now, Event::Enrolled, 0.5);
    assert_eq!(state.poll(now, &[]), Some(Action::Survey));
    state.handle(
        now,
        Event::Surveyed {
            store,
            holes: ranges(holes),
        },
        0.5,
    );
    let actions = std::iter::from_fn(|| state.poll(now, &[])).collect();
    (state, now, actions)
}

fn sending() -> (SyncState, Instant) {
    let (state, now, actions) = surveyed(memory(STORE, ""), "", STORE);
    assert_eq!(actions, []);
    (state, now)
}

fn put(state: &mut SyncState, now: Instant, no: u64, result: PutResult) {
    state.handle(
        now,
        Event::Put {
            no: BatchNo(no),
            result,
        },
        1.0,
    );
}

#[test]
fn no_more_than_the_limit_are_in_flight_and_the_lowest_go_first() {
    let (mut state, now) = sending();
    let pending = batches(5..=20);
    let sent: Vec<_> = std::iter::from_fn(|| state.poll(now, &pending)).collect();
    assert_eq!(
        sent,
        batches(5..=8)
            .into_iter()
            .map(Action::Send)
            .collect::<Vec<_>>()
    );
    put(&mut state, now, 6, PutResult::Stored);
    assert_eq!(state.poll(now, &pending), Some(Action::Ack(BatchNo(6))));
    let pending: Vec<_> = pending.into_iter().filter(|no| no.0 != 6).collect();
    assert_eq!(state.poll(now, &pending), Some(Action::Send(BatchNo(9))));
    assert_eq!(state.poll(now, &pending), None);
}

#[test]
fn a_new_store_gets_everything_that_is_held_again() {
    let (_, _, actions) = surveyed(memory(STORE, "7-7"), "1-40", OTHER);
    assert_eq!(
        actions,
        [
            Action::ResendFrom(BatchNo(1)),
            Action::Remember(memory(OTHER, "1-40"))
        ]
    );
}

#[test]
fn a_store_that_went_back_gets_what_it_lost_again() {
    let (_, _, actions) = surveyed(memory(STORE, "7-7"), "7-7 31-40", STORE);
    assert_eq!(
        actions,
        [
            Action::ResendFrom(BatchNo(31)),
            Action::Remember(memory(STORE, "7-7 31-40"))
        ]
    );
}

#[test]
fn a_store_that_has_it_all_gets_nothing_again() {
    assert_eq!(surveyed(memory(STORE, ""), "", STORE).2, []);
    // Batch 7 was set aside: it is missing there for good, which is no reason to send the rest again and again.
    assert_eq!(surveyed(memory(STORE, "7-7"), "7-7", STORE).2, []);
    // The first contact.
    assert_eq!(
        surveyed(Memory::default(), "", STORE).2,
        [Action::Remember(memory(STORE, ""))]
    );
}

#[test]
fn a_hole_that_was_filled_counts_as_lost_when_it_is_there_again() {
    let (mut state, now, _) = surveyed(memory(STORE, "7-9"), "7-9", STORE);
    state.poll(now, &batches(8..=8));
    put(&mut state, now, 8, PutResult::Stored);
    assert_eq!(
        state.poll(now, &[]),
        Some(Action::Remember(memory(STORE, "7-7 9-9")))
    );
    assert_eq!(state.poll(now, &[]), Some(Action::Ack(BatchNo(8))));
    assert_eq!(
        surveyed(memory(STORE, "7-7 9-9"), "7-9", STORE).2[0],
        Action::ResendFrom(BatchNo(8))
    );
}

#[test]
fn a_refused_batch_is_set_aside_and_the_lane_goes_on() {
    let (mut state, now) = sending();
    let pending = batches(1..=2);
    state.poll(now, &pending);
    put(
        &mut state,
        now,
        1,
        PutResult::Refused {
            reason: "bad".into(),
        },
    );
    assert_eq!(
        state.poll(now, &pending),
        Some(Action::SetAside {
            no: BatchNo(1),
            reason: "bad".into()
        })
    );
    // Until it is set aside it is not sent again.
    assert_eq!(state.poll(now, &pending), Some(Action::Send(BatchNo(2))));
    assert_eq!(state.poll(now, &pending), None);
    // The disk failed: it is tried again later.
    state.handle(
        now,
        Event::SetAside {
            no: BatchNo(1),
            done: false,
        },
        1.0,
    );
    assert_eq!(state.poll(now, &pending), None);
    assert_eq!(
        state.poll(now + SECOND, &pending),
        Some(Action::Send(BatchNo(1)))
    );
}

#[test]
fn a_conflict_with_our_own_bytes_is_a_confirmation() {
    let (mut state, now) = sending();
    let pending = batches(1..=2);
    state.poll(now, &pending);
    state.poll(now, &pending);
    let (ours, theirs) = (Digest::of(b"ours"), Digest::of(b"theirs"));
    put(
        &mut state,
        now,
        1,
        PutResult::Conflict {
            stored: Some(ours),
            ours,
        },
    );
    assert_eq!(state.poll(now, &pending), Some(Action::Ack(BatchNo(1))));
    put(
        &mut state,
        now,
        2,
        PutResult::Conflict {
            stored: Some(theirs),
            ours,
        },
    );
    let Some(Action::SetAside {
        no: BatchNo(2),
        reason,
    }) = state.poll(now, &pending)
    else {
        panic!()
    };
    assert!(reason.contains(&theirs.to_string()));
}

#[test]
fn a_full_centre_pauses_everything_for_as_long_as_it_asks() {
    let (mut state, now) = sending();
    let pending = batches(1..=9);
    state.poll(now, &pending);
    let later = PutResult::Later {
        retry_after: Some(30 * SECOND),
        reason: "full".into(),
    };
    put(&mut state, now, 1, later);
    assert_eq!(state.poll(now + 29 * SECOND, &pending), None);
    assert_eq!(state.stage(now), Stage::Paused);
    let wake = state.wake_at(now).unwrap();
    assert!(wake >= now + 30 * SECOND && wake <= now + 32 * SECOND);
    assert_eq!(
        state.poll(wake, &pending),
        Some(Action::Send(BatchNo(1))),
        "nothing is dropped"
    );
}

#[test]
fn a_fenced_outbox_keeps_asking_more_and_more_seldom() {
    let (mut state, mut now) = sending();
    let pending = batches(1..=1);
    let mut waits = Vec::new();
    for _ in 0..5 {
        assert_eq!(state.poll(now, &pending), Some(Action::Send(BatchNo(1))));
        put(
            &mut state,
            now,
            1,
            PutResult::Blocked {
                reason: "newer".into(),
            },
        );
        assert_eq!(state.stage(now), Stage::Blocked);
        let wake = state.wake_at(now).unwrap();
        waits.push((wake - now).as_secs());
        now = wake;
        assert_eq!(state.poll(now, &pending), Some(Action::Enrol));
        state.handle(now, Event::Enrolled, 1.0);
        assert_eq!(state.poll(now, &pending), Some(Action::Survey));
        state.handle(
            now,
            Event::Surveyed {
                store: STORE,
                holes: Vec::new(),
            },
            1.0,
        );
    }
    assert_eq!(waits, [1, 2, 4, 8, 16]);
}

#[test]
fn a_lost_connection_is_made_again_with_growing_waits_for_ever() {
    let mut now = Instant::now();
    let mut state = SyncState::new(limits(), Memory::default(), now, 1.0);
    for _ in 0..50 {
        now = state.wake_at(now).unwrap();
        assert_eq!(state.poll(now, &[]), Some(Action::Connect));
        state.handle(
            now,
            Event::Lost {
                reason: "down".into(),
            },
            1.0,
        );
        assert!(state.wake_at(now).unwrap() <= now + 300 * SECOND);
    }
    assert_eq!(state.problem(), Some("down"));
}

#[test]
fn an_unreadable_batch_does_not_hold_up_the_others() {
    let (mut state, now) = sending();
    let pending = batches(1..=2);
    state.poll(now, &pending);
    put(
        &mut state,
        now,
        1,
        PutResult::Unreadable {
            reason: "disk".into(),
        },
    );
    assert_eq!(state.poll(now, &pending), Some(Action::Send(BatchNo(2))));
    let wake = state.wake_at(now).unwrap();
    assert_eq!(state.poll(wake, &pending), Some(Action::Send(BatchNo(1))));
    assert_eq!(
        state.wake_at(wake),
        None,
        "what is under way waits for no time"
    );
}
