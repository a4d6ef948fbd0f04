//! A real outbox, a real driver and a real aggregator over loopback QUIC, through everything that can come between
//! them. In the end every acknowledged record is there exactly once.

mod common;

use std::sync::atomic::Ordering;

use aggregator::query::Question;
use common::{World, append, copy_dir, drain, until};
use serde_json::Value;
use sync::Condition;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_arrive_once_while_the_aggregator_comes_and_goes() {
    let world = World::new();
    let outbox = world.outbox("outbox", "mill-7");
    // Nobody is there yet: records are taken all the same.
    let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let mut receipts = append(&outbox, 50).await;
    let sync = world.sync(&outbox, port);
    until(&sync, "the first attempt has failed", |s| {
        s.problem.is_some()
    })
    .await;
    assert!(outbox.epoch().is_none());

    let aggregator = world.aggregator("store", port);
    receipts.extend(append(&outbox, 50).await);
    drain(&outbox, &sync).await;
    assert_eq!(outbox.epoch().map(|epoch| epoch.0), Some(1));
    world.check_exactly_once("store", &receipts);

    // It goes away without a word, in the middle of traffic.
    drop(aggregator);
    receipts.extend(append(&outbox, 200).await);
    until(&sync, "the loss is noticed", |s| {
        s.condition != Condition::Online
    })
    .await;
    let aggregator = world.aggregator("store", port);
    receipts.extend(append(&outbox, 50).await);
    drain(&outbox, &sync).await;
    world.check_exactly_once("store", &receipts);

    // It says goodbye, and a neighbour over the same store takes over.
    aggregator.stop().await;
    let neighbour = world.aggregator("store", port);
    receipts.extend(append(&outbox, 50).await);
    drain(&outbox, &sync).await;
    world.check_exactly_once("store", &receipts);
    sync.stop().await;
    neighbour.stop().await;
    outbox.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_restarts_goes_on_where_it_was() {
    let world = World::new();
    let aggregator = world.aggregator("store", 0);
    let port = aggregator.addr().port();
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let outbox = world.outbox("outbox", "mill-7");
        let sync = world.sync(&outbox, port);
        receipts.extend(append(&outbox, 40).await);
        // No draining: what is under way is cut off.
        sync.stop().await;
        outbox.close().await;
    }
    let outbox = world.outbox("outbox", "mill-7");
    let sync = world.sync(&outbox, port);
    drain(&outbox, &sync).await;
    world.check_exactly_once("store", &receipts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_delays_and_loses_nothing() {
    let world = World::new();
    let aggregator = world.aggregator("store", 0);
    let outbox = world.outbox("outbox", "mill-7");
    let sync = world.sync(&outbox, aggregator.addr().port());
    let mut receipts = append(&outbox, 30).await;
    drain(&outbox, &sync).await;
    world.full.store(true, Ordering::SeqCst);
    receipts.extend(append(&outbox, 30).await);
    outbox.seal_now();
    let status = until(&sync, "it is told to wait", |s| {
        s.condition == Condition::Paused
    })
    .await;
    assert!(status.problem.unwrap().contains("full"));
    assert!(!outbox.pending_batches(outbox::BatchNo(0), 1).is_empty());
    world.full.store(false, Ordering::SeqCst);
    // The aggregator asked for half a minute; a site that starts anew does not remember that.
    sync.stop().await;
    let sync = world.sync(&outbox, aggregator.addr().port());
    drain(&outbox, &sync).await;
    world.check_exactly_once("store", &receipts);
    assert_eq!(outbox.status().dead.batches, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_site_is_refused_and_nothing_is_lost() {
    let world = World::new();
    let aggregator = world.aggregator("store", 0);
    let port = aggregator.addr().port();
    let outbox = world.outbox("outbox", "mill-7");
    let wrong = sync::SyncDriver::spawn(
        outbox.clone(),
        world.sync_config(port, "mill-8"),
        std::future::pending(),
    );
    let wrong = wrong.unwrap();
    let receipts = append(&outbox, 10).await;
    let status = until(&wrong, "it is refused", |s| {
        s.condition == Condition::Blocked
    })
    .await;
    assert!(status.problem.unwrap().contains("mill-7.site.veilgate"));
    wrong.stop().await;
    let right = world.sync(&outbox, port);
    drain(&outbox, &right).await;
    world.check_exactly_once("store", &receipts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_outbox_of_the_same_site_is_fenced_and_keeps_its_records() {
    let world = World::new();
    let aggregator = world.aggregator("store", 0);
    let port = aggregator.addr().port();
    let old = world.outbox("old", "mill-7");
    let old_sync = world.sync(&old, port);
    let mut receipts = append(&old, 20).await;
    drain(&old, &old_sync).await;
    let new = world.outbox("new", "mill-7");
    let new_sync = world.sync(&new, port);
    receipts.extend(append(&new, 20).await);
    drain(&new, &new_sync).await;
    assert_eq!(new.epoch().map(|epoch| epoch.0), Some(2));
    append(&old, 5).await;
    old.seal_now();
    let status = until(&old_sync, "it is fenced", |s| {
        s.condition == Condition::Blocked
    })
    .await;
    assert!(status.problem.unwrap().contains("another outbox"));
    assert_eq!(old.status().dead.batches, 0);
    assert!(!old.pending_batches(outbox::BatchNo(0), 1).is_empty());
    world.check_exactly_once("store", &receipts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_restored_from_an_older_backup_gets_what_it_lost_again() {
    let world = World::new();
    let outbox = world.outbox("outbox", "mill-7");
    let aggregator = world.aggregator("store", 0);
    let port = aggregator.addr().port();
    let sync = world.sync(&outbox, port);
    let mut receipts = append(&outbox, 60).await;
    drain(&outbox, &sync).await;
    copy_dir(
        &world.dir.path().join("store"),
        &world.dir.path().join("restored"),
    );
    receipts.extend(append(&outbox, 60).await);
    drain(&outbox, &sync).await;
    aggregator.stop().await;
    let aggregator = world.aggregator("restored", port);
    until_complete(&world, "restored", &receipts).await;
    aggregator.stop().await;
    // And one that begins from nothing, with another incarnation: the epoch is given again.
    let _aggregator = world.aggregator("anew", port);
    until_complete(&world, "anew", &receipts).await;
    assert_eq!(outbox.epoch().map(|epoch| epoch.0), Some(1));
    sync.stop().await;
}

async fn until_complete(world: &World, store: &str, receipts: &[edge_types::Receipt]) {
    for _ in 0..600 {
        let (_, answer) = world.ask(store, Question::Count);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if answer["distinct_records"] == receipts.len() as u64 {
            return world.check_exactly_once(store, receipts);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!(
        "the store `{store}` was not filled again: {}",
        world.ask(store, Question::Count).1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_the_way_is_a_conflict_that_sets_ours_aside_and_goes_on() {
    let world = World::new();
    let aggregator = world.aggregator("store", 0);
    let port = aggregator.addr().port();
    let outbox = world.outbox("outbox", "mill-7");
    let sync = world.sync(&outbox, port);
    append(&outbox, 10).await;
    drain(&outbox, &sync).await;
    sync.stop().await;
    // Something else takes the next name.
    let events = world
        .dir
        .path()
        .join("store/sites/mill-7/batches/00000000000000000001/events");
    let next = outbox.last_batch().0 + 1;
    let first = events.join(format!("{:020}.vgb", 1));
    std::fs::copy(first, events.join(format!("{next:020}.vgb"))).unwrap();
    let sync = world.sync(&outbox, port);
    append(&outbox, 10).await;
    drain(&outbox, &sync).await;
    let status = outbox.status();
    assert_eq!(status.dead.batches, 1);
    // The lane went on, with a record that tells what is missing.
    let (_, list) = world.ask("store", Question::List);
    assert!(
        list.lines().count() > 10 && list.contains("aggregator holds batch"),
        "{list}"
    );
    sync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_is_counted_for_measuring_what_sync_costs() {
    let world = World::new();
    let aggregator = world.aggregator("store", 0);
    let outbox = world.outbox("outbox", "mill-7");
    let sync = world.sync(&outbox, aggregator.addr().port());
    let receipts = append(&outbox, 100).await;
    drain(&outbox, &sync).await;
    sync.stop().await;
    let traffic = sync.status().traffic;
    let (_, answer) = world.ask("store", Question::Count);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["stored_bytes"], traffic.sealed_bytes);
    assert_eq!(answer["record_bytes"], traffic.record_bytes);
    assert_eq!(
        (traffic.records, traffic.connections),
        (receipts.len() as u64, 1)
    );
    assert!(
        traffic.udp_tx_bytes > traffic.sealed_bytes && traffic.ip_tx_bytes() > traffic.udp_tx_bytes
    );
}
