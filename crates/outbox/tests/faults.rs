//! A disk that is full or fails: the records of that moment are refused, none that was acknowledged is lost, and the outbox
//! works again as soon as the disk does.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{
    Delivered, drain,
    fault_disk::{Fault, FaultDisk},
    seal_all, small, wait_until,
};
use outbox::{AppendError, BatchNo, Epoch, Outbox, OutboxConfig};

mod common;

fn open_on(config: &OutboxConfig, disk: &FaultDisk) -> Outbox {
    Outbox::open_on(config.clone(), Arc::new(disk.clone()))
        .expect("opens")
        .0
}

fn body(n: u64) -> Bytes {
    Bytes::from(format!("{{\"n\":{n},\"pad\":\"{}\"}}", "p".repeat(200)))
}

/// What was acknowledged, to be compared with what is delivered.
#[derive(Default)]
struct Acked(Vec<(u64, Bytes)>);

impl Acked {
    async fn append(&mut self, outbox: &Outbox, n: u64) -> Result<(), AppendError> {
        let receipt = outbox.append(body(n)).await?;
        self.0.push((receipt.seq.0, body(n)));
        Ok(())
    }

    fn check(&self, delivered: &Delivered) {
        for (seq, body) in &self.0 {
            assert_eq!(
                delivered.records.get(seq).map(Vec::as_slice),
                Some(&body[..]),
                "{seq}"
            );
        }
    }
}

