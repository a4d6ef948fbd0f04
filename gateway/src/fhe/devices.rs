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

/// After a batch with so many bootstraps: who has computed them.
pub(super) fn count(gpus: Option<&Gpus>, bootstraps: u64) {
    const CIPHERTEXTS: &str = "gateway_fhe_device_ciphertexts_total";
    let Some(gpus) = gpus else {
        if bootstraps > 0 {
            metrics::counter!(CIPHERTEXTS, "device" => "cpu").increment(bootstraps);
        }
        return;
    };
    for one in gpus.counts() {
        let card = one.card.to_owned();
        metrics::counter!(CIPHERTEXTS, "device" => card.clone()).absolute(one.ciphertexts);
        metrics::counter!("gateway_fhe_device_key_uploads_total", "card" => card)
            .absolute(one.uploads);
    }
    metrics::counter!(CIPHERTEXTS, "device" => "cpu").absolute(gpus.left());
}
