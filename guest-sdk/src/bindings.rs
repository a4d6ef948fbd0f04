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
    additional_derives_ignore: ["share", "standing-share"],
});

/// The hooks that every request passes, without the clean-up that the generated exports have: what an answer took up is given back
/// when the hook is called again. That saves the host one call of the guest for each of them.
#[cfg(target_arch = "wasm32")]
pub mod kept {
    use std::cell::Cell;
    use std::ptr;

    use super::exports::veilgate::policy::{attempt_hook, request_hook, response_hook};

    /// Where the last answer lies. Null: there was none.
    type Last = Cell<*mut u8>;

    /// `clean_up` is the one that belongs to `call`.
    fn call(last: &Last, clean_up: unsafe fn(*mut u8), call: impl FnOnce() -> *mut u8) -> *mut u8 {
        let before = last.replace(ptr::null_mut());
        if !before.is_null() {
            // SAFETY: `call` answered it, the host has read it long since, and it is taken out here: it is cleaned up once.
            unsafe { clean_up(before) };
        }
        let answer = call();
        last.set(answer);
        answer
    }

    pub fn on_request<P: request_hook::Guest>() -> *mut u8 {
        thread_local!(static LAST: Last = const { Cell::new(ptr::null_mut()) });
        let clean_up = request_hook::__post_return_on_request::<P>;
        // SAFETY: it has no arguments that could be wrong.
        let hook = || unsafe { request_hook::_export_on_request_cabi::<P>() };
        LAST.with(|last| call(last, clean_up, hook))
    }

    pub fn on_response<P: response_hook::Guest>() -> *mut u8 {
        thread_local!(static LAST: Last = const { Cell::new(ptr::null_mut()) });
        let clean_up = response_hook::__post_return_on_response::<P>;
        // SAFETY: it has no arguments that could be wrong.
        let hook = || unsafe { response_hook::_export_on_response_cabi::<P>() };
        LAST.with(|last| call(last, clean_up, hook))
    }

    /// # Safety
    ///
    /// The arguments are the host's, as the canonical ABI lowers an attempt.
    pub unsafe fn before<P: attempt_hook::Guest>(
        number: i32,
        upstream: *mut u8,
        length: usize,
        has_endpoint: i32,
        endpoint: i32,
    ) -> *mut u8 {
        thread_local!(static LAST: Last = const { Cell::new(ptr::null_mut()) });
        let clean_up = attempt_hook::__post_return_before::<P>;
        // SAFETY: the caller's promise.
        let hook = || unsafe {
            attempt_hook::_export_before_cabi::<P>(number, upstream, length, has_endpoint, endpoint)
        };
        LAST.with(|last| call(last, clean_up, hook))
    }
}

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
