//! Damaged, truncated and lost files: one damaged file ends in an outbox that runs, with the damage set aside, counted, and
//! shown as an explicit gap; everything else is still there.

use std::{fs, path::Path};

use bytes::Bytes;
use common::{Delivered, drain, files, flip_bit, seal_all, small, wait_until};
use outbox::{BatchNo, Epoch, OpenReport, Outbox, OutboxConfig, StoreOpening, inspect};

mod common;

const RECORDS: u64 = 400;

fn body(seq: u64) -> Vec<u8> {
    format!("{{\"v\":1,\"seq\":{seq},\"pad\":\"{}\"}}", "p".repeat(60)).into_bytes()
}

async fn fill(config: &OutboxConfig, records: std::ops::RangeInclusive<u64>, epoch: Option<Epoch>) {
    let (outbox, _) = Outbox::open(config.clone()).expect("opens");
    if let Some(epoch) = epoch {
        outbox.set_epoch(epoch).expect("one epoch");
    }
    for seq in records {
        let receipt = outbox
            .append(Bytes::from(body(seq)))
            .await
            .expect("durable");
        assert_eq!(receipt.seq.0, seq);
    }
    if epoch.is_some() {
        seal_all(&outbox).await;
    }
    outbox.close().await;
}

/// Opens, appends one more, drains, and checks: what is there is right, and what is not is in a gap.
async fn check(config: &OutboxConfig, lost: impl Fn(u64) -> bool) -> (OpenReport, Delivered) {
    let (outbox, report) = Outbox::open(config.clone()).expect("opens");
    let receipt = outbox
        .append(Bytes::from(body(RECORDS + 1)))
        .await
        .expect("runs on");
    assert_eq!(receipt.seq.0, RECORDS + 1, "no number is given twice");
    outbox.set_epoch(Epoch(1)).expect("one epoch");
    let delivered = drain(&outbox).await;
    for seq in 1..=RECORDS + 1 {
        if lost(seq) {
            assert!(delivered.has_gap_for(seq), "{seq} is in a gap");
            assert!(!delivered.records.contains_key(&seq));
        } else {
            assert_eq!(delivered.records.get(&seq), Some(&body(seq)), "{seq}");
            assert!(!delivered.has_gap_for(seq));
        }
    }
    outbox.close().await;
    (report, delivered)
}

fn segments(config: &OutboxConfig) -> Vec<std::path::PathBuf> {
    files(&config.dir.join("segments"))
}

fn batches(config: &OutboxConfig) -> Vec<std::path::PathBuf> {
    files(&config.dir.join("batches"))
}

fn seq_in(path: &Path, needle_offset: usize) -> u64 {
    let bytes = fs::read(path).expect("reads");
    let before = String::from_utf8_lossy(&bytes[..needle_offset]).into_owned();
    let at = before.rfind("\"seq\":").expect("a record") + 6;
    before[at..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn a_flipped_bit_in_a_segment_costs_that_record_alone() {
    for wipe_database in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = small(dir.path());
        fill(&config, 1..=RECORDS, None).await;
        let path = segments(&config)[1].clone();
        let seq = seq_in(&path, 4000);
        let text = fs::read(&path).expect("reads");
        let needle = format!("\"seq\":{seq},");
        let at = text
            .windows(needle.len())
            .position(|w| w == needle.as_bytes())
            .expect("there");
        flip_bit(&path, 8 * at as u64);
        if wipe_database {
            fs::remove_dir_all(dir.path().join("db")).expect("there");
        }
        assert_eq!(
            inspect::verify(dir.path()).expect("reads").problems.len(),
            1
        );
        let (report, delivered) = check(&config, |s| s == seq).await;
        assert_eq!(delivered.gap_records(), 1);
        assert_eq!(
            report.damaged_regions,
            u64::from(wipe_database),
            "else it is found when sealed"
        );
        let aside = inspect::ls(dir.path()).expect("lists").quarantine;
        assert_eq!(aside.len(), 1, "{aside:?}");
    }
}

#[tokio::test]
async fn the_last_record_damaged_or_cut_off_is_a_gap_and_its_number_is_not_given_again() {
    for cut in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = small(dir.path());
        fill(&config, 1..=RECORDS, None).await;
        let path = segments(&config).pop().expect("a segment");
        let len = fs::metadata(&path).expect("there").len();
        if cut {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .expect("opens");
            file.set_len(len - body(RECORDS).len() as u64 - 24)
                .expect("cuts at a record's end");
        } else {
            flip_bit(&path, 8 * (len - 5));
        }
        let (report, _) = check(&config, |seq| seq == RECORDS).await;
        assert_eq!(report.lost_records, 1);
    }
}

