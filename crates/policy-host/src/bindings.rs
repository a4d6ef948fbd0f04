//! What the contract in `guest-sdk/wit` looks like to the host. Generated; the one file that does it.
#![allow(
    unsafe_code,
    reason = "generated: typed functions that the generated lookup has checked"
)]
#![allow(
    dead_code,
    reason = "generated for the world with every hook; the host loads hooks one by one"
)]

wasmtime::component::bindgen!({
    path: "../../guest-sdk/wit",
    world: "full-policy",
    imports: { default: trappable },
    with: {
        "veilgate:policy/limits.limiter": crate::host::limits::LimiterHandle,
        "veilgate:policy/limits.gate": crate::host::limits::GateHandle,
        "veilgate:policy/breakers.breaker": crate::host::breakers::BreakerHandle,
    },
});
