//! A record's life through the public API: appended, sealed, read, acknowledged, kept, gone; and what is refused.

use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, drain, seal_all, small, wait_until};
use outbox::{
    AppendError, BatchAccessError, BatchNo, Epoch, EpochError, MAX_RECORD_BYTES, OpenError, Outbox,
    OutboxConfig, SiteId, StoreOpening, inspect,
    load::{self, LoadSpec},
};

mod common;

fn open(config: &OutboxConfig) -> Outbox {
    Outbox::open(config.clone()).expect("opens").0
}

fn body(n: u64) -> Bytes {
    Bytes::from(format!("{{\"v\":1,\"n\":{n}}}"))
}

async fn append(outbox: &Outbox, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let receipt = outbox.append(body(n)).await.expect("durable");
        assert_eq!(receipt.seq.0, n + 1);
        assert_eq!(receipt.incarnation, outbox.incarnation().tag());
    }
}

#[tokio::test]
async fn records_come_out_once_in_order_also_after_reopening() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    let (outbox, report) = Outbox::open(config.clone()).expect("opens");
    assert!(report.is_new);
    assert_eq!(report.store, StoreOpening::Created);
    append(&outbox, 0..150).await;
    assert_eq!(
        outbox.status().last_batch,
        BatchNo(0),
        "not enrolled: nothing is sealed"
    );
    outbox.set_epoch(Epoch(1)).expect("the first epoch");
    outbox.wait_sealed(BatchNo(0)).await;
    append(&outbox, 150..300).await;
    outbox.close().await;
    assert!(matches!(
        outbox.append(body(0)).await,
        Err(AppendError::Closed)
    ));

    let (outbox, report) = Outbox::open(config).expect("opens again");
    assert_eq!(
        (report.store.clone(), report.lost_records),
        (StoreOpening::Opened, 0)
    );
    assert_eq!(outbox.epoch(), Some(Epoch(1)));
    append(&outbox, 300..400).await;
    let delivered = drain(&outbox).await;
    assert_eq!(delivered.gaps, []);
    let expected: Vec<_> = (0..400).map(|n| (n + 1, body(n).to_vec())).collect();
    assert_eq!(delivered.records.into_iter().collect::<Vec<_>>(), expected);
    let checked = inspect::verify(dir.path()).expect("reads");
    assert_eq!(checked.problems, []);
    assert_eq!(checked.batch_records, 400);
}

#[tokio::test]
async fn many_callers_share_commits() {
    let dir = tempfile::tempdir().expect("a directory");
    let outbox = open(&small(dir.path()));
    let tasks: Vec<_> = (0..64u64)
        .map(|n| {
            let outbox = outbox.clone();
            tokio::spawn(async move { outbox.append(body(n)).await.expect("durable").seq.0 })
        })
        .collect();
    for n in 64..80 {
        outbox.append_later(body(n)).expect("queued");
    }
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.expect("no panic"));
    }
    outbox.flush().await.expect("written");
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 64, "each caller has its own number");
    assert_eq!(outbox.status().last_seq.0, 80);
}

#[tokio::test]
async fn acknowledged_batches_are_held_then_deleted_and_the_disk_goes_back_to_a_floor() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = small(dir.path());
    config.hold = Duration::from_millis(200);
    let outbox = open(&config);
    outbox.set_epoch(Epoch(1)).expect("the first epoch");
    append(&outbox, 0..1000).await;
    seal_all(&outbox).await;
    let batches = outbox.pending_batches(BatchNo(0), usize::MAX);
    assert!(batches.len() > 5);
    for batch in batches.iter().rev() {
        assert!(outbox.ack(batch.no));
        assert!(!outbox.ack(batch.no), "only once");
    }
    let last = outbox.last_batch();
    assert_eq!(outbox.status().through_acked, last);
    wait_until("only the last batch is left", || {
        let listing = inspect::ls(dir.path()).expect("lists");
        listing.batches.len() == 1 && listing.batches[0].no == last
    })
    .await;
    wait_until("segments are gone", || {
        outbox.status().segment_bytes < config.segment_bytes
    })
    .await;
    assert_eq!(outbox.status().backlog_bytes, 0);
    // The chain and the numbers go on, also when nothing but files is left.
    outbox.close().await;
    std::fs::remove_dir_all(dir.path().join("db")).expect("there");
    for slot in 0..2 {
        std::fs::remove_file(dir.path().join(format!("witness-{slot}"))).expect("there");
    }
    let (outbox, report) = Outbox::open(config).expect("opens");
    assert_eq!(report.lost_records, 0);
    append(&outbox, 1000..1001).await;
    seal_all(&outbox).await;
    assert_eq!(outbox.last_batch().0, last.0 + 1);
    assert_eq!(inspect::verify(dir.path()).expect("reads").problems, []);
}

