use edge_types::{Incarnation, Seq};
use sync_wire::{BatchBuilder, BatchMeta, EnrollRequest, SealedBatch};

use super::*;
use crate::store::local::LocalStore;

const OURS: Incarnation = Incarnation([1; 16]);
const NEWER: Incarnation = Incarnation([2; 16]);

fn name() -> BatchName {
    BatchName {
        site: SiteId::new("mill-7").unwrap(),
        epoch: Epoch(1),
        lane: Lane::Events,
        batch_no: BatchNo(1),
    }
}

fn seal(name: &BatchName, incarnation: Incarnation, body: &str) -> SealedBatch {
    let mut builder = BatchBuilder::new(Seq(1));
    builder.push(Seq(1), body.as_bytes()).unwrap();
    let meta = BatchMeta {
        site: name.site.clone(),
        incarnation,
        epoch: name.epoch,
        lane: name.lane,
        batch_no: name.batch_no,
        prev_hash: Digest::default(),
        oldest_ms: 0,
    };
    builder.seal(meta).unwrap()
}

fn enrolled(incarnation: Incarnation) -> (tempfile::TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), 0).unwrap();
    enrol(&store, incarnation);
    (dir, store)
}

fn enrol(store: &LocalStore, incarnation: Incarnation) {
    enroll::enroll(
        store,
        &name().site,
        &EnrollRequest {
            incarnation,
            known_epoch: None,
        },
        0,
    )
    .unwrap();
}

fn kind(result: Result<Ingested, Problem>) -> Option<ProblemKind> {
    result.unwrap_err().kind()
}

#[test]
fn a_batch_is_stored_verbatim_and_a_repeat_is_recognised() {
    let (_dir, store) = enrolled(OURS);
    let batch = seal(&name(), OURS, "{}");
    let created = |expected| Ingested {
        hash: batch.hash,
        created: expected,
    };
    assert_eq!(
        ingest(&store, &name(), &batch.bytes),
        Ok(created(Created::New))
    );
    assert_eq!(
        ingest(&store, &name(), &batch.bytes),
        Ok(created(Created::Exists))
    );
    let object = layout::batch(&name().site, Epoch(1), Lane::Events, BatchNo(1));
    assert_eq!(store.read(&object, 1 << 20).unwrap().unwrap(), batch.bytes);
}

#[test]
fn another_batch_of_the_same_name_is_a_conflict_that_tells_what_is_there() {
    let (_dir, store) = enrolled(OURS);
    let first = seal(&name(), OURS, "{}");
    ingest(&store, &name(), &first.bytes).unwrap();
    let problem = ingest(&store, &name(), &seal(&name(), OURS, "[]").bytes).unwrap_err();
    assert_eq!(
        (problem.kind(), problem.stored_hash),
        (Some(ProblemKind::Conflict), Some(first.hash))
    );
}

#[test]
fn a_batch_that_is_not_of_its_name_or_damaged_is_refused_and_leaves_nothing() {
    let (_dir, store) = enrolled(OURS);
    let good = seal(&name(), OURS, "{}");
    let other_site = BatchName {
        site: SiteId::new("mill-8").unwrap(),
        ..name()
    };
    let other_number = BatchName {
        batch_no: BatchNo(2),
        ..name()
    };
    for sealed in [
        seal(&other_site, OURS, "{}"),
        seal(&other_number, OURS, "{}"),
        seal(&name(), NEWER, "{}"),
    ] {
        assert_eq!(
            kind(ingest(&store, &name(), &sealed.bytes)),
            Some(ProblemKind::InvalidBatch)
        );
    }
    for at in 0..good.bytes.len() {
        let mut damaged = good.bytes.clone();
        damaged[at] ^= 0x10;
        assert_eq!(
            kind(ingest(&store, &name(), &damaged)),
            Some(ProblemKind::InvalidBatch),
            "byte {at}"
        );
        assert_eq!(
            kind(ingest(&store, &name(), &good.bytes[..at])),
            Some(ProblemKind::InvalidBatch)
        );
    }
    assert!(
        store
            .list(&layout::batches_dir(&name().site, Epoch(1), Lane::Events))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_epoch_that_was_never_issued_asks_for_enrolment() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), 0).unwrap();
    let result = ingest(&store, &name(), &seal(&name(), OURS, "{}").bytes);
    assert_eq!(kind(result), Some(ProblemKind::NotFound));
}

#[test]
fn a_fenced_epoch_takes_nothing_new_but_confirms_what_it_has() {
    let (_dir, store) = enrolled(OURS);
    let stored = seal(&name(), OURS, "{}");
    ingest(&store, &name(), &stored.bytes).unwrap();
    enrol(&store, NEWER);
    assert_eq!(
        ingest(&store, &name(), &stored.bytes).unwrap().created,
        Created::Exists
    );
    let second = BatchName {
        batch_no: BatchNo(2),
        ..name()
    };
    let result = ingest(&store, &second, &seal(&second, OURS, "{}").bytes);
    assert_eq!(kind(result), Some(ProblemKind::Fenced));
}

#[test]
fn a_full_store_is_an_answer_to_come_again() {
    let (dir, store) = enrolled(OURS);
    drop(store);
    let full = LocalStore::open(dir.path(), u64::MAX / 2).unwrap();
    let batch = seal(&name(), OURS, "{}");
    let problem = ingest(&full, &name(), &batch.bytes).unwrap_err();
    assert_eq!(problem.kind(), Some(ProblemKind::StoreFull));
    drop(full);
    let roomy = LocalStore::open(dir.path(), 0).unwrap();
    assert_eq!(
        ingest(&roomy, &name(), &batch.bytes).unwrap().created,
        Created::New
    );
}
