//! The real program: started, killed and stopped as an operator (or a power cut) would, with a real site syncing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use edge_types::SiteId;
use outbox::{Outbox, OutboxConfig};
use serde_json::Value;
use sync::{SyncConfig, SyncDriver, SyncHandle};
use transport::certs::{self, CertFiles};
use transport::{ClientTls, Identity, TrustRoots};

/// Far beyond what any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    dir: tempfile::TempDir,
    ca: CertFiles,
}

/// A running `veilgate-aggregator serve`; killed when dropped.
struct Process {
    child: Child,
    addr: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_veilgate-aggregator"))
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = certs::make_ca(dir.path(), "Test authority").unwrap();
        certs::issue_server(&ca, dir.path(), "aggregator", &["localhost"]).unwrap();
        let config = "cert = \"aggregator.pem\"\nkey = \"aggregator.key\"\nclient_ca = \"ca.pem\"\nstore = \"store\"\n\
                      admin = \"127.0.0.1:0\"\nmin_free_bytes = 0\n";
        std::fs::write(dir.path().join("aggregator.toml"), config).unwrap();
        Self { dir, ca }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Port 0 takes any. A number that was given up a moment ago may be another test's for a moment: it is asked for again.
    fn serve(&self, port: u16) -> Process {
        for _ in 0..50 {
            if let Some(process) = self.try_serve(port) {
                return process;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the aggregator does not listen on port {port}");
    }

    fn try_serve(&self, port: u16) -> Option<Process> {
        let mut child = program()
            .args([
                "serve",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--config",
            ])
            .arg(self.path().join("aggregator.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.is_empty() {
            child.wait().unwrap();
            return None;
        }
        let (udp, admin) = line
            .trim()
            .strip_prefix("listening on udp ")
            .unwrap()
            .split_once(", admin on http://")
            .unwrap();
        Some(Process {
            child,
            addr: udp.parse().unwrap(),
            admin: admin.parse().unwrap(),
        })
    }

    fn site(&self) -> Outbox {
        let mut config =
            OutboxConfig::new(self.path().join("outbox"), SiteId::new("mill-7").unwrap());
        config.min_free_bytes = 0;
        config.reserve_bytes = 0;
        config.seal_bytes = 4 << 10;
        config.seal_age = Duration::from_millis(20);
        Outbox::open(config).unwrap().0
    }

    fn sync(&self, outbox: &Outbox, port: u16) -> SyncHandle {
        let client = certs::issue_client(&self.ca, self.path(), "mill-7").unwrap();
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
        SyncDriver::spawn(outbox.clone(), config, std::future::pending()).unwrap()
    }

    fn query(&self, args: &[&str]) -> Output {
        program()
            .arg("query")
            .args(args)
            .arg("--store")
            .arg(self.path().join("store"))
            .output()
            .unwrap()
    }
}

async fn append(outbox: &Outbox, count: usize) {
    for n in 0..count {
        let body = format!("{{\"v\":1,\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(200));
        outbox.append(body.into()).await.unwrap();
    }
}

async fn drain(outbox: &Outbox, sync: &SyncHandle) {
    let drained = async {
        while outbox.status().backlog_records > 0 {
            outbox.seal_now();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, drained).await.is_err() {
        panic!("not drained: {:?}, {:?}", sync.status(), outbox.status());
    }
}

fn http_get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_after_kill() {
    let world = World::new();
    let mut process = world.serve(0);
    let port = process.addr.port();
    let outbox = world.site();
    let sync = world.sync(&outbox, port);
    let mut total = 0;
    for _ in 0..4 {
        append(&outbox, 60).await;
        total += 60;
        outbox.seal_now();
        // SIGKILL, with batches on their way.
        drop(process);
        append(&outbox, 20).await;
        total += 20;
        process = world.serve(port);
    }
    drain(&outbox, &sync).await;
    sync.stop().await;

    let output = world.query(&["verify", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{answer}");
    assert_eq!(
        (
            answer["records"].as_u64(),
            answer["distinct_records"].as_u64()
        ),
        (Some(total), Some(total))
    );
    assert_eq!(answer["streams"][0]["last_seq"], total);
    // Temporary files of the killed are gone; those of the living are a lock at most.
    let temporary = std::fs::read_dir(world.path().join("store/tmp"))
        .unwrap()
        .count();
    assert_eq!(temporary, 1);

    let metrics = http_get(process.admin, "/metrics");
    assert!(metrics.contains("aggregator_batches_total"), "{metrics}");
    assert!(http_get(process.admin, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(http_get(process.admin, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(http_get(process.admin, "/other").starts_with("HTTP/1.1 404"));
}

#[test]
fn sigterm_ends_it_well() {
    let world = World::new();
    let mut process = world.serve(0);
    let pid = process.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn what_is_wrong_is_said_in_one_readable_paragraph() {
    let world = World::new();
    let check = |args: &[&str], expected: &str| {
        let output = program().args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && text.contains(expected),
            "{args:?}: {text}"
        );
    };
    check(&["serve", "--listen", "127.0.0.1:0"], "`store` is missing");
    let config = world.path().join("aggregator.toml");
    let config = config.to_str().unwrap();
    check(&["serve", "--config", config], "`listen` is missing");
    check(
        &[
            "serve",
            "--config",
            config,
            "--listen",
            "127.0.0.1:0",
            "--key",
            "/nowhere.key",
        ],
        "cannot read /nowhere.key",
    );
    std::fs::write(
        world.path().join("bad.toml"),
        "listen = \"127.0.0.1:0\"\nstoer = \"x\"\n",
    )
    .unwrap();
    let bad = world.path().join("bad.toml");
    check(
        &["serve", "--config", bad.to_str().unwrap()],
        "unknown field `stoer`",
    );
    check(
        &["query", "count", "--store", "/nowhere"],
        "Is it the directory of an aggregator's store?",
    );
}
