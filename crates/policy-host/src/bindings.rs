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
    inline: "
        package veilgate:host;
        // What this host implements; a hook's types come with its interface.
        world host {
            import veilgate:policy/types@0.2.1;
            import veilgate:policy/request@0.2.1;
            import veilgate:policy/response@0.2.1;
            import veilgate:policy/log@0.2.1;
            import veilgate:policy/clock@0.2.1;
            import veilgate:policy/random@0.2.1;
            import veilgate:policy/metrics@0.2.1;
            import veilgate:policy/scope@0.2.1;
            import veilgate:policy/limits@0.2.1;
            import veilgate:policy/breakers@0.2.1;
            import veilgate:policy/kv@0.2.1;
            import veilgate:policy/cache@0.2.1;
            import veilgate:policy/upstreams@0.2.1;
            import veilgate:policy/llm@0.2.1;
            import veilgate:policy/http-call@0.2.1;
            import veilgate:policy/outbox@0.2.1;
            export veilgate:policy/lifecycle@0.2.1;
            export veilgate:policy/request-hook@0.2.1;
            export veilgate:policy/request-body-hook@0.2.1;
            export veilgate:policy/request-stream-hook@0.2.1;
            export veilgate:policy/attempt-hook@0.2.1;
            export veilgate:policy/outcome-hook@0.2.1;
            export veilgate:policy/response-hook@0.2.1;
            export veilgate:policy/response-body-hook@0.2.1;
            export veilgate:policy/response-stream-hook@0.2.1;
            export veilgate:policy/complete-hook@0.2.1;
            export veilgate:policy/tick-hook@0.2.1;
        }
    ",
    world: "veilgate:host/host",
    imports: {
        "veilgate:policy/http-call.send": async | trappable,
        "veilgate:policy/http-call.[method]pending.wait": async | trappable,
        "veilgate:policy/outbox.append": async | trappable,
        default: trappable,
    },
    with: {
        "veilgate:policy/limits.limiter": crate::host::limits::LimiterHandle,
        "veilgate:policy/limits.gate": crate::host::limits::GateHandle,
        "veilgate:policy/http-call.pending": crate::host::http_call::PendingCall,
        "veilgate:policy/kv.store": crate::host::kv::StoreHandle,
        "veilgate:policy/breakers.breaker": crate::host::breakers::BreakerHandle,
    },
});
