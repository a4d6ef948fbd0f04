//! `clock`: the gateway's clocks.

use crate::bindings::veilgate::policy::clock::Host;
use crate::state::HostState;

impl Host for HostState {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.shared.clock.wall_ms())
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(self.now_ns())
    }
}