#[tokio::test]
async fn a_centre_that_lost_batches_gets_them_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    let outbox = open(&config);
    outbox.set_epoch(Epoch(1)).expect("the first epoch");
    append(&outbox, 0..500).await;
    seal_all(&outbox).await;
    let all = outbox.pending_batches(BatchNo(0), usize::MAX);
    for batch in &all {
        outbox.ack(batch.no);
    }
    assert!(outbox.set_note("store", "abc"));
    assert!(!outbox.set_note("store", &"x".repeat(2000)), "too long");
    outbox.close().await;
    let outbox = open(&config);
    assert_eq!(outbox.note("store").as_deref(), Some("abc"));
    assert_eq!(
        outbox.pending_batches(BatchNo(0), 1),
        [],
        "acknowledgements were kept"
    );
    let mut watch = outbox.watch_sealed();
    watch.mark_unchanged();
    assert_eq!(outbox.resend_from(BatchNo(2)), all.len() as u64 - 1);
    tokio::time::timeout(PATIENCE, watch.changed())
        .await
        .expect("the sender is told")
        .expect("open");
    assert_eq!(outbox.pending_batches(BatchNo(0), usize::MAX), all[1..]);
    assert_eq!(outbox.status().through_acked, BatchNo(1));
    assert_eq!(outbox.resend_from(BatchNo(1)), 1);
}

#[tokio::test]
async fn a_refused_batch_is_set_aside_with_a_gap_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    let outbox = open(&config);
    outbox.set_epoch(Epoch(1)).expect("the first epoch");
    append(&outbox, 0..300).await;
    seal_all(&outbox).await;
    let second = outbox.pending_batches(BatchNo(1), 1)[0];
    let receipt = outbox
        .dead_letter(second.no, "422 invalid")
        .await
        .expect("set aside")
        .expect("it was pending");
    assert_eq!(receipt.seq.0, 301);
    assert_eq!(
        outbox.dead_letter(second.no, "again").await.expect("fine"),
        None
    );
    assert!(matches!(
        outbox.read_batch(second.no).await,
        Err(BatchAccessError::Unknown(_))
    ));
    for batch in outbox.pending_batches(BatchNo(0), usize::MAX) {
        outbox.ack(batch.no);
    }
    seal_all(&outbox).await;
    let last = outbox.pending_batches(BatchNo(0), 9);
    let (_, bytes) = outbox.read_batch(last[0].no).await.expect("reads");
    let batch = sync_wire::verify(&bytes).expect("verifies");
    let record = batch.records().next().expect("the gap record");
    let gap: serde_json::Value = serde_json::from_slice(record.body).expect("JSON");
    assert_eq!(gap["cause"], "dead_letter");
    assert_eq!(gap["batch_no"], second.no.0);
    assert_eq!(gap["first_seq"], second.first_seq.0);
    assert_eq!(gap["records"], second.count);
    // It stays aside: with the database, and without.
    for wipe in [false, true] {
        outbox.close().await;
        if wipe {
            std::fs::remove_dir_all(dir.path().join("db")).expect("there");
        }
        let outbox = open(&config);
        assert_eq!(outbox.status().dead.batches, 1);
        let pending = outbox.pending_batches(BatchNo(0), usize::MAX);
        assert!(pending.iter().all(|b| b.no != second.no));
        outbox.close().await;
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = small(dir.path());
    config.quota_bytes = 4 * config.segment_bytes;
    let outbox = open(&config);
    let too_large = Bytes::from(vec![0; MAX_RECORD_BYTES + 1]);
    let error = outbox.append(too_large).await.expect_err("too large");
    assert!(matches!(error, AppendError::TooLarge { .. }) && !error.is_retryable());

    let mut n = 0;
    let full = loop {
        match outbox.append(Bytes::from(vec![b'x'; 1000])).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full { .. }) && full.is_retryable());
    assert!(matches!(
        outbox.append_later(body(0)),
        Ok(()) | Err(AppendError::Full { .. })
    ));
    assert!((28..=32).contains(&n), "{n} KB fit into 32 KiB");
    // It drains, and takes records again.
    outbox.set_epoch(Epoch(1)).expect("the first epoch");
    wait_until("there is room again", || {
        for batch in outbox.pending_batches(BatchNo(0), usize::MAX) {
            outbox.ack(batch.no);
        }
        outbox.status().used_bytes < config.quota_bytes / 2
    })
    .await;
    outbox.append(body(0)).await.expect("room again");
}

