//! `random`: the system's random numbers.

use crate::bindings::veilgate::policy::random::Host;
use crate::error::HostRefusal;
use crate::state::HostState;

/// One request for bytes: keys and identifiers, not streams.
const MAX_BYTES: u32 = 4096;

impl Host for HostState {
    fn bytes(&mut self, n: u32) -> wasmtime::Result<Vec<u8>> {
        if n > MAX_BYTES {
            return Err(HostRefusal("more than 4096 random bytes at once").into());
        }
        let mut bytes = vec![0; n as usize];
        getrandom::fill(&mut bytes).map_err(|_| HostRefusal("the system has no random numbers"))?;
        Ok(bytes)
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        Ok(getrandom::u64().map_err(|_| HostRefusal("the system has no random numbers"))?)
    }
}