#[tokio::test]
async fn a_lost_segment_is_one_gap() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    fill(&config, 1..=RECORDS, None).await;
    let all = segments(&config);
    let first_of = |i: usize| -> u64 {
        let name = all[i]
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        name.split('-')
            .next_back()
            .expect("two parts")
            .parse()
            .expect("a number")
    };
    let lost = first_of(2)..first_of(3);
    fs::remove_file(&all[2]).expect("there");
    let (_, delivered) = check(&config, |seq| lost.contains(&seq)).await;
    assert_eq!(delivered.gaps.len(), 1);
}

#[tokio::test]
async fn garbage_for_a_whole_segment_is_one_gap() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    fill(&config, 1..=RECORDS, None).await;
    let path = &segments(&config)[0];
    fs::write(path, vec![0xa5; 5000]).expect("writes");
    let end = {
        let name = segments(&config)[1]
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        name.split('-')
            .next_back()
            .expect("two parts")
            .parse::<u64>()
            .expect("a number")
    };
    check(&config, |seq| seq < end).await;
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Body,
    Header,
    Truncate,
    Delete,
}

#[tokio::test]
async fn a_damaged_batch_is_replaced_by_a_gap_and_the_lane_goes_on() {
    for harm in [Harm::Body, Harm::Header, Harm::Truncate, Harm::Delete] {
        for wipe_database in [false, true] {
            for last in [false, true] {
                let dir = tempfile::tempdir().expect("a directory");
                let config = small(dir.path());
                fill(&config, 1..=RECORDS, Some(Epoch(1))).await;
                // What is sealed from segments that are still there could be made again: take that away.
                for path in segments(&config) {
                    fs::remove_file(path).expect("there");
                }
                let all = batches(&config);
                let path = if last {
                    all.last().expect("many")
                } else {
                    &all[2]
                };
                let bytes = fs::read(path).expect("reads");
                let header = sync_wire::verify(&bytes).expect("verifies").header;
                let lost = header.first_seq.0..=header.last_seq.0;
                match harm {
                    Harm::Body => flip_bit(path, 8 * (bytes.len() as u64 - 9)),
                    Harm::Header => flip_bit(path, 8 * 40),
                    Harm::Truncate => fs::write(path, &bytes[..bytes.len() / 2]).expect("writes"),
                    Harm::Delete => fs::remove_file(path).expect("there"),
                }
                if wipe_database {
                    fs::remove_dir_all(dir.path().join("db")).expect("there");
                }
                let (report, delivered) = check(&config, |seq| lost.contains(&seq)).await;
                println!("{harm:?} {wipe_database} {last}: {report:?}");
                assert_eq!(delivered.gaps.len(), 1, "{harm:?}");
                let aside = inspect::ls(dir.path()).expect("lists").quarantine;
                assert_eq!(
                    aside.is_empty(),
                    matches!(harm, Harm::Delete),
                    "{harm:?} {aside:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_batch_is_made_again_byte_for_byte_while_its_segment_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = small(dir.path());
    config.segment_bytes = 1024 * 1024;
    fill(&config, 1..=RECORDS, Some(Epoch(1))).await;
    let path = batches(&config)[1].clone();
    let good = fs::read(&path).expect("reads");
    flip_bit(&path, 8 * (good.len() as u64 - 9));
    let (outbox, _) = Outbox::open(config.clone()).expect("opens");
    let (batch, bytes) = outbox.read_batch(BatchNo(2)).await.expect("mended");
    assert_eq!(bytes, good);
    assert_eq!(batch.hash, outbox::Digest::of(&good));
    assert_eq!(outbox.status().damaged_batches, 1);
    assert_eq!(outbox.status().lost_records, 0);
    outbox.close().await;
    check(&config, |_| false).await;
}

#[tokio::test]
async fn losing_everything_but_segments_and_batches_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    fill(&config, 1..=RECORDS / 2, Some(Epoch(1))).await;
    let incarnation = inspect::ls(dir.path()).expect("lists").incarnation;
    fill(&config, RECORDS / 2 + 1..=RECORDS, None).await;
    fs::remove_dir_all(dir.path().join("db")).expect("there");
    for path in files(dir.path()) {
        fs::remove_file(path).expect("there");
    }
    check(&config, |_| false).await;
    assert_eq!(
        inspect::ls(dir.path()).expect("lists").incarnation,
        incarnation
    );
}

#[tokio::test]
async fn a_strange_database_is_set_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    fill(&config, 1..=RECORDS, Some(Epoch(1))).await;
    let db = dir.path().join("db");

    // A file where the directory should be.
    fs::remove_dir_all(&db).expect("there");
    fs::write(&db, b"not a database").expect("writes");
    let (outbox, report) = Outbox::open(config.clone()).expect("opens");
    assert!(
        matches!(report.store, StoreOpening::Rebuilt { .. }),
        "{report:?}"
    );
    outbox.close().await;

    // Another outbox's.
    let other = tempfile::tempdir().expect("a directory");
    fill(&small(other.path()), 1..=10, Some(Epoch(1))).await;
    let _ = fs::remove_dir_all(dir.path().join("quarantine/db"));
    let _ = fs::remove_file(dir.path().join("quarantine/db"));
    fs::remove_dir_all(&db).expect("there");
    fs::rename(other.path().join("db"), &db).expect("moves");
    let (report, _) = check(&config, |_| false).await;
    assert!(
        matches!(report.store, StoreOpening::Rebuilt { .. }),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_database_that_goes_while_the_outbox_runs_is_rebuilt() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    fill(&config, 1..=RECORDS, Some(Epoch(1))).await;
    let (outbox, _) = Outbox::open(config.clone()).expect("opens");
    fs::remove_dir_all(dir.path().join("db")).expect("there");
    let all = outbox.pending_batches(BatchNo(0), usize::MAX);
    for batch in &all {
        outbox.ack(batch.no);
    }
    wait_until("it is rebuilt", || {
        let status = outbox.status();
        status.store_rebuilds == 1 && status.store_is_up
    })
    .await;
    outbox
        .append(Bytes::from_static(b"{}"))
        .await
        .expect("runs on");
    outbox.close().await;
    let (outbox, report) = Outbox::open(config).expect("opens");
    assert_eq!(report.store, StoreOpening::Opened);
    assert_eq!(
        outbox.pending_batches(BatchNo(0), 9),
        [],
        "acknowledgements are in the new one"
    );
}

#[tokio::test]
async fn any_file_may_be_garbage_and_the_outbox_opens_and_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = dir.path().join("origin");
    let mut config = small(&origin);
    config.segment_bytes = 64 * 1024;
    fill(&config, 1..=120, Some(Epoch(1))).await;
    let (outbox, _) = Outbox::open(config.clone()).expect("opens");
    outbox
        .dead_letter(BatchNo(2), "test")
        .await
        .expect("set aside");
    outbox.close().await;
    let all: Vec<_> = ["", "db", "segments", "batches", "dead"]
        .iter()
        .flat_map(|sub| files(&origin.join(sub)))
        .collect();
    for (i, path) in all.iter().enumerate() {
        let copy = dir.path().join(format!("copy-{i}"));
        copy_tree(&origin, &copy);
        let target = copy.join(path.strip_prefix(&origin).expect("inside"));
        fs::write(&target, vec![0xa5; 300]).expect("writes");
        config.dir.clone_from(&copy);
        let (outbox, _) = Outbox::open(config.clone()).expect("opens");
        outbox
            .append(Bytes::from_static(b"{}"))
            .await
            .expect("runs on");
        if outbox.epoch().is_none() {
            outbox.set_epoch(Epoch(1)).expect("one epoch");
        }
        seal_all(&outbox).await;
        for batch in outbox.pending_batches(BatchNo(0), usize::MAX) {
            outbox
                .read_batch(batch.no)
                .await
                .expect("reads or is mended");
        }
        outbox.close().await;
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copies");
        }
    }
}
