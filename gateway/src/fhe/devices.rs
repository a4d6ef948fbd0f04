//! The GPUs that bootstraps are computed on: opened once, shared by the engine and by whoever expands its keys.

use std::sync::Arc;

use kernels::survey::{self, Budget, OpenError, Wanted};
use kernels::{CardFailed, Gpus};

/// `None`: the CPU computes all. Only what was asked for by name and is not there is an error.
pub(super) fn open(wanted: Wanted, key_bytes: Option<u64>) -> Result<Option<Arc<Gpus>>, OpenError> {
    let budget = key_bytes.map_or_else(Budget::default, |key_bytes| Budget { key_bytes });
    let opened = survey::open(wanted, budget)?;
    for error in &opened.failed {
        tracing::warn!(%error, "a GPU cannot be used for encrypted scoring");
    }
    if opened.devices.is_empty() {
        return Ok(None);
    }
    let gpus = Gpus::new(opened.devices, card_failed);
    let names: Vec<&str> = gpus.names().collect();
    tracing::info!(
        devices = names.join("; "),
        "bootstraps are computed on GPUs"
    );
    Ok(Some(gpus))
}

/// What it was at goes to other cards, or to the CPU: requests are answered later, and none fails for it.
fn card_failed(failed: &CardFailed<'_>) {
    let CardFailed { card, error, again } = failed;
    metrics::counter!("gateway_fhe_device_failures_total", "card" => (*card).to_owned())
        .increment(1);
    match again {
        Some(again) => tracing::warn!(
            card,
            %error,
            again_s = again.as_secs(),
            "a GPU failed: others and the CPU take over its work until it is tried again"
        ),
        None => tracing::error!(
            card,
            %error,
            "a GPU is lost until the gateway is restarted: others and the CPU take over its work"
        ),
    }
}
