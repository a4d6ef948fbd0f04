//! The aggregator's settings: one TOML file, unknown keys refused, or flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::store::local::DEFAULT_MIN_FREE_BYTES;

/// A settings file is a dozen lines.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Settings, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// UDP address to serve HTTP/3 on.
    pub listen: SocketAddr,
    /// Directory of the store.
    pub store: PathBuf,
    /// PEM files: certificate chain, its key, and the authority of the sites' certificates.
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
    /// TCP address of health, readiness and metrics; none if absent.
    pub admin: Option<SocketAddr>,
    /// Space to leave free on the store's file system.
    pub min_free_bytes: u64,
}

/// Settings as written: each may be missing, in the file or among the flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// UDP address to serve HTTP/3 on, such as 0.0.0.0:7443
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Directory of the store; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// PEM file with the certificate chain
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// PEM file with the authority that issues the sites' certificates
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// TCP address of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Bytes to leave free on the store's file system [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    pub min_free_bytes: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not a valid configuration:\n{reason}")]
    Invalid { path: PathBuf, reason: String },
    #[error("`{key}` is missing: set it in the configuration file, or give --{flag}")]
    Missing {
        key: &'static str,
        flag: &'static str,
    },
}

impl Settings {
    /// Reads a file. Paths in it are relative to its own directory.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_CONFIG_BYTES {
            return Err(read(std::io::Error::other(
                "it is larger than any configuration",
            )));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let settings: Self = toml::from_str(&text).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(settings.relative_to(path.parent().unwrap_or(Path::new("."))))
    }

    fn relative_to(mut self, base: &Path) -> Self {
        let mut paths = [
            &mut self.store,
            &mut self.cert,
            &mut self.key,
            &mut self.client_ca,
        ];
        for path in paths.iter_mut().filter_map(|path| path.as_mut()) {
            *path = base.join(&*path);
        }
        self
    }

    /// These settings, with `other` for those that are absent.
    pub fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            store: self.store.or(other.store),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
            client_ca: self.client_ca.or(other.client_ca),
            admin: self.admin.or(other.admin),
            min_free_bytes: self.min_free_bytes.or(other.min_free_bytes),
        }
    }

    /// The complete settings.
    pub fn check(self) -> Result<Config, ConfigError> {
        let missing = |key, flag| move || ConfigError::Missing { key, flag };
        Ok(Config {
            listen: self.listen.ok_or_else(missing("listen", "listen"))?,
            store: self.store.ok_or_else(missing("store", "store"))?,
            cert: self.cert.ok_or_else(missing("cert", "cert"))?,
            key: self.key.ok_or_else(missing("key", "key"))?,
            client_ca: self
                .client_ca
                .ok_or_else(missing("client_ca", "client-ca"))?,
            admin: self.admin,
            min_free_bytes: self.min_free_bytes.unwrap_or(DEFAULT_MIN_FREE_BYTES),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aggregator.toml");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path)
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_line() {
        let error = load("listen = \"127.0.0.1:1\"\nstorre = \"x\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("storre") && error.contains("line 2"),
            "{error}"
        );
    }

    #[test]
    fn flags_win_over_the_file_and_what_is_missing_is_named() {
        let file = load("listen = \"127.0.0.1:1\"\nstore = \"data\"\n").unwrap();
        let flags = Settings {
            listen: "127.0.0.1:2".parse().ok(),
            ..Settings::default()
        };
        let merged = flags.or(file);
        assert_eq!(merged.listen.unwrap().port(), 2);
        assert!(
            merged.store.clone().unwrap().is_absolute(),
            "relative to the file"
        );
        let error = merged.check().unwrap_err().to_string();
        assert!(
            error.contains("`cert`") && error.contains("--cert"),
            "{error}"
        );
    }
}
