//! The glue between the generated export traits and [`Policy`](crate::Policy), and the macro that joins them to a world.
//!
//! Invariant: `configure` comes before every other hook (the contract promises it). A hook that finds no policy traps, and the
//! operator's `on_fault` decides: a limiter that was never configured must not let everything pass in silence.

use std::cell::Cell;
use std::thread::LocalKey;

use crate::bindings::exports::veilgate::policy::{
    attempt_hook, complete_hook, lifecycle, outcome_hook, request_body_hook, request_hook,
    request_stream_hook, response_body_hook, response_hook, response_stream_hook, tick_hook,
};
use crate::bindings::veilgate::policy::types;
use crate::config::Settings as _;
use crate::{Policy, Request, Response, log};

/// Where an instance finds its configured policy, which lives as long as the instance. `export_policy!` implements it.
pub trait Installed: Policy {
    fn slot() -> &'static LocalKey<Cell<Option<&'static Self>>>;
}

/// Implements the generated traits for any policy.
pub struct Shim<P>(std::marker::PhantomData<P>);

/// The hook is called outside of the slot's own closure: what it returns would be copied out of it, and a copy is a call of the host.
fn with<P: Installed, R>(hook: impl FnOnce(&P) -> R) -> R {
    match P::slot().get() {
        Some(policy) => hook(policy),
        None => panic!("a hook was called before configure"),
    }
}

impl<P: Installed> lifecycle::Guest for Shim<P> {
    fn configure(text: String) -> Result<(), String> {
        log::panics_to_host();
        let parsed = P::Config::from_json(&text);
        let policy = parsed
            .and_then(P::configure)
            .map_err(|error| error.to_string())?;
        P::slot().set(Some(Box::leak(Box::new(policy))));
        Ok(())
    }
}

impl<P: Installed> request_hook::Guest for Shim<P> {
    fn on_request() -> types::Decision {
        with(|policy: &P| policy.on_request(&mut Request::current()).into())
    }
}

impl<P: Installed> attempt_hook::Guest for Shim<P> {
    fn before(attempt: types::Attempt) -> attempt_hook::Choice {
        with(|policy: &P| policy.before_attempt(&Request::current(), &attempt))
    }
}

impl<P: Installed> outcome_hook::Guest for Shim<P> {
    fn after(attempt: types::Attempt, outcome: outcome_hook::Outcome) -> outcome_hook::Verdict {
        with(|policy: &P| policy.after_attempt(&Request::current(), &attempt, &outcome))
    }
}

impl<P: Installed> response_hook::Guest for Shim<P> {
    fn on_response() -> types::Decision {
        with(|policy: &P| {
            policy
                .on_response(&Request::current(), &mut Response::current())
                .into()
        })
    }
}

impl<P: Installed> request_body_hook::Guest for Shim<P> {
    fn on_request_body(body: Vec<u8>) -> (types::Decision, Option<Vec<u8>>) {
        let decided = with(|policy: &P| policy.on_request_body(&mut Request::current(), body));
        (decided.decision.into(), decided.replace)
    }
}

impl<P: Installed> request_stream_hook::Guest for Shim<P> {
    fn on_request_chunk(chunk: Vec<u8>, end: bool) -> types::ChunkAction {
        with(|policy: &P| policy.on_request_chunk(&Request::current(), chunk, end))
    }
}

impl<P: Installed> response_body_hook::Guest for Shim<P> {
    fn on_response_body(body: Vec<u8>) -> Option<Vec<u8>> {
        with(|policy: &P| policy.on_response_body(&Request::current(), body))
    }
}

impl<P: Installed> response_stream_hook::Guest for Shim<P> {
    fn on_response_chunk(chunk: Vec<u8>, end: bool) -> types::ChunkAction {
        with(|policy: &P| policy.on_response_chunk(&Request::current(), chunk, end))
    }
}

impl<P: Installed> complete_hook::Guest for Shim<P> {
    fn on_complete(summary: complete_hook::Summary) {
        with(|policy: &P| policy.on_complete(&Request::current(), &summary));
    }
}

impl<P: Installed> tick_hook::Guest for Shim<P> {
    fn on_tick() {
        with(P::on_tick);
    }
}

