//! The outbox against the simplest model there is: a map from number to record. Random operations, faults, power cuts (what was
//! not synced is taken back), lost databases and reopenings; in the end everything acknowledged is at the centre exactly once.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{
    Random,
    fault_disk::{Fault, FaultDisk},
    seal_all, small, wait_until,
};
use outbox::{BatchNo, Epoch, Outbox, OutboxConfig};
use proptest::prelude::*;

mod common;

#[derive(Clone, Debug)]
enum Op {
    /// This many callers at once, records of about this length.
    Append(u8, u16),
    AppendLater(u8),
    Fault(Fault, u8),
    Seal,
    /// Sends and acknowledges this many batches.
    Deliver(u8),
    /// The aggregator has it, but the acknowledgement never came.
    DeliverUnheard,
    Resend(u8),
    Reopen {
        wipe_database: bool,
    },
    PowerCut {
        wipe_database: bool,
        seed: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let fault = prop_oneof![
        Just(Fault::WriteFull),
        Just(Fault::WriteError),
        Just(Fault::SyncError),
        Just(Fault::RenameError),
    ];
    prop_oneof![
        8 => (1u8..12, 0u16..3000).prop_map(|(n, len)| Op::Append(n, len)),
        3 => (1u8..12).prop_map(Op::AppendLater),
        3 => (fault, 0u8..6).prop_map(|(fault, after)| Op::Fault(fault, after)),
        2 => Just(Op::Seal),
        3 => (1u8..6).prop_map(Op::Deliver),
        1 => Just(Op::DeliverUnheard),
        1 => (1u8..6).prop_map(Op::Resend),
        1 => any::<bool>().prop_map(|wipe_database| Op::Reopen { wipe_database }),
        3 => (any::<bool>(), any::<u64>())
            .prop_map(|(wipe_database, seed)| Op::PowerCut { wipe_database, seed }),
    ]
}

struct World<'a> {
    dir: &'a Path,
    config: OutboxConfig,
    disk: FaultDisk,
    outbox: Outbox,
    next_body: u64,
    /// What was acknowledged: the model.
    acked: BTreeMap<u64, Bytes>,
    centre: BTreeMap<u64, Bytes>,
}

fn open(config: &OutboxConfig, disk: &FaultDisk) -> Outbox {
    let (outbox, report) = Outbox::open_on(config.clone(), Arc::new(disk.clone())).expect("opens");
    assert_eq!(report.lost_records, 0, "{report:?}");
    assert_eq!(report.replaced_batches, 0, "{report:?}");
    outbox.set_epoch(Epoch(1)).expect("one epoch");
    outbox
}

impl<'a> World<'a> {
    fn new(dir: &'a Path) -> Self {
        let mut config = small(dir);
        config.hold = Duration::from_millis(50);
        let disk = FaultDisk::new();
        Self {
            dir,
            outbox: open(&config, &disk),
            config,
            disk,
            next_body: 0,
            acked: BTreeMap::new(),
            centre: BTreeMap::new(),
        }
    }

    fn body(&mut self, len: u16) -> Bytes {
        self.next_body += 1;
        let pad = "p".repeat(usize::from(len) + (self.next_body % 7) as usize);
        Bytes::from(format!("{}:{pad}", self.next_body))
    }

    async fn append(&mut self, callers: u8, len: u16) {
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (outbox, body) = (self.outbox.clone(), self.body(len));
                tokio::spawn(async move { (outbox.append(body.clone()).await, body) })
            })
            .collect();
        for task in tasks {
            let (result, body) = task.await.expect("no panic");
            if let Ok(receipt) = result {
                let old = self.acked.insert(receipt.seq.0, body);
                assert!(old.is_none(), "number {} twice", receipt.seq);
            }
        }
    }

    async fn deliver(&mut self, max: usize, heard: bool) {
        for batch in self.outbox.pending_batches(BatchNo(0), max) {
            let (batch, bytes) = self.outbox.read_batch(batch.no).await.expect("reads");
            let stored = self
                .centre
                .entry(batch.no.0)
                .or_insert_with(|| bytes.clone());
            assert!(*stored == bytes, "conflict in batch {}", batch.no);
            if heard {
                self.outbox.ack(batch.no);
            }
        }
    }

    async fn reopen(&mut self, wipe_database: bool, cut: Option<u64>) {
        if cut.is_some() {
            self.disk.cut_power();
        } else {
            self.disk.calm();
        }
        self.outbox.close().await;
        if let Some(seed) = cut {
            let mut random = Random(seed);
            self.disk
                .lose_unsynced(|n| random.below(n as u64 + 1) as usize);
        }
        if wipe_database {
            std::fs::remove_dir_all(self.dir.join("db")).expect("there");
        }
        self.disk = FaultDisk::new();
        self.outbox = open(&self.config, &self.disk);
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Append(callers, len) => self.append(callers, len).await,
            Op::AppendLater(n) => {
                for _ in 0..n {
                    let body = self.body(10);
                    // Refused or lost later: nobody was told that it is durable.
                    let _ = self.outbox.append_later(body);
                }
            }
            Op::Fault(fault, after) => self.disk.inject(fault, u32::from(after)),
            Op::Seal => self.outbox.seal_now(),
            Op::Deliver(max) => self.deliver(usize::from(max), true).await,
            Op::DeliverUnheard => self.deliver(1, false).await,
            Op::Resend(from) => drop(self.outbox.resend_from(BatchNo(u64::from(from)))),
            Op::Reopen { wipe_database } => self.reopen(wipe_database, None).await,
            Op::PowerCut {
                wipe_database,
                seed,
            } => self.reopen(wipe_database, Some(seed)).await,
        }
    }

    async fn check(mut self) {
        self.disk.calm();
        self.outbox.flush().await.expect("open");
        seal_all(&self.outbox).await;
        self.deliver(usize::MAX, true).await;
        let mut records = BTreeMap::new();
        let (mut next_no, mut next_seq) = (1, 1);
        for (no, bytes) in &self.centre {
            let batch = sync_wire::verify(bytes).expect("verifies");
            assert_eq!((*no, batch.header.first_seq.0), (next_no, next_seq));
            assert_eq!(batch.header.gaps, []);
            (next_no, next_seq) = (no + 1, batch.header.last_seq.0 + 1);
            for record in batch.records() {
                records.insert(record.seq.0, Bytes::copy_from_slice(record.body));
            }
        }
        for (seq, body) in &self.acked {
            assert_eq!(records.get(seq), Some(body), "record {seq}");
        }
        let mut bodies: Vec<_> = records.values().collect();
        bodies.sort();
        let all = bodies.len();
        bodies.dedup();
        assert_eq!(bodies.len(), all, "no record twice");
        let status = self.outbox.status();
        assert_eq!(status.backlog_records, 0);
        let outbox = &self.outbox;
        wait_until("the disk is back at its floor", || {
            outbox.status().segment_bytes < self.config.segment_bytes
        })
        .await;
        self.outbox.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn everything_acknowledged_reaches_the_centre_once(ops in proptest::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("a directory");
            let mut world = World::new(dir.path());
            for op in ops {
                world.apply(op).await;
            }
            world.check().await;
        });
    }
}