#[tokio::test]
async fn a_failed_write_or_fsync_refuses_its_records_and_nothing_else() {
    for fault in [Fault::WriteError, Fault::WriteFull, Fault::SyncError] {
        for reopen in [false, true] {
            let dir = tempfile::tempdir().expect("a directory");
            let (config, disk) = (small(dir.path()), FaultDisk::new());
            let outbox = open_on(&config, &disk);
            let mut acked = Acked::default();
            for n in 0..200 {
                if n % 20 == 13 {
                    disk.inject(fault, 0);
                    let error = acked.append(&outbox, n).await.expect_err("refused");
                    assert!(matches!(error, AppendError::Io(_)) && error.is_retryable());
                    disk.calm();
                } else {
                    acked.append(&outbox, n).await.expect("works again at once");
                }
            }
            let faults = outbox.status().commit_failures;
            assert_eq!(faults, 10);
            let outbox = if reopen {
                outbox.close().await;
                open_on(&config, &disk)
            } else {
                outbox
            };
            outbox.set_epoch(Epoch(1)).expect("one epoch");
            let delivered = drain(&outbox).await;
            acked.check(&delivered);
            assert_eq!(
                delivered.gaps,
                [],
                "{fault:?}: refused records use no number"
            );
            assert_eq!(
                delivered.records.len(),
                acked.0.len(),
                "{fault:?}: and are not there"
            );
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_before_it_is_written_to_and_room_brings_everything_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (config, disk) = (small(dir.path()), FaultDisk::new());
    let outbox = open_on(&config, &disk);
    outbox.set_epoch(Epoch(1)).expect("one epoch");
    let mut acked = Acked::default();
    for n in 0..50 {
        acked.append(&outbox, n).await.expect("room");
    }
    disk.set_free_bytes(Some(config.min_free_bytes / 2));
    for _ in 0..3 {
        let error = acked.append(&outbox, 99).await.expect_err("no room");
        assert!(matches!(error, AppendError::DiskFull { .. }) && error.is_retryable());
        assert!(matches!(
            outbox.append_later(body(99)),
            Err(AppendError::DiskFull { .. })
        ));
    }
    assert!(outbox.status().space_is_low);
    // Sealing, reading, acknowledging and dead letters go on.
    seal_all(&outbox).await;
    let first = outbox.pending_batches(BatchNo(0), 1)[0].no;
    outbox
        .dead_letter(first, "test")
        .await
        .expect("a gap record is always taken");
    disk.set_free_bytes(None);
    for n in 50..100 {
        acked.append(&outbox, n).await.expect("room again");
    }
    seal_all(&outbox).await;
    assert_eq!(
        outbox.status().last_seq.0,
        101,
        "100 records and the gap record"
    );
    outbox.close().await;
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_everything_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut config, disk) = (small(dir.path()), FaultDisk::new());
    // Sealed when told to, so that it is told at the wrong moment.
    config.seal_age = Duration::from_secs(3600);
    config.seal_bytes = 1024 * 1024;
    let outbox = open_on(&config, &disk);
    outbox.set_epoch(Epoch(1)).expect("one epoch");
    let mut acked = Acked::default();
    for round in 0..10u64 {
        for n in 0..30 {
            acked.append(&outbox, round * 100 + n).await.expect("room");
        }
        // Free space is only looked at; the writes themselves fail.
        disk.set_free_bytes(Some(u64::MAX));
        disk.set_full(true);
        for n in 30..33 {
            assert!(acked.append(&outbox, round * 100 + n).await.is_err());
        }
        if round % 5 == 0 {
            let before = outbox.status().seal_failures;
            outbox.seal_now();
            wait_until("sealing has met the full disk", || {
                outbox.status().seal_failures > before
            })
            .await;
        }
        disk.set_full(false);
    }
    let delivered = drain(&outbox).await;
    acked.check(&delivered);
    assert_eq!(delivered.gaps, []);
    assert_eq!(delivered.records.len(), 300);
    assert!(
        outbox.status().seal_failures > 0,
        "sealing met the full disk too"
    );
}

#[tokio::test]
async fn sealing_that_fails_is_tried_again() {
    for fault in [
        Fault::RenameError,
        Fault::SyncError,
        Fault::ReadError,
        Fault::WriteFull,
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let (config, disk) = (small(dir.path()), FaultDisk::new());
        let outbox = open_on(&config, &disk);
        let mut acked = Acked::default();
        for n in 0..100 {
            acked.append(&outbox, n).await.expect("room");
        }
        disk.inject(fault, 0);
        // The first write and fsync that come are those of identity.json.
        while outbox.set_epoch(Epoch(1)).is_err() {
            disk.inject(fault, 2);
        }
        wait_until("the fault has struck", || disk.injected() > 0).await;
        let delivered = drain(&outbox).await;
        acked.check(&delivered);
        assert_eq!(
            (delivered.gaps.len(), delivered.records.len()),
            (0, 100),
            "{fault:?}"
        );
        outbox.close().await;
        assert_eq!(
            outbox::inspect::verify(dir.path()).expect("reads").problems,
            []
        );
    }
}

/// A file system of its own, when the machine lets us mount one.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[tokio::test]
async fn a_really_full_file_system_refuses_and_recovers() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(_tmpfs) = Tmpfs::mount(dir.path(), "12m") else {
        println!(
            "left out: no right to mount a file system here; the injected faults test the same paths"
        );
        return;
    };
    let mut config = small(&dir.path().join("outbox"));
    config.min_free_bytes = 0;
    let (outbox, _) = Outbox::open(config.clone()).expect("opens");
    outbox.set_epoch(Epoch(1)).expect("one epoch");
    let mut acked = Acked::default();
    for n in 0..100 {
        acked.append(&outbox, n).await.expect("room");
    }
    let filler = dir.path().join("filler");
    // Fills what is left; the error is the point.
    let _ = std::fs::write(&filler, vec![1u8; 16 * 1024 * 1024]);
    let mut refused = 0;
    for n in 100..2000 {
        refused += u64::from(acked.append(&outbox, n).await.is_err());
    }
    assert!(refused > 0, "a full file system refuses");
    // Opening with a full disk works too, with the database or without.
    outbox.close().await;
    let (outbox, report) = Outbox::open(config.clone()).expect("opens on a full disk");
    println!("refused {refused}; reopened on the full disk: {report:?}");
    std::fs::remove_file(&filler).expect("there");
    for n in 2000..2100 {
        acked.append(&outbox, n).await.expect("room again");
    }
    let delivered = drain(&outbox).await;
    acked.check(&delivered);
    assert_eq!(delivered.gaps, []);
    outbox.close().await;
}
