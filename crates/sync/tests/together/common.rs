//! A site and an aggregator on one machine: certificates, a real outbox, a real store, faults on demand.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aggregator::config::Config;
use aggregator::query::{self, QueryArgs, Question};
use aggregator::server::Aggregator;
use aggregator::store::local::LocalStore;
use aggregator::store::{Created, Store, StoreError};
use bytes::Bytes;
use edge_types::{Incarnation, Receipt, SiteId};
use outbox::{Outbox, OutboxConfig};
use serde_json::Value;
use sync::{SyncConfig, SyncDriver, SyncHandle, SyncStatus};
use tempfile::TempDir;
use transport::certs::{self, CertFiles};
use transport::{ClientTls, Identity, TrustRoots};

/// Far beyond what any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub dir: TempDir,
    ca: CertFiles,
    server: CertFiles,
    pub full: Arc<AtomicBool>,
}

/// A local store that can be told to be full.
struct FaultyStore {
    inner: LocalStore,
    full: Arc<AtomicBool>,
}

impl Store for FaultyStore {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full("injected".to_owned()));
        }
        self.inner.create(name, bytes)
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(name, limit)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list(dir)
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready()
    }
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = certs::make_ca(dir.path(), "Test authority").unwrap();
        let server = certs::issue_server(&ca, dir.path(), "aggregator", &["localhost"]).unwrap();
        Self {
            dir,
            ca,
            server,
            full: Arc::default(),
        }
    }

    /// Starts an aggregator over the store `name`; port 0 takes a free one.
    pub fn aggregator(&self, name: &str, port: u16) -> Aggregator {
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            store: self.dir.path().join(name),
            cert: self.server.cert.clone(),
            key: self.server.key.clone(),
            client_ca: self.ca.cert.clone(),
            admin: None,
            min_free_bytes: 0,
        };
        let inner = LocalStore::open(&config.store, 0).unwrap();
        let store = Arc::new(FaultyStore {
            inner,
            full: self.full.clone(),
        });
        // The tasks of an aggregator that was dropped let go of its socket a moment later; and for that moment any
        // client of a test beside this one may have been given the number.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Aggregator::start_with(&config, store.clone()) {
                Ok(aggregator) => return aggregator,
                Err(error) if Instant::now() > deadline => panic!("port {port}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    pub fn outbox(&self, name: &str, site: &str) -> Outbox {
        let mut config = OutboxConfig::new(self.dir.path().join(name), SiteId::new(site).unwrap());
        config.min_free_bytes = 0;
        config.reserve_bytes = 0;
        config.segment_bytes = 64 << 10;
        config.seal_bytes = 4 << 10;
        config.seal_age = Duration::from_millis(20);
        Outbox::open(config).unwrap().0
    }

    pub fn sync_config(&self, port: u16, certificate_of: &str) -> SyncConfig {
        let client = certs::issue_client(&self.ca, self.dir.path(), certificate_of).unwrap();
        let identity = Identity::load(&client.cert, &client.key).unwrap();
        let tls = ClientTls::new(
            TrustRoots::load(&self.ca.cert).unwrap(),
            Some(identity),
            &[],
        );
        let mut config = SyncConfig::new(format!("127.0.0.1:{port}"), "localhost", tls);
        config.backoff_first = Duration::from_millis(50);
        config.backoff_most = Duration::from_millis(300);
        config.connect_timeout = Duration::from_secs(2);
        config.idle_timeout = Duration::from_secs(3);
        config
    }

    pub fn sync(&self, outbox: &Outbox, port: u16) -> SyncHandle {
        let site = outbox.config().site.to_string();
        SyncDriver::spawn(
            outbox.clone(),
            self.sync_config(port, &site),
            std::future::pending(),
        )
        .unwrap()
    }

    pub fn ask(&self, store: &str, question: Question) -> (bool, String) {
        let args = QueryArgs {
            question,
            store: self.dir.path().join(store),
            site: None,
            lane: None,
            epoch: None,
            json: true,
            limit: None,
        };
        let mut out = Vec::new();
        let good = query::run(&args, &mut out).unwrap();
        (good, String::from_utf8(out).unwrap())
    }

    /// Asserts that the store holds each of these records exactly once, and that all of it is sound.
    pub fn check_exactly_once(&self, store: &str, receipts: &[Receipt]) {
        let (good, report) = self.ask(store, Question::Verify);
        assert!(good, "{report}");
        let (_, list) = self.ask(store, Question::List);
        let lines: Vec<Value> = list
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for receipt in receipts {
            let (seq, outbox) = (receipt.seq.0, receipt.incarnation.to_string());
            let found: Vec<_> = lines
                .iter()
                .filter(|l| l["seq"] == seq && l["outbox"] == outbox.as_str())
                .collect();
            assert_eq!(found.len(), 1, "record {seq} of outbox {outbox}");
            assert_eq!(found[0]["body"]["n"], seq);
        }
        assert_eq!(lines.len(), receipts.len(), "nothing else is there");
    }
}

/// Appends records whose body repeats their number; returns their receipts.
pub async fn append(outbox: &Outbox, count: usize) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for _ in 0..count {
        let next = outbox.status().last_seq.0 + 1;
        let body = format!("{{\"v\":1,\"n\":{next},\"pad\":\"{}\"}}", "x".repeat(200));
        receipts.push(outbox.append(Bytes::from(body)).await.unwrap());
    }
    receipts
}

/// Seals what there is and waits until all of it is confirmed.
pub async fn drain(outbox: &Outbox, sync: &SyncHandle) {
    let drained = async {
        loop {
            outbox.seal_now();
            sync.drained().await;
            let status = outbox.status();
            if status.unsealed_records == 0 && status.pending.batches == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, drained).await.is_err() {
        panic!("not drained: {:?}, {:?}", sync.status(), outbox.status());
    }
}

/// Waits until the status is as wanted.
pub async fn until(
    sync: &SyncHandle,
    what: &str,
    wanted: impl Fn(&SyncStatus) -> bool,
) -> SyncStatus {
    let mut status = sync.subscribe();
    let waited = tokio::time::timeout(PATIENCE, status.wait_for(|status| wanted(status))).await;
    match waited {
        Ok(Ok(status)) => status.clone(),
        Ok(Err(_)) | Err(_) => panic!("waited in vain until {what}: {:?}", sync.status()),
    }
}

/// Copies a store's directory as it is: a backup.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
