//! A gateway for one test: a folder, a config, and the gateway made of it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use policy_host::CompilerProgram;
use tempfile::TempDir;
use veilgate::app::{self, Running};
use veilgate::config;
use veilgate::telemetry::{self, MetricsHandle};

/// Long enough for a busy machine; a test that waits for it in vain has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Site {
    pub running: Running,
    pub addr: SocketAddr,
    pub dir: TempDir,
}

/// One recorder for all tests of the process.
pub fn metrics() -> MetricsHandle {
    static METRICS: OnceLock<MetricsHandle> = OnceLock::new();
    METRICS
        .get_or_init(|| telemetry::install_metrics().expect("the only recorder"))
        .clone()
}

impl Site {
    /// A plain listener and one upstream; `extra` is the rest of the config.
    pub async fn plain(origin: SocketAddr, extra: &str) -> Self {
        let text = format!(
            "[server]\naccess_log = false\ndrain_timeout = \"10s\"\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\n\
             listen = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://{origin}\"]\n\
             first_byte_timeout = \"10s\"\n{extra}"
        );
        Self::start(tempfile::tempdir().expect("a folder"), &text).await
    }

    /// The same with TLS and all three protocols.
    pub async fn encrypted(origin: SocketAddr, extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let ca = transport::certs::make_ca(dir.path(), "test authority").expect("an authority");
        transport::certs::issue_server(&ca, dir.path(), "server", &["localhost", "127.0.0.1"])
            .expect("a certificate");
        let text = format!(
            "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h2\", \"h3\"]\n\
             tls = {{ cert = \"server.pem\", key = \"server.key\" }}\n[[upstream]]\nname = \"origin\"\n\
             endpoints = [\"http://{origin}\"]\n{extra}"
        );
        Self::start(dir, &text).await
    }

    pub async fn start(dir: TempDir, text: &str) -> Self {
        let metrics = metrics();
        let mut config =
            config::parse(text, "test.toml", dir.path()).unwrap_or_else(|error| panic!("{error}"));
        // As the program does.
        config.policy_host.compiler = Some(CompilerProgram {
            program: env!("CARGO_BIN_EXE_veilgate").into(),
            args: vec!["compile".into()],
        });
        let running = app::start(config, Some(metrics))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let addr = running.addr(0).expect("a listener");
        Self { running, addr, dir }
    }

    pub fn admin(&self) -> SocketAddr {
        self.running.admin_addr().expect("an admin listener")
    }

    pub async fn stop(self) {
        assert!(
            self.running.stop().await,
            "everything in flight could finish"
        );
    }
}

/// The route that takes everything.
pub const ROUTE: &str = "[[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\n";

/// Waits until the condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("in vain waited until {what}");
    }
}
