//! What the gateway does for policies beyond the exchange at hand. Each is a trait that the gateway implements; without it the
//! capability answers as if there were nothing.

use std::sync::Arc;

/// The services of one gateway.
#[derive(Clone, Default)]
pub struct Services {
    pub cache: Option<Arc<dyn CacheControl>>,
}

/// The cache store, beyond the exchange at hand.
pub trait CacheControl: Send + Sync {
    /// Removes what is stored under this tag; how many responses that were. Never waits.
    fn purge_tag(&self, tag: &str) -> u32;
}
