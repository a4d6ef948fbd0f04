//! The gateway of the story: a folder of its own, made anew each time, certificates, one program, one route.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use examples::client::{Client, Error, plain_ok};
use examples::ports::free_address;
use examples::processes::{Process, output};
use tokio::process::Command;

use crate::sensor::PROGRAM;

pub struct Gateway {
    pub address: SocketAddr,
    process: Process,
    ca: PathBuf,
}

impl Gateway {
    pub async fn start(bin_dir: &Path, folder: PathBuf, models: &Path) -> Result<Self, Error> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let programs = folder.join("programs");
        std::fs::create_dir_all(&programs)?;
        let file = format!("{PROGRAM}.json");
        std::fs::copy(models.join(&file), programs.join(&file))?;
        let veilgate = bin_dir.join("veilgate");
        let mut certificates = Command::new(&veilgate);
        certificates
            .args(["certs", "--names", "localhost,127.0.0.1", "--out"])
            .arg(folder.join("certs"));
        output("making the certificates", &mut certificates, false).await?;

        let (address, admin) = (free_address()?, free_address()?);
        let config = folder.join("gateway.toml");
        std::fs::write(&config, configuration(address, admin))?;
        let mut command = Command::new(&veilgate);
        command.arg("run").arg("--config").arg(&config);
        let mut process = Process::start("gateway", &mut command, &folder)?;
        process
            .until("ready", async || plain_ok(admin, "/readyz").await)
            .await?;
        Ok(Self {
            address,
            process,
            ca: folder.join("certs/ca.pem"),
        })
    }

    pub fn client(&self) -> Result<Client, Error> {
        Client::new(self.address, &self.ca)
    }

    pub async fn stop(self) -> Result<(), Error> {
        self.process.stop().await
    }
}

fn configuration(address: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"# Written by the example `soc`. Every path is relative to this file's folder.
[[listener]]
addr = "{address}"
protocols = ["h1", "h2", "h3"]
tls = {{ cert = "certs/server.pem", key = "certs/server.key" }}

[admin]
listen = "{admin}"

[[route]]
name = "fhe"
path_prefix = "/fhe/v1"
handler = "fhe"
max_body_bytes = "64MiB"

[fhe]
keys_dir = "keys"
programs_dir = "programs"
"#
    )
}