/// Exports a policy in one of the contract's worlds:
/// `"request-policy"`, `"limit-policy"`, `"routing-policy"`, `"breaker-policy"`, `"cache-policy"`, `"transform-policy"`,
/// `"calling-policy"` or `"full-policy"`.
///
/// The world says which hooks the host calls and which capabilities the policy may import. Take the smallest that does: a hook
/// that is exported is called for every request.
#[macro_export]
macro_rules! export_policy {
    ($policy:ty, "request-policy") => {
        $crate::export_policy!(@ $policy, "request-policy", REQUEST_POLICY, request_hook);
    };
    ($policy:ty, "limit-policy") => {
        $crate::export_policy!(@ $policy, "limit-policy", LIMIT_POLICY, request_hook request_body_hook complete_hook);
    };
    ($policy:ty, "routing-policy") => {
        $crate::export_policy!(@ $policy, "routing-policy", ROUTING_POLICY, request_hook request_body_hook attempt_hook outcome_hook);
    };
    ($policy:ty, "breaker-policy") => {
        $crate::export_policy!(@ $policy, "breaker-policy", BREAKER_POLICY, attempt_hook);
    };
    ($policy:ty, "cache-policy") => {
        $crate::export_policy!(@ $policy, "cache-policy", CACHE_POLICY, request_hook request_body_hook response_hook);
    };
    ($policy:ty, "transform-policy") => {
        $crate::export_policy!(@ $policy, "transform-policy", TRANSFORM_POLICY, request_hook request_body_hook request_stream_hook response_hook response_body_hook response_stream_hook);
    };
    ($policy:ty, "calling-policy") => {
        $crate::export_policy!(@ $policy, "calling-policy", CALLING_POLICY, request_hook response_hook complete_hook);
    };
    ($policy:ty, "full-policy") => {
        $crate::export_policy!(@ $policy, "full-policy", FULL_POLICY, request_hook request_body_hook request_stream_hook attempt_hook outcome_hook response_hook response_body_hook response_stream_hook complete_hook tick_hook);
    };
    (@ $policy:ty, $world:literal, $encoded:ident, $($hook:ident)*) => {
        const _: () = {
            impl $crate::export::Installed for $policy {
                fn slot() -> &'static ::std::thread::LocalKey<::std::cell::Cell<Option<&'static Self>>> {
                    ::std::thread_local! {
                        static POLICY: ::std::cell::Cell<Option<&'static $policy>> = const { ::std::cell::Cell::new(None) };
                    }
                    &POLICY
                }
            }
            type Exported = $crate::export::Shim<$policy>;

            // a native build (of tests) exports nothing: its linker does not take names with ':' and '#'
            #[cfg(target_arch = "wasm32")]
            const _: () = {
                $crate::export_policy!(@hook lifecycle Exported);
                $($crate::export_policy!(@hook $hook Exported);)*
            };
            #[cfg(not(target_arch = "wasm32"))]
            const _: ::std::marker::PhantomData<Exported> = ::std::marker::PhantomData;

            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = concat!("component-type:veilgate:", $world))]
            #[used]
            static WORLD: [u8; $crate::bindings::worlds::$encoded.len()] =
                $crate::bindings::worlds::array($crate::bindings::worlds::$encoded);
        };
    };
    (@hook lifecycle $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::lifecycle::__export_veilgate_policy_lifecycle_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::lifecycle
        );
    };
    (@hook request_hook $exported:ident) => {
        #[unsafe(export_name = "veilgate:policy/request-hook@0.2.1#on-request")]
        extern "C" fn on_request() -> *mut u8 {
            $crate::bindings::kept::on_request::<$exported>()
        }
    };
    (@hook request_body_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::request_body_hook::__export_veilgate_policy_request_body_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::request_body_hook
        );
    };
    (@hook request_stream_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::request_stream_hook::__export_veilgate_policy_request_stream_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::request_stream_hook
        );
    };
    (@hook attempt_hook $exported:ident) => {
        #[unsafe(export_name = "veilgate:policy/attempt-hook@0.2.1#before")]
        unsafe extern "C" fn before(number: i32, upstream: *mut u8, length: usize, has_endpoint: i32, endpoint: i32) -> *mut u8 {
            // SAFETY: the host calls it, with what it lowered.
            unsafe { $crate::bindings::kept::before::<$exported>(number, upstream, length, has_endpoint, endpoint) }
        }
    };
    (@hook outcome_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::outcome_hook::__export_veilgate_policy_outcome_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::outcome_hook
        );
    };
    (@hook response_hook $exported:ident) => {
        #[unsafe(export_name = "veilgate:policy/response-hook@0.2.1#on-response")]
        extern "C" fn on_response() -> *mut u8 {
            $crate::bindings::kept::on_response::<$exported>()
        }
    };
    (@hook response_body_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::response_body_hook::__export_veilgate_policy_response_body_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::response_body_hook
        );
    };
    (@hook response_stream_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::response_stream_hook::__export_veilgate_policy_response_stream_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::response_stream_hook
        );
    };
    (@hook complete_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::complete_hook::__export_veilgate_policy_complete_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::complete_hook
        );
    };
    (@hook tick_hook $exported:ident) => {
        $crate::bindings::exports::veilgate::policy::tick_hook::__export_veilgate_policy_tick_hook_0_2_1_cabi!(
            $exported with_types_in $crate::bindings::exports::veilgate::policy::tick_hook
        );
    };
}
