//! `cache`: what a policy says about caching is gathered; the gateway's store, which obeys RFC 9111, acts on it.

use edge_types::Digest;

use crate::bindings::veilgate::policy::cache::Host;
use crate::error::HostRefusal;
use crate::exchange::{
    BodyKey, MAX_KEY_PART_BYTES, MAX_KEY_PARTS, MAX_TAG_BYTES, MAX_TAGS, StoreDirective,
};
use crate::state::HostState;

/// Of one `store-only`: a few classes of statuses.
const MAX_STATUS_RANGES: usize = 16;

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

    fn key_body(&mut self) -> wasmtime::Result<()> {
        self.exchange.cache.body_key = Some(BodyKey::Body);
        Ok(())
    }

    fn key_text(&mut self, normal_form: Vec<u8>) -> wasmtime::Result<()> {
        self.exchange.cache.body_key = Some(BodyKey::Text(Digest::of(&normal_form)));
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

    fn store_only(&mut self, statuses: Vec<(u16, u16)>) -> wasmtime::Result<()> {
        if statuses.len() > MAX_STATUS_RANGES {
            return Err(HostRefusal("more than 16 ranges of statuses to store").into());
        }
        self.exchange.cache.store_only = statuses.into_iter().map(|(from, to)| from..=to).collect();
        Ok(())
    }

    fn stale_if_error(&mut self, age: u64) -> wasmtime::Result<()> {
        self.exchange.cache.stale_if_error_ms = Some(age);
        Ok(())
    }

    /// A tag that did not fit would leave a response behind that a purge should have removed: over the limit the call ends.
    fn tag(&mut self, tags: Vec<String>) -> wasmtime::Result<()> {
        let kept = &mut self.exchange.cache.tags;
        let fits = kept.len() + tags.len() <= MAX_TAGS
            && tags.iter().all(|tag| tag.len() <= MAX_TAG_BYTES);
        if !fits {
            return Err(
                HostRefusal("more than 16 cache tags, or one of more than 128 bytes").into(),
            );
        }
        kept.extend(tags);
        Ok(())
    }

    fn purge_tag(&mut self, tag: String) -> wasmtime::Result<u32> {
        let cache = self.shared.services.cache.as_ref();
        Ok(cache.map_or(0, |cache| cache.purge_tag(&tag)))
    }
}