#[tokio::test]
async fn one_directory_one_process_one_site_one_epoch() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    let outbox = open(&config);
    assert!(matches!(
        Outbox::open(config.clone()),
        Err(OpenError::Locked(_))
    ));
    assert_eq!(outbox.set_epoch(Epoch(0)), Err(EpochError::Zero));
    outbox.set_epoch(Epoch(3)).expect("the first epoch");
    outbox.set_epoch(Epoch(3)).expect("the same again");
    assert_eq!(
        outbox.set_epoch(Epoch(4)),
        Err(EpochError::Fixed { have: 3, given: 4 })
    );
    outbox.close().await;
    let mut other = config.clone();
    other.site = SiteId::new("site-2").expect("a good name");
    assert!(matches!(
        Outbox::open(other),
        Err(OpenError::OtherSite { .. })
    ));
    let mut wrong = config.clone();
    wrong.quota_bytes = 1;
    assert!(matches!(Outbox::open(wrong), Err(OpenError::Config(_))));
    open(&config).close().await;
}

#[tokio::test]
async fn small_notes_and_large_records_share_a_batch_up_to_its_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = small(dir.path());
    config.segment_bytes = 1024 * 1024;
    let outbox = open(&config);
    outbox.set_epoch(Epoch(1)).expect("the first epoch");
    let large = Bytes::from(vec![b'z'; MAX_RECORD_BYTES]);
    for n in 0..20 {
        let record = if n % 2 == 0 { large.clone() } else { body(n) };
        outbox.append(record).await.expect("durable");
    }
    let delivered = drain(&outbox).await;
    assert_eq!(delivered.records.len(), 20);
    assert_eq!(delivered.records[&1], large);
    assert_eq!(delivered.gaps, []);
}

#[tokio::test]
async fn a_load_reports_what_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = small(dir.path());
    config.segment_bytes = 16 * 1024 * 1024;
    config.quota_bytes = 1024 * 1024 * 1024;
    config.seal_bytes = 1024 * 1024;
    let outbox = open(&config);
    for (record_bytes, callers) in [(1024, 64), (200 * 1024, 4)] {
        let spec = LoadSpec {
            record_bytes,
            callers,
            duration: Duration::from_millis(300),
        };
        let before = outbox.status().last_seq.0;
        let result = load::run(&outbox, spec)
            .await
            .expect("no record is refused for good");
        println!(
            "{record_bytes} bytes: {:.0}/s, p50 {:?}, p99 {:?}",
            result.per_second(),
            result.percentile(50.0),
            result.percentile(99.0)
        );
        assert!(result.appended >= callers as u64);
        assert_eq!(outbox.status().last_seq.0 - before, result.appended);
        assert_eq!(result.latencies.len() as u64, result.appended);
    }
    let (short, long) = (load::record(300, 1), load::record(300, 2));
    assert_eq!((short.len(), long.len()), (300, 300));
    serde_json::from_slice::<serde_json::Value>(&short).expect("JSON");
}
