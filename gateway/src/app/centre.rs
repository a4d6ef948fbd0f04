//! The way to the centre: `[sync]` read, its certificates opened, the driver started.

use outbox::Outbox;
use sync::{SyncDriver, SyncHandle};
use transport::tls::{Identity, TrustRoots};
use transport::{BindError, ClientTls, TlsError};

use crate::config::SyncConfig;

/// Why records cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("[sync]: {0}")]
    Tls(#[from] TlsError),
    #[error("[sync]: {0}")]
    Bind(#[from] BindError),
}

/// Starts to send what the outbox holds. An aggregator that is away is no error: it is tried for ever.
pub(super) fn start(config: &SyncConfig, outbox: Outbox) -> Result<SyncHandle, SyncError> {
    let roots = TrustRoots::load(&config.ca)?;
    let identity = Identity::load(&config.cert, &config.key)?;
    let tls = ClientTls::new(roots, Some(identity), &[]);
    let mut settings =
        sync::SyncConfig::new(config.aggregator.clone(), config.server_name.clone(), tls);
    settings.bytes_per_second = config.rate_bytes_per_second;
    Ok(SyncDriver::spawn(outbox, settings, std::future::pending())?)
}
