//! An outbox that is full, by its quota or because its disk is: durable routes refuse in words, lazy ones serve on, and what was
//! acknowledged is there when room is back.

use std::path::Path;
use std::process::Command;

use http::StatusCode;

use crate::centre::{ROUTES, aggregator, receipt, stored, sync};
use crate::client::{Reply, fetch};
use crate::origin::Origin;
use crate::site::{Folder, Gateway, plain, problem, silent_port, until};

/// Of one kind of test: more than this and the disk was not full.
const MOST_REQUESTS: usize = 5000;

/// Records have the path: with a long one they fill the outbox sooner. (A small one may still fit where this does not.)
fn large() -> String {
    format!("/durable/{}", "x".repeat(6000))
}

/// Durable requests until one is refused; those that were not are added to `acked`.
async fn fill(gateway: &Gateway, acked: &mut Vec<u64>) -> Reply {
    let path = large();
    for _ in 0..MOST_REQUESTS {
        let reply = fetch(gateway.addr, &path).await;
        if reply.status != StatusCode::OK {
            return reply;
        }
        acked.push(receipt(&reply));
    }
    panic!("it was never full");
}

/// Refused as full, again and again, while other routes serve.
async fn is_full(gateway: &Gateway, reply: Reply) {
    let mut reply = reply;
    for _ in 0..3 {
        problem(
            &reply,
            StatusCode::INSUFFICIENT_STORAGE,
            ":gateway:storage-full",
            "its storage is full",
        );
        assert_eq!(reply.header("veilgate-record"), None);
        assert_eq!(reply.header("retry-after"), Some("10"));
        gateway.still_serves("/lazy").await;
        reply = fetch(gateway.addr, &large()).await;
    }
}

/// Waits for the first durable answer; it and two more must be there afterwards, too.
async fn works_again(gateway: &Gateway, acked: &mut Vec<u64>) {
    until("there is room again", async || {
        let reply = fetch(gateway.addr, "/durable").await;
        let fine = reply.status == StatusCode::OK;
        if fine {
            acked.push(receipt(&reply));
        }
        fine
    })
    .await;
    for _ in 0..2 {
        acked.push(receipt(&fetch(gateway.addr, "/durable").await));
    }
}

/// All that was acknowledged arrives at the centre, nothing of it twice.
async fn arrives(folder: &Folder, acked: &[u64]) {
    let mut last = Vec::new();
    until("every acknowledged record has arrived", async || {
        last = stored(folder);
        acked.iter().all(|seq| last.binary_search(seq).is_ok())
    })
    .await;
    assert!(
        last.windows(2).all(|pair| pair[0] < pair[1]),
        "a record twice: {last:?}"
    );
    assert!(
        acked.windows(2).all(|pair| pair[0] < pair[1]),
        "a number twice: {acked:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_at_its_quota_refuses_until_the_centre_has_taken_what_waits() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::with_certificates();
    let (silent, addr) = silent_port();
    let sync = sync(addr, "edge-1");
    let outbox = "[outbox]\ndir = \"outbox\"\nsite = \"edge-1\"\nquota_bytes = \"1MiB\"\nmin_free_bytes = 0\n";
    let gateway = folder
        .run(&plain(origin, &format!("{ROUTES}{outbox}{sync}")))
        .await;
    let mut acked = Vec::new();
    let refused = fill(&gateway, &mut acked).await;
    assert!(acked.len() > 20, "{acked:?}");
    is_full(&gateway, refused).await;
    assert!(
        gateway
            .metrics()
            .await
            .contains("gateway_outbox_append_errors_total{kind=\"full\"}")
    );
    drop(silent);
    let centre = aggregator(&folder, addr.port());
    works_again(&gateway, &mut acked).await;
    arrives(&folder, &acked).await;
    gateway.stop();
    centre.stop().await;
}

/// A file system of its own, where the machine lets us mount one.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_until_there_is_room() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::with_certificates();
    let disk = folder.path().join("disk");
    let Some(_tmpfs) = Tmpfs::mount(&disk, "24m") else {
        println!(
            "left out: no right to mount a file system here; the test of the quota takes the same way"
        );
        return;
    };
    let outbox = "[outbox]\ndir = \"disk/outbox\"\nsite = \"edge-1\"\nmin_free_bytes = \"1MiB\"\n";
    let gateway = folder
        .run(&plain(origin, &format!("{ROUTES}{outbox}")))
        .await;
    let mut acked = vec![receipt(&fetch(gateway.addr, "/durable").await)];
    let filler = disk.join("filler");
    // Fills what is left; the error is the point.
    let _ = std::fs::write(&filler, vec![1; 32 << 20]);
    let refused = fill(&gateway, &mut acked).await;
    is_full(&gateway, refused).await;
    // A restart on the full disk serves too.
    gateway.stop();
    let gateway = folder
        .run(&plain(origin, &format!("{ROUTES}{outbox}")))
        .await;
    let refused = fill(&gateway, &mut acked).await;
    is_full(&gateway, refused).await;
    std::fs::remove_file(&filler).expect("there");
    works_again(&gateway, &mut acked).await;
    gateway.stop();

    let verified = folder
        .veilgate(&["outbox", "verify", "--dir", "disk/outbox"])
        .fine();
    assert!(!verified.out.is_empty());
    let centre = aggregator(&folder, 0);
    let sync = sync(centre.addr(), "edge-1");
    let gateway = folder
        .run(&plain(origin, &format!("{ROUTES}{outbox}{sync}")))
        .await;
    arrives(&folder, &acked).await;
    gateway.stop();
    centre.stop().await;
}
