//! Generated bindings to the contract, fenced in this one file: the rest of the SDK names neither wit-bindgen nor `unsafe`.
//!
//! Bindings are generated once, for the world that has everything. A guest imports only what it calls (unused imports are dropped
//! when it is wrapped as a component) and exports only what its own world names: see `export_policy!` in `export.rs`.
#![allow(unsafe_code, missing_docs, clippy::all)]

wit_bindgen::generate!({
    path: "wit",
    world: "full-policy",
    pub_export_macro: true,
    default_bindings_module: "guest_sdk::bindings",
    additional_derives: [PartialEq],
    additional_derives_ignore: ["share"],
});

/// Each world of the contract, encoded by build.rs.
pub mod worlds {
    macro_rules! encoded {
        ($name:ident, $file:literal) => {
            pub const $name: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $file));
        };
    }
    encoded!(REQUEST_POLICY, "request-policy");
    encoded!(LIMIT_POLICY, "limit-policy");
    encoded!(ROUTING_POLICY, "routing-policy");
    encoded!(BREAKER_POLICY, "breaker-policy");
    encoded!(CACHE_POLICY, "cache-policy");
    encoded!(TRANSFORM_POLICY, "transform-policy");
    encoded!(CALLING_POLICY, "calling-policy");
    encoded!(FULL_POLICY, "full-policy");

    /// `bytes` as an array, the only form that a custom section may have.
    pub const fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        let mut index = 0;
        while index < N {
            array[index] = bytes[index];
            index += 1;
        }
        array
    }
}
