use super::*;

fn row(first: u64, last: u64) -> BatchRow {
    BatchRow {
        hash: Digest::of(&first.to_le_bytes()),
        len: 100,
        first_seq: first,
        last_seq: last,
        count: (last - first + 1) as u32,
        oldest_ms: first,
        state: BatchState::Pending,
    }
}

/// `n` sealed batches of ten records, in one open segment.
fn ledger(n: u64) -> Ledger {
    let mut ledger = Ledger::new(Incarnation([1; 16]), 1000);
    ledger.epoch = Some(Epoch(1));
    let id = ledger.new_segment_id();
    ledger.segment_begun(id);
    for no in 1..=n {
        ledger.committed(10, 50, no);
        ledger.sealed(
            no,
            row(no * 10 - 9, no * 10),
            Place {
                ordinal: 1,
                offset: 64 + 50 * no,
            },
            50,
            no,
        );
    }
    ledger
}

#[test]
fn acknowledgements_may_come_in_any_order() {
    let mut ledger = ledger(3);
    assert!(ledger.ack(2, 5));
    assert_eq!(ledger.through_acked(), 0);
    assert!(ledger.ack(1, 5));
    assert_eq!(ledger.through_acked(), 2);
    assert!(!ledger.ack(1, 6), "a second time");
    assert!(!ledger.ack(9, 6), "never sealed");
    let waiting: Vec<u64> = ledger.pending_after(0, 9).iter().map(|p| p.0).collect();
    assert_eq!(waiting, [3]);
    assert_eq!((ledger.pending.batches, ledger.held.batches), (1, 2));
}

#[test]
fn nothing_is_deleted_past_a_pending_batch_and_the_last_stays() {
    let mut ledger = ledger(4);
    for no in [1, 3, 4] {
        ledger.ack(no, 0);
    }
    assert_eq!(ledger.expired(100, 50, 1000, 9), [1]);
    ledger.ack(2, 0);
    assert_eq!(ledger.expired(100, 50, 1000, 9), [1, 2, 3]);
    assert_eq!(ledger.expired(100, 50, 1000, 2), [1, 2]);
    assert_eq!(ledger.expired(0, 50, 1000, 9), [0u64; 0], "too young");
    assert_eq!(ledger.expired(0, 50, 250, 9), [1, 2], "too much");
}

#[test]
fn what_is_resent_is_pending_again() {
    let mut ledger = ledger(4);
    for no in 1..=4 {
        ledger.ack(no, 0);
    }
    ledger.dead(2);
    assert_eq!(ledger.resend_from(2), 2);
    assert_eq!(ledger.through_acked(), 2);
    assert_eq!(ledger.pending.batches, 2);
    assert_eq!(ledger.dead.batches, 1);
}

#[test]
fn a_segment_goes_when_it_is_closed_and_sealed() {
    let mut ledger = ledger(1);
    assert_eq!(ledger.droppable_segment(), None, "open");
    assert!(ledger.drained_segment(1).is_some());
    assert!(ledger.drained_segment(10_000).is_none(), "small");
    ledger.committed(1, 30, 9);
    assert!(ledger.drained_segment(1).is_none(), "a record to seal");
    ledger.segment_closed();
    assert_eq!(ledger.droppable_segment(), None, "a record to seal");
    ledger.sealed(2, row(11, 11), Place::default(), 30, 9);
    let id = ledger.droppable_segment().expect("all sealed").id;
    ledger.segment_dropped(id);
    assert_eq!(ledger.used_bytes(), 200);
    assert_eq!(ledger.unsealed_bytes, 0);
}

#[test]
fn sealing_waits_for_size_count_or_age() {
    let limits = SealLimits {
        bytes: 1000,
        records: 100,
        age_ms: 50,
    };
    let mut one = ledger(0);
    assert!(!one.seal_due(limits, 1000), "nothing to seal");
    one.committed(1, 10, 1000);
    assert!(!one.seal_due(limits, 1049));
    assert!(one.seal_due(limits, 1050));
    one.committed(99, 10, 1000);
    assert!(one.seal_due(limits, 1000), "count");
    one.epoch = None;
    assert!(!one.seal_due(limits, 9999), "not enrolled");

    let mut backlog = ledger(EAGER_PENDING as u64);
    backlog.committed(1, 10, 0);
    assert!(!backlog.seal_due(limits, 9999), "no hurry with a backlog");
    backlog.committed(1, 990, 0);
    assert!(backlog.seal_due(limits, 9999), "size");
}

#[test]
fn a_dump_says_what_the_changes_said() {
    let mut ledger = ledger(3);
    ledger.ack(1, 7);
    ledger.segment_closed();
    ledger.notes.insert("k".into(), "v".into());
    let replayed: BTreeMap<_, _> = ledger.changes.iter().cloned().collect();
    let mut dumped: BTreeMap<_, _> = ledger.dump().into_iter().collect();
    dumped.remove(&rows::note_key("k")).expect("the note");
    assert_eq!(dumped, replayed);
}
