//! A gateway process for a measurement: its own folder, certificates, configuration and origin.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use examples::client::{Client, Error, plain_ok};
use examples::ports::free_address;

use crate::Context;
use crate::turns::Side;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A child process that is killed, by its own id, when it goes out of scope.
pub struct Running(Child);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself: nothing is left to do then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Gateway {
    pub process: Running,
    pub client: Client,
    pub admin: SocketAddr,
}

impl Gateway {
    pub fn side(&self) -> Side<'_> {
        Side {
            client: &self.client,
            process: self.process.id(),
        }
    }
}

/// The origin that both gateways of a comparison stand in front of.
pub async fn start_origin(
    context: &Context,
    folder: &Path,
) -> Result<(Running, SocketAddr), Error> {
    let address = free_address()?;
    let mut command = Command::new(context.bin_dir.join("demo-upstream"));
    command.args(["--listen", &address.to_string()]);
    let log = folder.join("origin.log");
    let mut process = spawn(&mut command, &log)?;
    until_ok(&mut process, address, "/health", &log).await?;
    Ok((process, address))
}

pub fn spawn(command: &mut Command, log: &Path) -> Result<Running, Error> {
    let output = std::fs::File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Ok(Running(command.spawn()?))
}

/// Starts a gateway; `policies` is the part of its configuration that names policies, `chain` the route's list of them.
pub async fn start(
    context: &Context,
    folder: &Path,
    origin: SocketAddr,
    policies: &str,
    chain: &str,
) -> Result<Gateway, Error> {
    std::fs::create_dir_all(folder)?;
    // A gateway that is started again in its folder keeps its own.
    if !folder.join("certs").exists() {
        make_certificates(context, folder)?;
    }
    let (listen, admin) = (free_address()?, free_address()?);
    let text = format!(
        r#"
[server]
access_log = false

[[listener]]
addr = "{listen}"
protocols = ["h1", "h2", "h3"]
tls = {{ cert = "certs/server.pem", key = "certs/server.key" }}

[admin]
listen = "{admin}"

[[upstream]]
name = "origin"
endpoints = ["http://{origin}"]

{policies}

[[route]]
name = "all"
path_prefix = "/"
upstream = "origin"
policies = {chain}
record = "none"
"#
    );
    let config = folder.join("gateway.toml");
    std::fs::write(&config, text)?;
    let log = folder.join("gateway.log");
    let mut command = Command::new(context.bin_dir.join("veilgate"));
    command.arg("run").arg("--config").arg(&config);
    // A cache of its own: what was compiled in an earlier run must not help.
    command.env("CACHE_DIRECTORY", folder.join("cache"));
    let mut process = spawn(&mut command, &log)?;
    until_ok(&mut process, admin, "/readyz", &log).await?;
    Ok(Gateway {
        process,
        client: Client::new(listen, &folder.join("certs/ca.pem"))?,
        admin,
    })
}

pub fn make_certificates(context: &Context, folder: &Path) -> Result<(), Error> {
    let mut command = Command::new(context.bin_dir.join("veilgate"));
    command
        .args([
            "certs",
            "--names",
            "localhost,127.0.0.1",
            "--site",
            "bench",
            "--out",
        ])
        .arg(folder.join("certs"));
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!(
        "making certificates failed: {}",
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// Waits until the process answers; one that ends meanwhile is an error with what it said.
pub async fn until_ok(
    process: &mut Running,
    address: SocketAddr,
    path: &str,
    log: &Path,
) -> Result<(), Error> {
    let began = Instant::now();
    while !plain_ok(address, path).await {
        let ended = process.0.try_wait()?;
        if ended.is_some() || began.elapsed() > START_TIMEOUT {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return Err(Error::new(format!(
                "a process did not become ready ({ended:?}); it said:\n{said}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
