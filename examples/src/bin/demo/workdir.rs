//! The demo's own folder: certificates, keys, stores and logs, all under one directory that is made anew each time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use examples::ports::{free_address, is_free};

use crate::Failure;

/// The ports that edge-configs/demo.toml names.
const PORTS: [(&str, u16); 5] = [
    ("gateway", 8443),
    ("admin", 9901),
    ("upstream", 9080),
    ("beta upstream", 9081),
    ("aggregator", 7443),
];

pub struct Workdir {
    pub path: PathBuf,
    pub config: PathBuf,
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    pub upstream: SocketAddr,
    pub beta: SocketAddr,
    pub aggregator: SocketAddr,
}

impl Workdir {
    /// Lays the folder out and puts the demo's config into it, with other ports where one is taken on this machine.
    pub fn prepare(root: &Path, path: PathBuf, policies: &Path) -> Result<Self, Failure> {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        for folder in ["logs", "store", "client-keys", "outbox"] {
            std::fs::create_dir_all(path.join(folder))?;
        }
        let template = root.join("edge-configs/demo.toml");
        let mut text = std::fs::read_to_string(&template).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", template.display()))
        })?;
        let mut ports = Vec::new();
        for (name, port) in PORTS {
            let free = match is_free(port) {
                true => port,
                false => free_address()?.port(),
            };
            if free != port {
                println!("   port {port} ({name}) is in use here; {free} it is");
                text = text.replace(&format!(":{port}"), &format!(":{free}"));
            }
            ports.push(SocketAddr::from((Ipv4Addr::LOCALHOST, free)));
        }
        copy_folder(
            &root.join("examples/models"),
            &path.join("programs"),
            &["json", "csv"],
        )?;
        copy_folder(policies, &path.join("policies"), &["wasm"])?;
        let config = path.join("demo.toml");
        std::fs::write(&config, text)?;
        let [gateway, admin, upstream, beta, aggregator] = ports[..] else {
            return Err(Failure::new(
                "the list of ports is not the list of addresses",
            ));
        };
        Ok(Self {
            path,
            config,
            gateway,
            admin,
            upstream,
            beta,
            aggregator,
        })
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn copy_folder(from: &Path, to: &Path, extensions: &[&str]) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let source = entry?.path();
        if source
            .extension()
            .is_some_and(|found| extensions.iter().any(|one| found == *one))
            && let Some(name) = source.file_name()
        {
            std::fs::copy(&source, to.join(name))?;
        }
    }
    Ok(())
}
