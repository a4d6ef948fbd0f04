//! TLS towards upstreams: whom to trust. Verification is never off.

use std::path::{Path, PathBuf};

use transport::error::TlsError;
use transport::tcp::TlsConnector;
use transport::tls::{ClientTls, Protocol, TrustRoots};

use crate::config::UpstreamConfig;

/// Where systems keep the authorities they trust: Debian and Ubuntu, Fedora, Alpine and macOS, FreeBSD.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// TLS settings of an upstream that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    #[error("upstream {upstream}: {source}")]
    Tls { upstream: String, source: TlsError },
    #[error(
        "upstream {upstream} uses https, and no file of trusted authorities was found on this system. Name one: `tls = {{ ca = \
         \"/path/to/ca.pem\" }}`"
    )]
    NoRoots { upstream: String },
}

/// The connector for an upstream's `https` endpoints, if it has any.
pub(super) fn connector_for(
    config: &UpstreamConfig,
) -> Result<Option<TlsConnector>, UpstreamTlsError> {
    if !config.endpoints.iter().any(|endpoint| endpoint.tls) {
        return Ok(None);
    }
    let upstream = || config.name.clone();
    let in_upstream = |source| UpstreamTlsError::Tls {
        upstream: upstream(),
        source,
    };
    let path = match &config.tls.ca {
        Some(path) => path.clone(),
        None => system_roots().ok_or_else(|| UpstreamTlsError::NoRoots {
            upstream: upstream(),
        })?,
    };
    let roots = TrustRoots::load(&path).map_err(in_upstream)?;
    let tls = ClientTls::new(roots, None, &[Protocol::Http2, Protocol::Http1]);
    TlsConnector::new(&tls).map(Some).map_err(in_upstream)
}

/// The file of the authorities that this system trusts.
pub(crate) fn system_roots() -> Option<PathBuf> {
    SYSTEM_ROOTS
        .iter()
        .map(Path::new)
        .find(|path| path.is_file())
        .map(Path::to_owned)
}
