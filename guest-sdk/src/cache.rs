//! Directives to the host's cache. The store obeys RFC 9111: these narrow it, or fill in what the origin left open.

use crate::bindings::veilgate::policy::cache;
use crate::{Period, StatusSet};

/// How long a response may be served, fresh and then stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    pub ttl: Period,
    pub stale_while_revalidate: Period,
    pub stale_if_error: Period,
}

/// Adds a part to the key under which this exchange's response is stored and looked up. In `on_request` only.
pub fn key_add(part: &str) {
    cache::key_add(part);
}

/// Caches a POST under a digest of its body. The gateway gathers it, within the policy's `max_body_bytes`; a longer one is not cached.
/// Say it only where a POST asks, and changes nothing. In `on_request`, or the request body hook.
pub fn key_body() {
    cache::key_body();
}

/// The same under a digest of these bytes instead: a normal form of the body that the policy read.
pub fn key_text(normal_form: &[u8]) {
    cache::key_text(normal_form);
}

/// Neither look up nor store.
pub fn bypass() {
    cache::bypass();
}

/// Do not store this response.
pub fn no_store() {
    cache::no_store();
}

/// Store only responses with these statuses (none: any). Said in `on_request`, it saves the response hook.
pub fn store_only(statuses: &StatusSet) {
    cache::store_only(&statuses.ranges());
}

/// Store this response for so long, where the origin did not forbid it.
pub fn store(lifetimes: &Lifetimes) {
    cache::store(
        lifetimes.ttl.millis(),
        lifetimes.stale_while_revalidate.millis(),
        lifetimes.stale_if_error.millis(),
    );
}

/// If the upstream fails or a policy gives up, a stored response may be served for so long after it went stale. It narrows what the
/// origin named, and cannot lift `must-revalidate` and the like. Counts in any hook of the exchange before its answer.
pub fn stale_if_error(age: Period) {
    cache::stale_if_error(age.millis());
}

/// What is stored of this exchange can later be purged by each of these: up to 16 of up to 128 bytes, over all policies. The same for
/// all policies: begin a tag with something of your own.
pub fn tag(tags: &[impl AsRef<str>]) {
    let tags: Vec<String> = tags.iter().map(|tag| tag.as_ref().to_owned()).collect();
    cache::tag(&tags);
}

/// Removes all stored responses with this tag; how many there were. What is on its way is not stored under it either.
pub fn purge_tag(tag: &str) -> u32 {
    cache::purge_tag(tag)
}
