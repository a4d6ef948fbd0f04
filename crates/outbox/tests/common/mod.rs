//! What the tests share: small configurations, waiting for conditions, reading an outbox's records off its files.
#![allow(dead_code, reason = "each test uses its own part")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use outbox::{BatchNo, Outbox, OutboxConfig, SiteId};

pub mod fault_disk;

/// Generous: a busy machine with two cores runs other things too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Small limits, so that segments roll and batches seal after a few records.
pub fn small(dir: &Path) -> OutboxConfig {
    let mut config = OutboxConfig::new(dir, SiteId::new("site-1").expect("a good name"));
    config.quota_bytes = 64 * 1024 * 1024;
    config.min_free_bytes = 1024 * 1024;
    config.reserve_bytes = 64 * 1024;
    config.segment_bytes = 8 * 1024;
    config.seal_bytes = 4 * 1024;
    config.seal_records = 100;
    config.seal_age = Duration::from_millis(20);
    config
}

pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All records and gaps of all pending batches, after sealing everything. Checks that the batches follow each other.
#[derive(Debug, Default)]
pub struct Delivered {
    pub records: BTreeMap<u64, Vec<u8>>,
    pub gaps: Vec<(u64, u64)>,
}

impl Delivered {
    pub fn has_gap_for(&self, seq: u64) -> bool {
        self.gaps.iter().any(|(a, b)| (*a..=*b).contains(&seq))
    }

    pub fn gap_records(&self) -> u64 {
        self.gaps.iter().map(|(a, b)| b - a + 1).sum()
    }

    fn take(&mut self, bytes: &[u8], next: &mut u64) {
        let batch = sync_wire::verify(bytes).expect("a batch that is read verifies");
        assert_eq!(batch.header.first_seq.0, *next, "batches follow each other");
        *next = batch.header.last_seq.0 + 1;
        for record in batch.records() {
            let old = self.records.insert(record.seq.0, record.body.to_vec());
            assert!(old.is_none(), "record {} twice", record.seq);
        }
        let gaps = &batch.header.gaps;
        self.gaps.extend(gaps.iter().map(|g| (g.first.0, g.last.0)));
    }
}

pub async fn seal_all(outbox: &Outbox) {
    wait_until("all is sealed", || {
        outbox.seal_now();
        let status = outbox.status();
        status.sealed_through == status.last_seq
    })
    .await;
}

/// Seals everything and reads every batch, as the sync driver would.
pub async fn drain(outbox: &Outbox) -> Delivered {
    seal_all(outbox).await;
    let mut delivered = Delivered::default();
    let mut next = 1;
    for batch in outbox.pending_batches(BatchNo(0), usize::MAX) {
        let (_, bytes) = outbox.read_batch(batch.no).await.expect("reads");
        delivered.take(&bytes, &mut next);
    }
    delivered
}

/// splitmix64: seeded, so that a failure can be run again.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// From the variable `OUTBOX_TEST_SEED`, or from the clock; printed either way.
    pub fn seeded(test: &str) -> Self {
        let given = std::env::var("OUTBOX_TEST_SEED")
            .ok()
            .and_then(|s| s.parse().ok());
        let clock = std::time::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_nanos() as u64;
        let seed = given.unwrap_or(clock);
        println!("{test}: OUTBOX_TEST_SEED={seed}");
        Self(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

pub fn flip_bit(path: &Path, bit: u64) {
    let mut bytes = std::fs::read(path).expect("there");
    let at = usize::try_from(bit / 8).expect("fits") % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).expect("writes");
}

pub fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
