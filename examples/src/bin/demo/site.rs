//! The three processes of the demo and the means to stop, kill and start each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Failure;
use crate::workdir::Workdir;
use examples::client::{self, Client};
use examples::processes::{Process, output};

/// The name that the demo's gateway has towards the aggregator; its certificate carries it.
pub const SITE: &str = "edge-1";

pub struct Site {
    pub work: Workdir,
    bin_dir: PathBuf,
    aggregator: Option<Process>,
    upstream: Option<Process>,
    beta: Option<Process>,
    gateway: Option<Process>,
}

impl Site {
    pub async fn start(work: Workdir, bin_dir: PathBuf) -> Result<Self, Failure> {
        let mut site = Self {
            work,
            bin_dir,
            aggregator: None,
            upstream: None,
            beta: None,
            gateway: None,
        };
        site.make_certificates().await?;
        site.start_aggregator().await?;
        site.start_upstream().await?;
        site.beta = Some(site.spawn_upstream("beta", site.work.beta).await?);
        println!(
            "   upstream    http://{} and http://{} (a small catalogue, twice)",
            site.work.upstream, site.work.beta
        );
        site.start_gateway().await?;
        Ok(site)
    }

    /// The gateway's CLI, which is also the client's.
    pub fn veilgate(&self) -> Command {
        self.command("veilgate")
    }

    pub fn aggregator_cli(&self) -> Command {
        self.command("veilgate-aggregator")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin_dir.join(program));
        command.current_dir(&self.work.path);
        command
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.work.gateway, &self.certificate("ca.pem"))?)
    }

    pub fn certificate(&self, name: &str) -> PathBuf {
        self.work.join("certs").join(name)
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.work.gateway.port())
    }

    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.work.admin)
    }

    pub fn curl_line(&self) -> String {
        format!(
            "curl --cacert {} {}/catalog/lamp -i",
            self.certificate("ca.pem").display(),
            self.url()
        )
    }

    async fn make_certificates(&self) -> Result<(), Failure> {
        let mut command = self.veilgate();
        command.args([
            "certs",
            "--out",
            "certs",
            "--names",
            "localhost,127.0.0.1",
            "--site",
            SITE,
        ]);
        output("making the certificates", &mut command, false).await?;
        println!(
            "   a CA and certificates of its own, in {}",
            self.work.join("certs").display()
        );
        Ok(())
    }

    pub async fn start_aggregator(&mut self) -> Result<(), Failure> {
        let address = self.work.aggregator.to_string();
        let mut command = self.aggregator_cli();
        command.args(["serve", "--listen", &address, "--store", "store"]);
        command.args([
            "--cert",
            "certs/server.pem",
            "--key",
            "certs/server.key",
            "--client-ca",
            "certs/ca.pem",
        ]);
        let process = self.spawn("aggregator", command, None).await?;
        println!(
            "   aggregator  https://{address} (HTTP/3, mutual TLS), storing to {}",
            self.work.join("store").display()
        );
        self.aggregator = Some(process);
        Ok(())
    }

    pub async fn start_upstream(&mut self) -> Result<(), Failure> {
        self.upstream = Some(self.spawn_upstream("upstream", self.work.upstream).await?);
        Ok(())
    }

    /// One instance of the small service; its answers carry `name`.
    async fn spawn_upstream(
        &self,
        name: &'static str,
        address: SocketAddr,
    ) -> Result<Process, Failure> {
        let mut command = self.command("demo-upstream");
        command.args(["--listen", &address.to_string(), "--name", name]);
        self.spawn(name, command, Some((address, "/health"))).await
    }

    pub async fn start_gateway(&mut self) -> Result<(), Failure> {
        let mut command = self.veilgate();
        command.arg("run").arg("--config").arg(&self.work.config);
        let process = self
            .spawn("gateway", command, Some((self.work.admin, "/readyz")))
            .await?;
        println!(
            "   gateway     {} (TCP and UDP), process {}",
            self.url(),
            process.id().unwrap_or_default()
        );
        self.gateway = Some(process);
        Ok(())
    }

    /// Starts a process and waits until it answers; one that is not asked over HTTP is ready when its log says so.
    async fn spawn(
        &self,
        name: &'static str,
        mut command: Command,
        probe: Option<(SocketAddr, &str)>,
    ) -> Result<Process, Failure> {
        let logs = self.work.join("logs");
        let log = logs.join(format!("{name}.log"));
        let before = length(&log);
        let mut process = Process::start(name, &mut command, &logs)?;
        match probe {
            Some((address, path)) => {
                process
                    .until("ready", async || client::plain_ok(address, path).await)
                    .await?
            }
            None => {
                process
                    .until("listening", async || says_listening(&log, before))
                    .await?
            }
        }
        Ok(process)
    }

    pub async fn stop_aggregator(&mut self) -> Result<(), Failure> {
        stop(self.aggregator.take()).await
    }

    pub async fn kill_upstream(&mut self) -> Result<(), Failure> {
        kill(self.upstream.take()).await
    }

    pub async fn kill_gateway(&mut self) -> Result<(), Failure> {
        kill(self.gateway.take()).await
    }

    /// The end: the gateway drains first, so that what it serves can still reach the others.
    pub async fn stop(mut self) -> Result<(), Failure> {
        stop(self.gateway.take()).await?;
        stop(self.aggregator.take()).await?;
        kill(self.beta.take()).await?;
        kill(self.upstream.take()).await
    }
}

async fn stop(process: Option<Process>) -> Result<(), Failure> {
    match process {
        Some(process) => Ok(process.stop().await?),
        None => Ok(()),
    }
}

async fn kill(process: Option<Process>) -> Result<(), Failure> {
    match process {
        Some(process) => Ok(process.kill().await?),
        None => Ok(()),
    }
}

fn length(file: &Path) -> usize {
    std::fs::metadata(file).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(0))
}

/// The log is appended to over restarts: only what came after `before` counts.
fn says_listening(log: &Path, before: usize) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| {
        text.get(before..)
            .is_some_and(|new| new.contains("listening"))
    })
}
