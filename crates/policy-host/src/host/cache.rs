//! `cache`: what a policy says about caching is gathered; the gateway's store, which obeys RFC 9111, acts on it.

use crate::bindings::veilgate::policy::cache::Host;
use crate::error::HostRefusal;
use crate::exchange::{MAX_KEY_PART_BYTES, MAX_KEY_PARTS, StoreDirective};
use crate::state::HostState;

impl Host for HostState {
    /// A part that did not fit would make two answers share a key: over the limit the call ends.
    fn key_add(&mut self, part: String) -> wasmtime::Result<()> {
        let parts = &mut self.exchange.cache.key_parts;
        if parts.len() >= MAX_KEY_PARTS || part.len() > MAX_KEY_PART_BYTES {
            return Err(HostRefusal(
                "more than 16 cache key parts, or one of more than 1024 bytes",
            )
            .into());
        }
        parts.push(part);
        Ok(())
    }

    fn bypass(&mut self) -> wasmtime::Result<()> {
        self.exchange.cache.bypass = true;
        Ok(())
    }

    fn store(
        &mut self,
        ttl: u64,
        stale_while_revalidate: u64,
        stale_if_error: u64,
    ) -> wasmtime::Result<()> {
        self.exchange.cache.store = Some(StoreDirective {
            ttl_ms: ttl,
            stale_while_revalidate_ms: stale_while_revalidate,
            stale_if_error_ms: stale_if_error,
        });
        Ok(())
    }

    fn no_store(&mut self) -> wasmtime::Result<()> {
        self.exchange.cache.no_store = true;
        Ok(())
    }
}
